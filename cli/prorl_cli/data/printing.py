"""The report of a check for people."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from prorl_cli.data.findings import CheckReport, Kind, Shape

_MANY = 3
"""Lines with the same fault that are told together."""
_MAX_WARNINGS = 5
"""Of one kind that are told; `--report` writes them all."""
_STOPPING = (Kind.SCHEMA, Kind.SETTINGS)
"""What the learner refuses at its start."""
_EXPLANATIONS = {
    Kind.SCHEMA: "lines that are not rows of the domain",
    Kind.SETTINGS: "rows that the manifest's source cannot use",
    Kind.JUDGE: "rows whose own answer or solution is not judged right, or that cannot be judged",
    Kind.CONTRADICTION: "same prompt, another row",
    Kind.DUPLICATE: "same prompt, same row",
    Kind.CONTAMINATION: "prompts that touch evaluation items",
    Kind.NEAR_DUPLICATE: "similar prompts",
}


def print_report(report: CheckReport, console: Console) -> None:
    """Print findings, figures of each file, of each kind and of each evaluation file, and the verdict.

    Warnings come before faults, which would scroll away above them.
    """
    for kind in sorted(Kind, key=report.is_fault):
        _print_findings(report, kind, console)
    console.print(_files(report))
    console.print(_kinds(report))
    if report.evaluation:
        console.print(_evaluation(report))
    if (tokens := report.prompt_tokens) is not None:
        text = (
            f"prompt tokens by the model's tokenizer: shortest {tokens['shortest']}, median {tokens['median']}, "
            f"95 % up to {tokens['p95']}, longest {tokens['longest']}; maxPromptTokens is {tokens['limit']}, "
            f"{tokens['above']} of {tokens['prompts']} are longer"
        )
        console.print(text, highlight=False, soft_wrap=True)
    console.print(_verdict(report), highlight=False, soft_wrap=True)


def _verdict(report: CheckReport) -> str:
    warnings = sum(report.totals.values()) - report.num_faults
    text = f"{_counted(report.num_faults, 'fault')}, {_counted(warnings, 'warning')} in {report.seconds:.1f} s"
    if not report.num_faults:
        return text
    stops = sum(report.totals[kind] for kind in _STOPPING)
    if stops:
        return f"{text}; {_counted(stops, 'fault')} would stop a run at its start"
    return (
        f"{text}; none stops a run, but its rewards or its measurements would be wrong: mend or delete the lines named"
    )


def _counted(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def _print_findings(report: CheckReport, kind: Kind, console: Console) -> None:
    found = [finding for finding in report.findings if finding.kind is kind]
    if not found:
        return
    severity = "faults" if report.is_fault(kind) else "warnings"
    console.print(f"{kind.value} {severity} ({_EXPLANATIONS[kind]}):", markup=False, highlight=False, soft_wrap=True)
    common = _print_common(report, kind, console)
    alone = [finding for finding in found if finding.shape not in common]
    if not report.is_fault(kind):
        alone = alone[:_MAX_WARNINGS]
    for finding in alone:
        console.print(f"  {finding.where}: {finding.message}", markup=False, highlight=False, soft_wrap=True)
    left_out = report.totals[kind] - sum(common.values()) - len(alone)
    if left_out:
        console.print(f"  and {left_out} more", highlight=False)


def _print_common(report: CheckReport, kind: Kind, console: Console) -> dict[tuple[Path, Shape], int]:
    """Print faults that many lines of a file have once; return them with their numbers of lines."""
    common = {}
    for figures in report.files:
        for shape, count in figures.shapes.most_common():
            if count < _MANY:
                break
            if shape.kind is not kind:
                continue
            common[figures.path, shape] = count
            lines = f"all {count} lines" if count == figures.lines else f"{count} of {figures.lines} lines"
            text = f"  {figures.path}, {lines}: {f'{shape.field}: ' if shape.field else ''}{shape.want}"
            console.print(text, markup=False, highlight=False, soft_wrap=True)
        for name in figures.importers if kind is Kind.SCHEMA and figures.findings[kind] else ():
            text = f"  {figures.path}: `prorl data import {name}` reads such lines"
            console.print(text, markup=False, highlight=False, soft_wrap=True)
    return common


def _files(report: CheckReport) -> Table:
    table = Table(Column("file", overflow="fold"), "lines", "rows", "judged", "unproven", "faults", "warnings")
    for figures in report.files:
        faults = sum(count for kind, count in figures.findings.items() if report.is_fault(kind))
        warnings = sum(figures.findings.values()) - faults
        counts = (figures.lines, figures.good_lines, figures.judged_rows, figures.unproven_rows, faults, warnings)
        table.add_row(str(figures.path), *(str(count) for count in counts))
    return table


def _kinds(report: CheckReport) -> Table:
    table = Table("finding", "counts as", "number")
    for kind in Kind:
        table.add_row(kind.value, "fault" if report.is_fault(kind) else "warning", str(report.totals[kind]))
    return table


def _evaluation(report: CheckReport) -> Table:
    table = Table(
        "evaluation file", "items", "too short for runs", "items touched", "prompts touching", "prompts equal"
    )
    for overlap in report.evaluation:
        counts = (
            overlap.items,
            overlap.short_items,
            len(overlap.touched),
            overlap.touching_prompts,
            overlap.equal_prompts,
        )
        table.add_row(str(overlap.path), *(str(count) for count in counts))
    return table
