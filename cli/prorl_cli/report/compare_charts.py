"""The comparison's charts: the curves of one run's page, one curve a run, over steps and over wall time. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from prorl_api.resets import ResetCondition
from prorl_cli.report.charts import Chart, Plain
from prorl_cli.report.compare import ComparedRun
from prorl_cli.report.figures import Timeline, Trace, colour, figure, line, reset_text, vertical
from prorl_cli.report.loading import RunData, value
from prorl_cli.report.sections import DATA, REFERENCE, STABILITY, Section
from prorl_cli.report.timing import step_seconds

LEARNING = (
    Plain(
        title="Held-out accuracy",
        meaning="Mean reward on prompts that are never trained on. Compare runs by this curve where they hold out the "
        "same prompts; the table above has the differences with intervals.",
        unit="accuracy (0 to 1)",
        curves={"validation_accuracy": ""},
        bounded=True,
    ),
    Plain(
        title="Mean sampled reward",
        meaning="How training completions were judged. Runs with other prompts, temperature or rewards cannot be "
        "compared by it.",
        unit="reward (0 to 1)",
        curves={"reward_mean": ""},
        bounded=True,
    ),
)
_OVER_STEPS = (
    ("Over steps: learning", "Which run gets further with as many steps.", LEARNING),
    ("Over steps: distance from the reference", "What the resets did to it.", REFERENCE),
    ("Over steps: stability", "Early signs of collapse and divergence.", STABILITY[:2]),
    ("Over steps: samples", "Whether the samples teach anything, and how long they are.", DATA),
)
STEPS, MINUTES = "step", "minutes since the run began"


def comparison_sections(runs: Sequence[ComparedRun]) -> tuple[Section, ...]:
    """Return all charts."""
    over_steps = tuple(
        Section(title=title, intro=intro, charts=tuple(_chart(plain, runs, STEPS) for plain in rows))
        for title, intro, rows in _OVER_STEPS
    )
    over_time = Section(
        title="Over wall time",
        intro="Which run gets further in the same time, with pauses and restarts as they were.",
        charts=tuple(_chart(plain, runs, MINUTES) for plain in LEARNING),
    )
    return (*over_steps, over_time)


def minutes(data: RunData) -> dict[int, float]:
    """Return each step's end in minutes since the run began; by the steps' seconds where times are not on record."""
    times = {entry["step"]: value(entry, "time") for entry in data.lines}
    if data.created is not None and all(time is not None for time in times.values()):
        return {step: (time - data.created) / 60 for step, time in times.items() if time is not None}
    passed, found = 0.0, {}
    for entry in data.lines:
        passed += step_seconds(entry) / 60
        found[entry["step"]] = passed
    return found


def _chart(plain: Plain, runs: Sequence[ComparedRun], axis: str) -> Chart:
    metric = next(iter(plain.curves))
    places = [_places(run.data, axis) for run in runs]
    curves = []
    for index, (run, place) in enumerate(zip(runs, places, strict=True)):
        points = [
            (place[entry["step"]], found) for entry in run.data.lines if (found := value(entry, metric)) is not None
        ]
        if points:
            xs, ys = [x for x, _ in points], [y for _, y in points]
            curves.append(line(xs, ys, name=run.label, index=index, shown=plain.shown))
    last = max((max(place.values(), default=0.0) for place in places), default=0.0)
    timeline = Timeline(last=last, traces=tuple(_marks(runs, places)), axis=axis)
    drawn = figure(curves, timeline, unit=plain.unit, ticks=plain.ticks, bounded=plain.bounded) if curves else None
    return Chart(title=plain.title, meaning=plain.meaning, figure=drawn, names_single=True)


def _places(data: RunData, axis: str) -> dict[int, float]:
    return minutes(data) if axis == MINUTES else {entry["step"]: entry["step"] for entry in data.lines}


def _marks(runs: Sequence[ComparedRun], places: Sequence[dict[int, float]]) -> list[Trace]:
    marks = []
    for index, (run, place) in enumerate(zip(runs, places, strict=True)):
        events = [
            (place[record.applied_step], reset_text(record))
            for record in run.data.resets
            if record.condition is ResetCondition.APPLIED and record.applied_step in place
        ]
        if events:
            marks.append(vertical(events, colour=colour(index), dash="dot", symbol="triangle-down"))
    return marks
