"""When a status is written."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from prorl_api.status import Condition, ConditionStatus, ConditionType, JobStatus
from prorl_operator.client import Api
from prorl_operator.status_writer import StatusWriter
from prorl_operator.view_index import Snapshot

JOB = {"metadata": {"name": "demo", "namespace": "team", "generation": 1, "uid": "u"}}


class WrittenStatuses:
    """An API that counts."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    async def write_status(self, _kind: str, _namespace: str, _name: str, status: dict[str, Any]) -> None:
        self.steps.append(status["step"])


def make_status(step: int, *, reason: str = "Starting", ready: str = "") -> JobStatus:
    """`ready`: roles that are, by their first letters."""
    kinds = {"r": ConditionType.ROLLOUT_READY, "s": ConditionType.SANDBOX_READY, "l": ConditionType.LEARNER_READY}
    states = {
        kind: ConditionStatus.TRUE if letter in ready else ConditionStatus.FALSE for letter, kind in kinds.items()
    }
    summary = Condition(
        type=ConditionType.SUCCEEDED, status=ConditionStatus.UNKNOWN, reason=reason, message="", last_transition_time=0
    )
    readiness = tuple(
        Condition(type=kind, status=state, reason="Ready", message="", last_transition_time=0)
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
