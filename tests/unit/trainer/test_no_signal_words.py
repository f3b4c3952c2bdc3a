"""The end of a run that finds nothing to learn from: what was seen, and whether the data is mastered."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from prorl_api.errors import MasteredError, NoSignalError
from prorl_trainer.algorithm.types import SampledStep
from prorl_trainer.no_signal_words import remark_on, without_signal
from tests.unit.trainer.trainer_builders import make_group, make_spec

RIGHT, WRONG, HALF, UNJUDGED, MIXED = [1.0, 1.0], [0.0, 0.0], [0.5, 0.5], [None, 1.0], [1.0, 0.0]


def sampled_step(*groups: Sequence[float | None], empty: int = 4) -> SampledStep:
    made = tuple(make_group(rewards, index=index) for index, rewards in enumerate(groups))
    return SampledStep(
        kept=(),
        sampled=tuple(group.summary for group in made),
        shown=made,
        rounds=3,
        next_prompt_index=len(made),
        num_empty=empty,
    )


def error(*groups: Sequence[float | None], step: int = 7, empty: int = 4) -> NoSignalError:
    return without_signal(sampled_step(*groups, empty=empty), make_spec(), step)


@pytest.mark.parametrize(
    ("groups", "wanted"),
    [
        ([RIGHT, WRONG, WRONG], "of 3 groups in 5 samplings in a row at step 7: 1 all right, 2 all wrong"),
        ([RIGHT, RIGHT, WRONG], "2 all right, 1 all wrong. Choose harder tasks"),
        ([WRONG, WRONG], "2 all wrong. Choose easier tasks"),
        ([HALF, WRONG], "1 all wrong, 1 all equal in between"),
        ([UNJUDGED, WRONG], "1 all wrong, 1 with fewer than two judged rollouts"),
        ([UNJUDGED, UNJUDGED], "2 with fewer than two judged rollouts. Look at the sandboxes' logs"),
    ],
)
def test_groups_are_counted_by_what_they_say(groups: list[list[float | None]], wanted: str) -> None:
    found = error(*groups)
    assert not isinstance(found, MasteredError)
    assert wanted in str(found)


def test_the_remedy_names_the_settings_and_shows_completions() -> None:
    text = str(error(WRONG, empty=0))
    assert "of 1 groups in 1 sampling in a row" in text
    assert "spec.learner.groupSize (now 2)" in text
    assert "spec.rollout.temperature (now 1.0)" in text
    assert "completions begin ['text']" in text


@pytest.mark.parametrize("groups", [[RIGHT, RIGHT], [RIGHT, [0.99, 0.99]], [RIGHT, UNJUDGED]])
def test_data_is_mastered_when_every_judged_group_is_right(groups: list[list[float | None]]) -> None:
    found = error(*groups)
    assert isinstance(found, MasteredError)
    assert "the policy has mastered its data" in str(found)
    assert "make sure" not in str(found)


@pytest.mark.parametrize("groups", [[RIGHT, WRONG], [RIGHT, HALF], [UNJUDGED], [MIXED, RIGHT], [[0.98, 0.98]]])
def test_one_group_that_is_not_right_or_no_judged_one_is_not_mastery(groups: list[list[float | None]]) -> None:
    assert not isinstance(error(*groups), MasteredError)


def test_a_run_that_masters_before_it_was_trained_is_told_to_look_at_the_judge() -> None:
    assert "make sure that the judge does not accept everything" in str(error(RIGHT, step=1))


def test_a_sampling_after_one_without_signal_says_so_behind_its_progress() -> None:
    assert remark_on(None, make_spec()) == ""
    said = remark_on(sampled_step(WRONG, WRONG, RIGHT, empty=1), make_spec())
    start = "; note: 2 of 5 samplings in a row without a signal, after which the run ends: 1 all right, 2 all wrong"
    assert said.startswith(start)
