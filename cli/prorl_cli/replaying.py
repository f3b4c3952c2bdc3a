"""`prorl resets replay`: what triggers would have done on a stored series, with one setting or with many."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from prorl_api.errors import Fault, SpecError
from prorl_api.metrics import surviving
from prorl_api.run_folder import RunFolder
from prorl_api.spec.resets import ReferenceResetSpec
from prorl_api.wording import wanted
from prorl_cli.errors import RunFolderError
from prorl_cli.local.files import METRICS_KEYS, read_lines
from prorl_control.resets.decide import ResetProposal, replay

MAX_SETTINGS = 500
"""Combinations that a sweep tries at most."""
WITHIN_STEPS = 50
"""After what truly happened, where the series does not say more: a reset up to there answers it."""

_SHOWN = 6
"""Resets of one setting that a sweep's table names."""

Line = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSeries:
    """A series to replay."""

    lines: Sequence[Line]
    truth: Sequence[Line] | None = None
    """What truly happened, if the file says so: `step`, `kind`, and `within`, the last step of a timely answer."""
    notes: Sequence[str] = ()
    """What was left out of the lines, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one policy would have done."""

    setting: str
    proposals: Sequence[ResetProposal]
    false: int | None = None
    """Resets that nothing had given reason for; those of an interval are no claim, and never false."""
    missed: int | None = None
    """True events without a reset in time."""


def stored_series(path: Path) -> StoredSeries:
    """Read the series of a run's folder or of a file; its first line may tell what truly happened.

    Raises:
        RunFolderError: There is none.
    """
    file = RunFolder(path).metrics if path.is_dir() else path
    if not file.is_file():
        raise RunFolderError(f"there is no {file}; give the folder of a run that has done a step, or a metrics.jsonl")
    told = read_lines(file, "truth")
    truth = told[0]["truth"] if told and isinstance(told[0]["truth"], list) else None
    return StoredSeries(lines=read_lines(file, *METRICS_KEYS), truth=truth)


def outcome(policy: ReferenceResetSpec, series: StoredSeries, setting: str = "as the manifest says") -> Outcome:
    """Replay one policy, and count its errors where the truth is known."""
    proposals = replay(policy, series.lines)
    if series.truth is None:
        return Outcome(setting=setting, proposals=proposals)
    claims = [item.evidence_step for item in proposals if item.evidence.metric != "step"]
    spans = [(event["step"], event.get("within", event["step"] + WITHIN_STEPS)) for event in series.truth]
    steps = [item.evidence_step for item in proposals]
    return Outcome(
        setting=setting,
        proposals=proposals,
        false=sum(not any(first <= step <= last for first, last in spans) for step in claims),
        missed=sum(not any(first <= step <= last for step in steps) for first, last in spans),
    )


def swept(policy: ReferenceResetSpec, sweeps: Sequence[str]) -> list[tuple[str, ReferenceResetSpec]]:
    """Return every combination of the settings that are to be tried.

    Args:
        policy: The manifest's.
        sweeps: Each `cooldownSteps=50,100` or `<trigger>.<kind>.<field>=2,3,4`.

    Raises:
        SpecError: A setting does not exist, or a policy with it would be refused.
    """
    axes = [_axis(text) for text in sweeps]
    combinations = list(itertools.product(*([(path, value) for value in values] for path, values in axes)))
    if len(combinations) > MAX_SETTINGS:
        got, want = f"{len(combinations)} combinations", f"at most {MAX_SETTINGS}; sweep fewer values at once"
        raise SpecError([Fault(path="--sweep", got=got, want=want)], source="the command line")
    found = []
    for combination in combinations:
        document = policy.model_dump(mode="json", by_alias=True, exclude_none=True)
        for path, value in combination:
            _set(document, path, value)
        name = ", ".join(f"{path}={json.dumps(value)}" for path, value in combination)
        try:
            found.append((name, ReferenceResetSpec.model_validate_json(json.dumps(document), strict=True)))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "referenceReset"
            fault = Fault(path=f"--sweep {name}: {place}", got=str(first.get("input"))[:80], want=wanted(first))
            raise SpecError([fault], source="the command line") from None
    return found


def _axis(text: str) -> tuple[str, list[Any]]:
    path, _, values = text.partition("=")
    if not path or not values:
        want = "`cooldownSteps=50,100` or `<trigger>.<kind>.<field>=2,3,4`"
        raise SpecError([Fault(path="--sweep", got=text, want=want)], source="the command line")
    return path.strip(), [_value(value.strip()) for value in values.split(",")]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _set(document: dict[str, Any], path: str, value: Any) -> None:
    """Set a field of the policy, or one below a trigger that is called by its name."""
    first, *rest = path.split(".")
    target: dict[str, Any] = document
    if rest:
        named = {trigger["name"]: trigger for trigger in document["triggers"]}
        if first not in named:
            want = f"the name of a trigger: {', '.join(named) or 'the manifest has none'}"
            raise SpecError([Fault(path=f"--sweep {path}", got=first, want=want)], source="the command line")
        target = named[first]
        for part in rest[:-1]:
            below = target.get(part)
            if not isinstance(below, dict):
                want = f"one of {', '.join(name for name, kind in target.items() if isinstance(kind, dict))}"
                raise SpecError([Fault(path=f"--sweep {path}", got=part, want=want)], source="the command line")
            target = below
    target[(rest or [first])[-1]] = value


def print_outcome(found: Outcome, series: StoredSeries, console: Console) -> None:
    """Print every reset with its evidence."""
    print_notes(series, console)
    steps = [line["step"] for line in surviving(series.lines)]
    where = f"steps {steps[0]}-{steps[-1]}" if steps else "an empty series"
    console.print(f"{len(found.proposals)} reset(s) over {where}:", highlight=False)
    for proposal in found.proposals:
        evidence = proposal.evidence
        text = f"  step {proposal.evidence_step}  {evidence.trigger}: {evidence.reason}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    if found.proposals:
        console.print("each is taken as applied at once; what it would have changed later cannot be known")
    if series.truth is not None:
        events = (
            ", ".join(f"{event.get('kind', 'event')} at step {event['step']}" for event in series.truth) or "nothing"
        )
        console.print(f"truly: {events}; {found.false} false, {found.missed} missed", markup=False, highlight=False)


def print_notes(series: StoredSeries, console: Console) -> None:
    """Print what was left out of a series."""
    for note in series.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)


def print_sweep(found: Sequence[Outcome], console: Console) -> None:
    """Print one row a setting: how many resets, when, by what; below, the evidence of each one's first."""
    setting = Column("setting", overflow="fold")
    table = Table("#", setting, "resets", "false", "missed", "steps", box=None, pad_edge=False)
    for number, item in enumerate(found, start=1):
        steps = ", ".join(f"{one.evidence_step} {one.evidence.trigger}" for one in item.proposals[:_SHOWN])
        more = f", {len(item.proposals) - _SHOWN} more" if len(item.proposals) > _SHOWN else ""
        table.add_row(
            str(number),
            Text(item.setting),
            str(len(item.proposals)),
            "unknown" if item.false is None else str(item.false),
            "unknown" if item.missed is None else str(item.missed),
            Text(steps + more or "none"),
        )
    console.print(table)
    for number, item in enumerate(found, start=1):
        if item.proposals:
            reason = item.proposals[0].evidence.reason
            console.print(f"{number}: {reason}", markup=False, highlight=False, soft_wrap=True)
