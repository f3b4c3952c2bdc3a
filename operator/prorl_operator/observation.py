"""One look at a job: objects from the watches, the learner's answers, and what is remembered, put together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import aiohttp

from prorl_api.names import API_PORT
from prorl_api.spec.values import Role
from prorl_api.wire.learner import LearnerReport, LearnerStatus
from prorl_control.conditions import STARTING_PHASES
from prorl_control.decision import LINES_FOR_STATUS, Observed, Outcome
from prorl_control.members import Member
from prorl_control.outcome import with_new_losses
from prorl_control.plan import RunPlan
from prorl_control.signals.reading import Reading
from prorl_operator.job_state import JobState
from prorl_operator.learner_api import LearnerApi
from prorl_operator.member_states import learner_members, server_members, taken_attempt, told_step
from prorl_operator.untrusted import LINES_A_PAGE
from prorl_operator.watch.view_index import Snapshot

_LINES_FOR_STATUS = 200
_MAX_PAGES = 60
"""Of lines in one look; with more, the next look goes on."""
_TALK_SECONDS = 10.0
"""For all questions of one look at one learner: others wait for their turn."""
FIRST_ANSWER_SECONDS = 20.0
"""A learner that runs is given so long to answer a new operator before its silence counts as "nothing to save"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerPod:
    """Pod 0 of the newest attempt, if it can be asked."""

    api: LearnerApi
    attempt: int


def find_learner(
    snapshot: Snapshot, http: aiohttp.ClientSession, *, key: bytes, uid: str, port: int = API_PORT
) -> LearnerPod | None:
    """Rank 0 of the newest attempt, if its container runs."""
    pods = [pod for pod in snapshot.pods if pod.role is Role.LEARNER and pod.index == 0]
    newest = max(pods, key=lambda pod: (pod.attempt, pod.created), default=None)
    if newest is None or newest.running_since is None or not newest.ip:
        return None
    address = f"[{newest.ip}]:{port}" if ":" in newest.ip else f"{newest.ip}:{port}"
    return LearnerPod(
        api=LearnerApi.at(http, address, attempt=newest.attempt, key=key, job_uid=uid), attempt=newest.attempt
    )


async def ask_learner(pod: LearnerPod | None, memory: JobState, now: float) -> None:
    """Bring what is remembered of the learner up to date. Of a learner that says nothing honest nothing is taken."""
    if pod is None:
        memory.learner = None
        memory.outcomes = ()
        return
    memory.asked_first.setdefault(pod.attempt, now)
    if memory.learner is not None and memory.learner.attempt != pod.attempt:
        memory.learner = None
    try:
        async with asyncio.timeout(_TALK_SECONDS):
            report = await _report_of_the_attempt(pod, memory, now)
    except TimeoutError:
        report = None
    if report is None:
        return  # busy for a moment: what it said last still stands
    memory.learner = status = report.status
    memory.heard_at = now
    memory.highest_step = max(memory.highest_step, status.step)
    if status.phase in STARTING_PHASES:
        return
    memory.highest_step = max(memory.highest_step, memory.series.last_step)
    memory.outcomes = report.resets.resets


async def _report_of_the_attempt(pod: LearnerPod, memory: JobState, now: float) -> LearnerReport | None:
    """Ask for every line that is not known yet: an attempt that goes on from an earlier step is asked twice.
    is asked from there again. None while lines are missing: nothing is decided on half a timeline."""
    series = memory.series
    for _ in range(_MAX_PAGES):
        asked = series.next_question
        report = await pod.api.report(asked[1])
        if report is None or report.status.attempt != pod.attempt:
            return None
        if report.status.phase in STARTING_PHASES:
            return report
        series.begin_attempt(report.status)
        if series.next_question[1] < asked[1]:
            continue
        series.take((report.status.attempt, series.last_step), report.metrics, now)
        if len(report.metrics.steps) < LINES_A_PAGE or series.last_step <= asked[1]:
            return report
    return None


def members_of(snapshot: Snapshot, memory: JobState, now: float) -> tuple[Member, ...]:
    """Return every member as the brain wants to see it."""
    newest = max((job.attempt for job in snapshot.jobs), default=0)
    deployments = {deployment.role: deployment for deployment in snapshot.deployments}
    found = learner_members(
        snapshot.jobs,
        snapshot.pods,
        is_answering=_has_taken_up(memory.learner, newest),
        held=memory.held,
        now=now,
    )
    for role in (Role.ROLLOUT, Role.SANDBOX):
        found += server_members(role, deployments.get(role), snapshot.pods, now=now)
    return tuple(found)


def observed(
    plan: RunPlan,
    members: tuple[Member, ...],
    memory: JobState,
    *,
    settled: Outcome | None,
    signals: Reading | None,
    now: float,
) -> Observed:
    """Put together what the brain decides on; the caller keeps its `losses` and `highest_step` for the next look."""
    told = told_step(members)
    seen = Observed(
        members=members,
        learner=memory.learner,
        resets=tuple(memory.resets.read()),
        metrics=tuple(memory.series.newest(LINES_FOR_STATUS)),
        metrics_at=memory.series.read_at,
        signals=signals,
        highest_step=max(memory.highest_step, told),
        taken_attempt=taken_attempt(members),
        checkpoint_step=max(memory.status.last_checkpoint_step or 0, told) or None,
        losses=memory.losses,
        restarts_before=memory.restarts_before,
        previous=memory.status,
        settled=settled,
    )
    return with_new_losses(plan, seen, now)


def must_wait_for_answer(plan: RunPlan, pod: LearnerPod | None, memory: JobState, now: float) -> bool:
    """Tell whether a stop must wait: a learner that runs has not been heard yet and may have something to save."""
    if not plan.suspend or pod is None or memory.learner is not None:
        return False
    return now - memory.asked_first.get(pod.attempt, now) < FIRST_ANSWER_SECONDS


def _has_taken_up(learner: LearnerStatus | None, attempt: int) -> bool:
    return learner is not None and learner.attempt == attempt and learner.phase not in STARTING_PHASES
