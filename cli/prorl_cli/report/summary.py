"""The table that a run ends with in the terminal."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from prorl_api.resets import ResetCondition
from prorl_api.run_folder import RunFolder
from prorl_cli.durations import duration
from prorl_cli.program import command
from prorl_cli.report import summarise
from prorl_cli.report.results import RunState, RunSummary
from prorl_cli.report.words import between, count, score, share, signed
from prorl_cli.speed import SAMPLED, TRAINED

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console, RenderableType
    from rich.table import Table


def print_summary(run: RunFolder, console: Console, report: Path | None = None) -> None:
    """Print held-out accuracy before and after, sampled reward, resets, time by part, and what to do next.

    Args:
        run: The run's folder.
        console: Where to.
        report: The run's page; None: the one in its folder, if there is one.
    """
    summary = summarise(run)
    console.print()
    console.print(_title(summary))
    for part in (_held_out(summary), _sampled(summary), _resets(summary), _time(summary)):
        if part is not None:
            console.print()
            console.print(part)
    console.print()
    console.print(_next_steps(run, summary, report or run.report), soft_wrap=True)  # commands are copied as they stand


def _title(summary: RunSummary) -> RenderableType:
    from rich.text import Text

    colour = {RunState.SUCCEEDED: "green", RunState.FAILED: "red"}.get(summary.state, "yellow")
    title = Text.assemble((summary.name, "bold"), " ", (summary.state.value, f"bold {colour}"))
    title.append(
        f"  step {summary.step} of {summary.total_steps or '?'}, {duration(summary.time.seconds)}, {summary.model}"
    )
    if summary.message:
        title.append(f"\n{summary.message}")
    return title


def _table(title: str, *columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", overflow="fold")
    return table


def _held_out(summary: RunSummary) -> RenderableType | None:
    from rich.text import Text

    if not summary.held_out:
        return Text("No validation is on record.")
    first, last = summary.held_out[0].first_step, summary.held_out[0].last_step
    table = _table(
        f"Held-out accuracy, step {first} to {last}", "source", "before", "after", "gain", "paired 95 % interval", "n"
    )
    for result in summary.held_out:
        gain = result.gain
        table.add_row(
            Text(result.source),
            score(result.before),
            score(result.after),
            signed(result.after - result.before),
            between(gain.interval if gain else None),
            str(gain.n) if gain else "–",
        )
    return table


def _sampled(summary: RunSummary) -> RenderableType | None:
    from rich.text import Text

    if not summary.sampled:
        return None
    low, high = summary.sampled[0].last_steps
    last = f"steps {low} to {high}" if low < high else f"step {high}"
    table = _table("While training", "sampled", f"step {summary.sampled[0].first_step}", last, "change")
    for result in summary.sampled:
        name = result.name if result is summary.sampled[0] else f"accuracy, {result.name}"
        table.add_row(Text(name), score(result.first), score(result.last), signed(result.last - result.first))
    return table


def _resets(summary: RunSummary) -> RenderableType:
    from rich.text import Text

    if not summary.resets:
        return Text("Reference resets: none")
    table = _table(
        f"Reference resets: {len(summary.applied_resets)} applied", "reset", "step", "trigger", "state", "reason"
    )
    table.columns[-1].justify = "left"
    for reset in summary.resets:
        state = "dry run" if reset.is_dry_run and reset.condition is ResetCondition.PENDING else reset.condition.value
        table.add_row(Text(reset.name), str(reset.step), Text(reset.trigger), state, Text(reset.reason))
    return table


def _time(summary: RunSummary) -> RenderableType | None:
    use = summary.time
    if not use.parts:
        return None
    speed = [
        f"{rate:,.0f} {what}"
        for rate, what in (
            (use.generated_per_second, SAMPLED),
            (use.trained_per_second, TRAINED),
        )
        if rate is not None
    ]
    table = _table(f"Time: {duration(use.seconds)}", "part", "time", "share")
    table.caption = "   ".join(speed)
    table.caption_justify = "left"
    for part in use.parts:
        table.add_row(part.name, duration(part.seconds), share(part.share))
    return table


def _next_steps(run: RunFolder, summary: RunSummary, page: Path) -> RenderableType:
    from rich.text import Text

    report, has_report = shlex.quote(str(page.resolve())), page.exists()
    text = Text("What next\n", style="bold")
    steps = [
        f"open {report} in a browser" if has_report else f"{command('report', run.path)}   writes {report}",
        f"{command('resets', 'list', run.path)}   shows {count(len(summary.resets), 'reset')} with evidence",
        *_trained_model(run, summary),
        "another task: change spec.data.sources; another model: `prorl run MANIFEST --model FOLDER`",
    ]
    if summary.state is RunState.SUCCEEDED:
        steps.append("go on: raise spec.schedule.totalSteps and run the same command again")
    elif summary.state is not RunState.RUNNING:
        steps.insert(0, f"the same prorl run command goes on after step {summary.step}")
    text.append("\n".join(f"  {step}" for step in steps), style="not bold")
    return text


def _trained_model(run: RunFolder, summary: RunSummary) -> list[str]:
    """Say how to try the trained model, and how to take it along; `best` needs a validation."""
    if not run.current.exists():
        return []
    asked = (run.path, *(() if summary.held_out else ("--checkpoint", "last")))
    return [
        f"{command('chat', *asked)}   asks the trained model",
        f"{command('export', *asked, '--output', f'{run.path}-model')}   writes it as a Hugging Face folder",
    ]
