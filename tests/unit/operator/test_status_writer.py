"""When a status is written."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from prorl_api.status import Condition, ConditionStatus, ConditionType, JobStatus
from prorl_operator.kube.client import Api
from prorl_operator.status_writer import StatusWriter
from prorl_operator.watch.view_index import Snapshot

JOB = {"metadata": {"name": "demo", "namespace": "team", "generation": 1, "uid": "u"}}


class WrittenStatuses:
    """An API that counts."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    async def write_status(self, _kind: str, _namespace: str, _name: str, status: dict[str, Any]) -> None:
        self.steps.append(status["step"])


def make_status(step: int, *, reason: str = "Starting", ready: str = "", why: str = "Ready") -> JobStatus:
    """`ready`: roles that are, by their first letters; `why`: they are or are not."""
    kinds = {"r": ConditionType.ROLLOUT_READY, "s": ConditionType.SANDBOX_READY, "l": ConditionType.LEARNER_READY}
    states = {
        kind: ConditionStatus.TRUE if letter in ready else ConditionStatus.FALSE for letter, kind in kinds.items()
    }
    summary = Condition(
        type=ConditionType.SUCCEEDED, status=ConditionStatus.UNKNOWN, reason=reason, message="", last_transition_time=0
    )
    readiness = tuple(
        Condition(type=kind, status=state, reason=why, message="", last_transition_time=0)
        for kind, state in states.items()
    )
    return JobStatus(conditions=(summary, *readiness), step=step)


def written(*looks: tuple[float, JobStatus]) -> list[int]:
    """The steps of the statuses that are written, given what is found at which time."""
    api = WrittenStatuses()
    writer = StatusWriter()
    for now, status in looks:
        asyncio.run(writer.write(cast("Api", api), Snapshot(body=JOB), status, None, now))
    return api.steps


def test_what_becomes_ready_is_told_at_once() -> None:
    looks = [(100.0, make_status(0)), (101.0, make_status(1, ready="r")), (103.0, make_status(2, ready="rs"))]
    assert written(*looks, (104.0, make_status(3, ready="rs"))) == [0, 1, 2]


def test_what_is_lost_while_it_runs_is_told_at_once() -> None:
    running = make_status(1, reason="Running", ready="rsl")
    assert written((100.0, running), (101.0, make_status(2, reason="Running", ready="sl"))) == [1, 2]


def test_progress_is_told_twice_a_minute_and_nothing_twice() -> None:
    looks = [(100.0 + 5 * number, make_status(number // 2, reason="Running", ready="rsl")) for number in range(20)]
    assert written(*looks) == [0, 3, 6, 9]


def test_reasons_that_follow_each_other_are_told_together() -> None:
    looks = [(100.0, make_status(0, why="NoPods")), (101.0, make_status(1, why="Pending"))]
    assert written(*looks, (103.0, make_status(2, why="Starting")), (105.5, make_status(3, why="Starting"))) == [0]
    assert written(*looks, (106.0, make_status(4, why="Starting"))) == [0, 4]
    assert written(*looks, (102.0, make_status(5, why="Starting", ready="r"))) == [0, 5], "what turns is told at once"


def test_a_reason_that_went_again_is_not_waited_for() -> None:
    looks = [(100.0, make_status(0, why="A")), (101.0, make_status(1, why="B")), (102.0, make_status(2, why="A"))]
    assert written(*looks, (107.0, make_status(3, why="B"))) == [0]


def test_what_waits_says_when_to_come_again() -> None:
    writer, api = StatusWriter(), cast("Api", WrittenStatuses())
    snapshot = Snapshot(body=JOB)

    def look(now: float, status: JobStatus) -> float | None:
        return asyncio.run(writer.write(api, snapshot, status, None, now))

    assert look(100.0, make_status(0, why="A")) is None
    assert look(101.0, make_status(1, why="B")) == 5.0
    assert look(103.0, make_status(2, why="C")) == 3.0
    assert look(106.0, make_status(3, why="C")) is None
    assert look(107.0, make_status(4, why="C")) is None
