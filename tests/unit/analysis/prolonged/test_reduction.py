"""What is kept of a run's metrics and resets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prorl_analysis.prolonged.record import Ending, write
from prorl_analysis.prolonged.reduction import (
    corpus_of,
    cost_of,
    curves_of,
    evaluation_of,
    last_checkpoint,
    lines_of,
    resets_stored,
    rounded,
    spaced,
    validations_of,
)
from prorl_analysis.results import Results
from prorl_api.run_folder import RunFolder
from tests.unit.analysis.builders import SETTINGS, make_sample
from tests.unit.analysis.prolonged.builders import make_record


def line(step: int, **values: Any) -> dict[str, Any]:
    return {"step": step, "attempt": 1, **values}


def test_curves_are_means_of_blocks_and_step_zero_is_none_of_them() -> None:
    """By hand: steps 1 and 2 are a block, 3 and 4 the next; step 4 has no KL."""
    lines = [line(0, kl=9.0), line(1, kl=1.0), line(2, kl=2.0), line(3, kl=4.0), line(4), line(5, entropy=1.0)]
    assert curves_of(lines, every=2) == {"kl": (1.5, 4.0, None), "entropy": (None, None, 1.0)}


def test_accuracies_by_source_are_curves_too() -> None:
    assert curves_of([line(1, **{"accuracy_sampled/depth-3": 0.5})], every=2) == {"accuracy_sampled/depth-3": (0.5,)}


def test_validations_keep_their_steps() -> None:
    lines = [
        line(0, validation_accuracy=0.25, **{"validation_source_accuracy/depth-3": 0.0}),
        line(1),
        line(2, validation_accuracy=0.5, **{"validation_source_accuracy/depth-3": 0.125}),
    ]
    assert validations_of(lines) == ((0, 2), {"all": (0.25, 0.5), "depth-3": (0.0, 0.125)})


def test_a_steps_seconds_leave_out_validation_and_waiting() -> None:
    """By hand: 1 + 2 = 3, 1 + 1 = 2, 5; the median is 3. The total counts everything: 1,800 + 3 x 600 s are an hour."""
    lines = [
        line(0, seconds_total=1800.0, seconds_validating=1700.0, tokens_generated=5),
        line(1, seconds_total=600.0, seconds_sampling=1.0, seconds_updating=2.0, seconds_validating=500.0),
        line(2, seconds_total=600.0, seconds_sampling=1.0, seconds_publishing=1.0, tokens_generated=7),
        {**line(3, seconds_total=600.0, seconds_sampling=5.0, seconds_waiting=300.0), "attempt": 2},
    ]
    cost = cost_of(lines)
    assert (cost.hours, cost.step_seconds, cost.tokens_generated, cost.attempts) == (1.0, 3.0, 12, 2)


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.metrics.write_text(f"{json.dumps(line(0))}\n{json.dumps(line(1))}\n" + '{"step": 2, "att')
    assert [found["step"] for found in lines_of(run)] == [0, 1]


@pytest.mark.parametrize(("value", "kept"), [(0.123456, 0.1235), (1234.56, 1235.0), (0.0, 0.0), (-2e-7, -2e-7)])
def test_values_keep_four_digits(value: float, kept: float) -> None:
    assert rounded(value) == kept


def test_signs_are_words_and_functions_are_no_letters() -> None:
    """Case does not count in novelty: the function A must not be the letter a."""
    assert spaced("Cab</think>a") == "3 a b | a"


def results_of(*completions: str) -> Results:
    samples = tuple(
        make_sample(("math", 0), number, 1.0, completion=completion) for number, completion in enumerate(completions)
    )
    return Results(path="results.jsonl", settings=SETTINGS, samples={("math", 0): samples})


@pytest.mark.parametrize(
    ("completion", "index"),
    [
        ("Aabcdefg", 0.0),  # a copy of 8 signs: covered at L = 5 to 8, and longer spans it has none
        ("gfedcbaA", 4.0),  # no span of five: new at L = 5 to 8
        ("abcdefgB", 3 / 8 + 1),  # 7 of 8 signs are covered at L = 5, 6 and 7, none at 8
    ],
)
def test_novelty_against_the_bases_own_completions_by_hand(completion: str, index: float) -> None:
    level = evaluation_of(results_of(completion), corpus_of(results_of("Aabcdefg"))).levels["math"]
    assert level.novelty == rounded(index)


def test_the_base_has_no_novelty_against_itself() -> None:
    assert evaluation_of(results_of("Aabcdefg"), None).levels["math"].novelty is None


def test_resets_count_once_a_run_has_ended_and_gone_as_far_as_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "metric-seed-1.json"
    assert resets_stored(path, 20) is None
    write(path, make_record(ended=Ending.UNFINISHED))
    assert resets_stored(path, 20) is None
    write(path, make_record(ended=Ending.SHORTENED))
    assert resets_stored(path, 20) == 1
    assert resets_stored(path, 21) is None
    write(path, make_record(ended=Ending.MASTERED))
    assert resets_stored(path, 21) == 1


def test_the_last_checkpoint_is_that_of_the_surviving_line(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    lines = [line(0), line(1), line(2), {**line(2), "attempt": 2}, {**line(3), "attempt": 2}]
    run.metrics.write_text("".join(f"{json.dumps(each)}\n" for each in lines))
    assert last_checkpoint(run) is None
    for attempt, step in ((1, 1), (2, 2)):
        run.checkpoint(attempt, step).mkdir(parents=True)
    assert last_checkpoint(run) == 2
