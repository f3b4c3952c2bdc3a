"""The run in numbers, and in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prorl_api.run_folder import RunFolder
from prorl_cli.durations import duration
from prorl_cli.report import summarise
from prorl_cli.report.intervals import Interval, PairedGain
from prorl_cli.report.loading import load
from prorl_cli.report.narrative import story
from prorl_cli.report.results import HeldOut, RunState, RunSummary, summary_of
from prorl_cli.report.timing import OTHER_IN_STEPS, OUTSIDE, REPEATED, time_use
from prorl_cli.report.words import between, share, signed, tight

MakeRun = Callable[..., RunFolder]


def _run(tmp_path: Path, lines: list[dict[str, Any]], samples: dict[int, list[float]] | None = None) -> RunFolder:
    run = RunFolder(tmp_path)
    run.samples.mkdir(parents=True)
    run.metrics.write_text("".join(json.dumps({"attempt": 1, **line}) + "\n" for line in lines))
    for step, rewards in (samples or {}).items():
        text = [json.dumps({"attempt": 1, "source": "a", "index": i, "reward": r}) for i, r in enumerate(rewards)]
        (run.samples / f"validation-{step}.jsonl").write_text("\n".join(text))
    return run


def _validated(step: int, accuracy: float) -> dict[str, Any]:
    return {"step": step, "validation_accuracy": accuracy, "validation_source_accuracy/a": accuracy}


def test_held_out_accuracy_is_paired_over_items_judged_both_times(tmp_path: Path) -> None:
    run = _run(tmp_path, [_validated(0, 0.4), _validated(8, 0.6)], {0: [0, 0, 1, 1, 1], 8: [1, 1, 1, 0]})
    (result,) = summarise(run).held_out
    assert result.gain is not None
    assert (result.source, result.gain.n, result.before, result.after) == ("a", 4, 0.5, 0.75)
    assert (result.improved, result.worsened) == (2, 1)


def test_held_out_accuracy_without_samples_comes_from_the_metrics(tmp_path: Path) -> None:
    (result,) = summarise(_run(tmp_path, [_validated(0, 0.4), _validated(8, 0.6)])).held_out
    assert (result.before, result.after, result.gain) == (0.4, 0.6, None)


def test_one_validation_is_no_gain(tmp_path: Path) -> None:
    summary = summarise(_run(tmp_path, [_validated(0, 0.5)], {0: [0, 1]}))
    assert summary.held_out[0].gain is None
    assert "The only validation so far, at step 0" in story(summary)[0]


def test_several_sources_are_also_taken_together(make_run: MakeRun) -> None:
    held_out = summarise(make_run()).held_out
    assert [result.source for result in held_out] == ["all sources", "addition", "products"]
    assert [result.gain.n for result in held_out if result.gain] == [520, 400, 120]


def test_the_last_sampled_reward_is_a_mean_of_three_steps(tmp_path: Path) -> None:
    lines = [{"step": step, "reward_mean": reward} for step, reward in enumerate([0.1, 0.2, 0.3, 0.3, 0.5, 0.7], 1)]
    (sampled,) = summarise(_run(tmp_path, lines)).sampled
    assert (sampled.first_step, sampled.first, sampled.last_steps) == (1, 0.1, (4, 6))
    assert sampled.last == pytest.approx(0.5)


def test_a_short_run_does_not_compare_a_step_with_itself(tmp_path: Path) -> None:
    lines = [{"step": 1, "reward_mean": 0.1}, {"step": 2, "reward_mean": 0.4}]
    (sampled,) = summarise(_run(tmp_path, lines)).sampled
    assert (sampled.last_steps, sampled.last) == ((2, 2), 0.4)


def test_parts_of_the_time_add_up_to_the_whole() -> None:
    line = {"seconds_total": 10.0, "seconds_sampling": 6.0, "seconds_updating": 3.0, "tokens_generated": 300}
    use = time_use((line, line), ({"seconds_total": 5.0},), 40.0)
    assert {part.name: part.seconds for part in use.parts} == {
        "sampling and scoring": 12.0,
        "updating": 6.0,
        OTHER_IN_STEPS: 2.0,
        REPEATED: 5.0,
        OUTSIDE: 15.0,
    }
    assert sum(part.share for part in use.parts) == pytest.approx(1.0)
    assert (use.seconds, use.step_seconds, use.generated_per_second) == (40.0, 20.0, 50.0)


def test_waiting_for_servers_and_resetting_are_no_part_of_the_rest() -> None:
    line = {"seconds_total": 60.0, "seconds_waiting": 40.0, "seconds_resetting": 5.0, "seconds_publishing": 15.0}
    parts = {part.name: part.seconds for part in time_use((line,), (), None).parts}
    assert parts == {"waiting for servers": 40.0, "publishing weights": 15.0, "resetting the reference": 5.0}


def test_time_without_a_status_is_that_of_the_steps() -> None:
    use = time_use(({"seconds_sampling": 2.0},), (), None)
    assert [(part.name, part.share) for part in use.parts] == [("sampling and scoring", 1.0)]
    assert use.trained_per_second is None


@pytest.mark.parametrize(
    ("age", "state"), [(10.0, RunState.RUNNING), (1000.0, RunState.INTERRUPTED)], ids=["fresh", "silent"]
)
def test_a_run_that_fell_silent_is_interrupted(make_run: MakeRun, age: float, state: RunState) -> None:
    run = make_run(last_step=2)
    run.status.write_text('{"updated": 5000.0}')
    assert summary_of(load(run), {}, now=5000.0 + age).state is state


def test_a_failed_run_says_why(make_run: MakeRun) -> None:
    run = make_run(last_step=2)
    text = run.status.read_text().replace('"True"', '"False"').replace('"message":""', '"message":"out of memory"')
    run.status.write_text(text)
    summary = summarise(run)
    assert (summary.state, summary.message) == (RunState.FAILED, "Completed: out of memory")


def test_an_empty_folder_has_not_started(tmp_path: Path) -> None:
    summary = summarise(RunFolder(tmp_path))
    assert (summary.state, summary.step, summary.held_out, summary.time.parts) == (RunState.NOT_STARTED, 0, (), ())
    assert story(summary)[1] == "The reference was not reset."


def test_the_summary_is_json(make_run: MakeRun) -> None:
    told = json.loads(json.dumps(summarise(make_run()).as_json()))
    assert told["state"] == "succeeded"
    assert told["resets"][0]["trigger"] == "kl-spike"


def test_what_the_judge_failed_on_is_told_with_its_reason(make_run: MakeRun) -> None:
    summary = summarise(make_run(last_step=2))
    assert not [text for text in story(summary) if "judge failed" in text]
    fields = {name: getattr(summary, name) for name in RunSummary.__slots__}
    told = story(RunSummary(**fields | {"masked": 3, "masked_reason": "KeyError: 'river'"}))
    assert "3 completions got no reward because the judge failed; left out, not wrong: KeyError: 'river'." in " ".join(
        told
    )


def _told(make_run: MakeRun, before: float, after: float, interval: Interval | None) -> str:
    gain = PairedGain(n=400, before=before, after=after, interval=interval)
    held_out = HeldOut(source="addition", first_step=0, last_step=24, before=before, after=after, gain=gain)
    summary = summarise(make_run(last_step=0, resets=()))
    fields = {name: getattr(summary, name) for name in RunSummary.__slots__} | {"held_out": (held_out,)}
    return story(RunSummary(**fields))[0]


@pytest.mark.parametrize(
    ("after", "low", "high", "verb"),
    [(0.66, 0.19, 0.29, "rose from 0.420 to 0.660"), (0.30, -0.2, -0.04, "fell"), (0.43, -0.1, 0.12, "than chance")],
)
def test_the_verb_follows_the_interval(make_run: MakeRun, after: float, low: float, high: float, verb: str) -> None:
    told = _told(make_run, 0.42, after, Interval(low=low, high=high))
    assert verb in told
    assert f"(paired 95 % interval of the gain {between(Interval(low=low, high=high))}, n = 400)" in told


def test_resets_are_told_with_step_trigger_and_reason(make_run: MakeRun) -> None:
    told = story(summarise(make_run()))[1]
    assert told.startswith("The reference was reset twice: after step 9 by kl-spike (KL to the reference averaged")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (8.44, "8.4 s"),
        (45.4, "45 s"),
        (59.7, "1 min 00 s"),
        (45, "45 s"),
        (185, "3 min 05 s"),
        (372, "6 min 12 s"),
        (7800, "2 h 10 min"),
        (7500, "2 h 05 min"),
        (273600, "3 d 4 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_numbers_in_words() -> None:
    assert (signed(-0.25), signed(None), share(0.004), share(0.48)) == ("−0.250", "–", "0.4 %", "48 %")
    assert tight("95 %, n = 4") == "95\xa0%, n\xa0=\xa04"
