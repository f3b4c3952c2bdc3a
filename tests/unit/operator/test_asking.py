"""What the operator knows of a learner after having asked it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from operator_builders import make_memory

from prorl_api.wire.learner import LearnerPhase, LearnerReport, LearnerStatus, MetricsSeries, ResetOutcomes
from prorl_control.resets.series import ALL_STEPS
from prorl_operator.job_state import JobState
from prorl_operator.learner_api import LearnerApi
from prorl_operator.observation import LearnerPod, ask_learner


class FakeLearner:
    """Answers from a timeline, and remembers from which steps it was asked."""

    def __init__(self, attempt: int, last_step: int, **status: Any) -> None:
        self.lines: list[dict[str, Any]] = [{"step": step, "attempt": attempt} for step in range(1, last_step + 1)]
        self.asked: list[int] = []
        self.status = LearnerStatus(
            attempt=attempt,
            phase_since=0,
            heartbeat=0,
            step=last_step,
            total_steps=99,
            **{"phase": LearnerPhase.SAMPLING, **status},
        )

    async def report(self, since_step: int) -> LearnerReport | None:
        self.asked.append(since_step)
        steps = tuple(line for line in self.lines if line["step"] > since_step)
        return LearnerReport(status=self.status, metrics=MetricsSeries(steps=steps), resets=ResetOutcomes(resets=()))


def ask(memory: JobState, learner: FakeLearner) -> list[int]:
    """The steps that are known then."""
    pod = LearnerPod(api=cast("LearnerApi", learner), attempt=learner.status.attempt)
    asyncio.run(ask_learner(pod, memory, now=1.0))
    return [line["step"] for line in memory.series.lines]


def test_only_steps_that_are_new_are_asked_for() -> None:
    memory, learner = make_memory(), FakeLearner(1, 3)
    assert ask(memory, learner) == [1, 2, 3]
    learner.lines.append({"step": 4, "attempt": 1})
    assert ask(memory, learner) == [1, 2, 3, 4]
    assert learner.asked == [ALL_STEPS, 3]


def test_an_attempt_that_goes_on_from_an_earlier_step_is_asked_from_there() -> None:
    memory = make_memory()
    ask(memory, FakeLearner(1, 6))
    learner = FakeLearner(2, 5, resumed_from_step=4)
    assert ask(memory, learner) == [1, 2, 3, 4, 5]
    assert learner.asked == [6, 4]
    assert [line["attempt"] for line in memory.series.lines] == [1, 1, 1, 1, 2]
    assert memory.highest_step == 6


def test_one_that_starts_says_nothing_of_steps_yet() -> None:
    memory = make_memory()
    ask(memory, FakeLearner(1, 6))
    learner = FakeLearner(2, 0, phase=LearnerPhase.LOADING_MODEL)
    assert ask(memory, learner) == [1, 2, 3, 4, 5, 6]
    assert memory.learner == learner.status
    assert memory.series.next_question == (1, 6)
