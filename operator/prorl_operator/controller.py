"""One pass over one job: look, decide, carry out, keep resets, tell. All decisions are the brain's.

Level-based: a pass starts from what exists, so any operator may make the next one. What a pass decided on and what
exists may differ by the watch's delay; where that could do harm (a second attempt, a second reset) it is checked.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from prorl_api.crd import OpenFields, status_from_object
from prorl_api.spec.job import ProRLJob
from prorl_api.spec.values import Role
from prorl_api.status import ConditionType
from prorl_api.wire.learner import StopRequest
from prorl_control.decision import Decision, OutcomeKind, StopCall
from prorl_control.outcome import is_over, settled_outcome
from prorl_control.plan import RunPlan
from prorl_control.reconcile import reconcile
from prorl_control.resets.changes import Creation, ResetChange, advanced, concluded, newest_place, taken_over
from prorl_control.resets.judgement import KL_STEPS
from prorl_control.resets.triggers import names_wanted, window_steps
from prorl_control.signals.reading import Reading
from prorl_operator import events, observation
from prorl_operator.acceptance import Acceptance, refused, with_acceptance, with_trouble
from prorl_operator.actions import Actions
from prorl_operator.job_state import JobState, JobStates, from_status
from prorl_operator.kube.claims import claim_faults
from prorl_operator.kube.client import Api, ApiError
from prorl_operator.kube.reset_objects import ResetObjects, StaleViewError, tell_of_no_job
from prorl_operator.kube.views import Body
from prorl_operator.manifests import JobContext
from prorl_operator.settings import OperatorSettings
from prorl_operator.signals.choice import SignalChoice
from prorl_operator.signals.poller import SignalPoller
from prorl_operator.telemetry import Telemetry
from prorl_operator.watch.view_index import Key, Snapshot, ViewSource

POLL_SECONDS = 10.0
"""How often a learner that trains is asked: a step takes longer, and its status is told every half minute."""
STARTING_SECONDS = 3.0
"""How often one that starts is asked: it takes a minute at least, and many may start at once."""
SOON_SECONDS = 1.0
"""While a learner stops."""
REFUSED_SECONDS = 60.0
"""What is wrong may lie outside the job, such as in a claim, whose change does not wake us."""
_MIN_LINES = KL_STEPS
"""Of the newest metrics that are kept of every run, whatever its triggers look at: what judges a reset at the end."""
_MAX_ADOPTED = 20
"""Resets that a learner did by itself, recorded in one look; with more, the next look goes on."""
_MAX_RECORDS = 2000
"""Of one job, after which none of a learner's own is added."""
ANNOTATION_ADOPT = "prorl.dev/adopt-run"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerParts:
    """What a controller is made of."""

    api: Api
    views: ViewSource
    http: aiohttp.ClientSession
    settings: OperatorSettings
    telemetry: Telemetry
    signals: SignalPoller
    clock: Callable[[], float] = time.time


class Controller:
    """Passes over jobs."""

    def __init__(self, parts: ControllerParts) -> None:
        self._parts = parts
        self.memories = JobStates()
        self._choice = SignalChoice(endpoints=parts.settings.prometheus, poller=parts.signals)

    async def work(self, key: Key) -> float | None:
        """Make one pass over a job; return the seconds after which another is due by time alone.

        Raises:
            StaleViewError: The watch is behind; try again shortly.
            ApiError: The API refused something; try again with back-off.
        """
        snapshot = self._parts.views.snapshot(key)
        body = snapshot.body
        if body is None or "deletionTimestamp" in body["metadata"]:
            self.memories.forget(key)  # what it owns is garbage-collected
            self._parts.signals.forget(key)
            self._parts.telemetry.job_state(key, None)
            if body is None:
                await tell_of_no_job(self._parts.api, key, snapshot.resets)
            return None
        memory = self.memories.of(key, body["metadata"]["uid"], lambda: self._begin(body))
        now = self._parts.clock()
        # As the brain sees it: it starts the next attempt when no learner is alive, and that takes up every edit.
        members = observation.members_of(snapshot, memory, now)
        goes_on = any(member.role is Role.LEARNER and member.is_alive for member in members)
        accepted = memory.gate.accept(body, snapshot.plan if goes_on else None)
        if accepted.job is not None and not goes_on:
            faults = await claim_faults(self._parts.api, accepted.job, key[0])
            accepted = refused(accepted, faults)
        if accepted.job is None:
            status = with_acceptance(memory.status, accepted, now)
            await events.tell(self._parts.api, snapshot, memory, events.refusal_of(accepted, memory.status))
            due = await memory.statuses.write(self._parts.api, snapshot, status, None, now)
            memory.status = status
            self._parts.telemetry.job_state(key, "NotAccepted")
            return REFUSED_SECONDS if due is None else due
        return await self._pass(snapshot, memory, accepted, accepted.job, goes_on=goes_on, now=now)

    async def _pass(
        self, snapshot: Snapshot, memory: JobState, accepted: Acceptance, job: ProRLJob, *, goes_on: bool, now: float
    ) -> float | None:
        parts = self._parts
        assert snapshot.body is not None
        plan = memory.plan_of(job)
        context = self._context(snapshot.body, job)
        actions = Actions(parts.api, context, plan, snapshot, memory.base_digest)
        memory.series.keep_names(names_wanted(plan.reference_reset))
        recent = max(_MIN_LINES, window_steps(plan.reference_reset))
        is_decided_elsewhere = job.spec.monitoring.is_from_prometheus and job.spec.monitoring.on_missing != "learner"
        memory.series.keep_recent(_MIN_LINES if is_decided_elsewhere else recent)
        learner = observation.find_learner(snapshot, parts.http, key=parts.settings.token_key, uid=memory.uid)
        await observation.ask_learner(learner, memory, now)
        if observation.must_wait_for_answer(plan, learner, memory, now):
            return SOON_SECONDS
        await self._look_at_resets(snapshot, memory, plan, now)
        if not snapshot.pods:
            await events.find_held(parts.api, snapshot, memory, now)
        generation = int(snapshot.body["metadata"]["generation"])
        seen_generation = (snapshot.body.get("status") or {}).get("observedGeneration")
        settled = settled_outcome(plan, memory.status, is_current=seen_generation == generation)
        if settled is None and not goes_on and is_over(memory.status):
            if snapshot.jobs:
                await actions.delete_jobs()
                return SOON_SECONDS
            memory.begin_anew()
        source = self._choice.source(snapshot.body, job, plan, memory.series, memory.resets.read(), recent)
        reading = source.read(now, memory.learner, heard_now=memory.heard_at == now)
        members = observation.members_of(snapshot, memory, now)
        is_read = job.spec.monitoring.is_from_prometheus and settled is None and not plan.suspend
        observed = observation.observed(
            plan, members, memory, settled=settled, signals=reading if is_read else None, now=now
        )
        memory.losses, memory.highest_step = observed.losses, observed.highest_step
        decision = reconcile(plan, observed, now)
        meta = snapshot.body["metadata"]
        key = meta["namespace"], meta["name"]
        parts.telemetry.job_state(key, decision.outcome.kind.value.capitalize())
        parts.telemetry.job_counts(key, observed.resets, decision.status.restarts)
        await self._call_learner(learner, memory, decision)
        due = await self._carry_out(
            snapshot, memory, accepted, plan, actions, decision, reading, goes_on=goes_on, now=now
        )
        if decision.is_over and (ttl := job.spec.ttl_seconds_after_finished) is not None:
            return _sooner(due, await self._expire(snapshot.body, memory, ttl, now))
        return _sooner(due, _next_look(decision, has_learner=learner is not None, members_left=bool(members)))

    async def _expire(self, body: Body, memory: JobState, ttl: int, now: float) -> float | None:
        """Delete a job that has been finished for its time to live; a suspended one is not finished."""
        summary = memory.status.condition(ConditionType.SUCCEEDED)
        if summary is None or not is_over(memory.status):
            return None
        left = summary.last_transition_time + ttl - now
        if left > 0:
            return left
        meta = body["metadata"]
        where = body["apiVersion"], body["kind"], meta["namespace"], meta["name"]
        await self._parts.api.delete(*where, uid=meta["uid"])
        return None

    async def _carry_out(
        self,
        snapshot: Snapshot,
        memory: JobState,
        accepted: Acceptance,
        plan: RunPlan,
        actions: Actions,
        decision: Decision,
        reading: Reading,
        *,
        goes_on: bool,
        now: float,
    ) -> float | None:
        """Carry out what was decided; return the seconds until the status is due, if it waits."""
        parts = self._parts
        # Status before ends: what was decided is known, however far the ends come.
        attempt_before = memory.status.attempt
        refusal = events.refusal_of(accepted, memory.status)
        memory.status = with_acceptance(decision.status, accepted, now)
        try:
            await actions.start(decision, goes_on=goes_on)
        except (ApiError, StaleViewError) as error:
            # An attempt that may not have begun uses up no number; if it has, the watch will show it.
            memory.status = memory.status.model_copy(update={"attempt": attempt_before})
            if isinstance(error, ApiError) and error.is_refusal:
                troubled = with_trouble(memory.status, str(error), now)
                await memory.statuses.write(parts.api, snapshot, troubled, plan, now)
            raise
        due = await memory.statuses.write(parts.api, snapshot, memory.status, plan, now)
        await actions.end(decision)
        if decision.outcome.kind is OutcomeKind.RUNNING and decision.outcome.reason != "Stopping":
            records = memory.resets.read()
            is_replayable = reading.origin is not None  # its lines are few, one a scrape at most
            changes = advanced(
                records,
                plan,
                memory.learner,
                reading.lines,
                new_uid=_uid_of_the_object,
                now=now,
                origin=reading.origin,
                decided=memory.decided if is_replayable else None,
            )
            await memory.resets.carry_out(changes)
            memory.decided = newest_place(reading.lines) if is_replayable else None
        if decision.is_over:
            if decision.outcome.kind is OutcomeKind.SUCCEEDED:
                await memory.resets.carry_out(concluded(memory.resets.read(), memory.series.lines))
            await actions.clean_up(decision)
        told = (*decision.events, *refusal, *events.of_resets(memory))
        await events.tell(parts.api, snapshot, memory, told)
        return due

    async def _look_at_resets(self, snapshot: Snapshot, memory: JobState, plan: RunPlan, now: float) -> None:
        reset = plan.reference_reset
        await memory.resets.look(
            list(snapshot.resets),
            OpenFields(
                number=memory.status.resets + 1,
                attempt=memory.status.attempt,
                evidence_step=memory.learner.step if memory.learner is not None else memory.status.step,
                source=reset.source,
                optimizer=reset.optimizer,
            ),
        )
        records, attempt = memory.resets.read(), memory.status.attempt
        changes = taken_over(records, memory.outcomes, plan, attempt=attempt, now=now)
        await memory.resets.carry_out(_within_reason(changes, len(records)))

    async def _call_learner(self, learner: observation.LearnerPod | None, memory: JobState, decision: Decision) -> None:
        if learner is None:
            return
        for call in decision.calls:
            if isinstance(call, StopCall):
                await learner.api.stop(StopRequest(checkpoint=call.checkpoint, reason=call.reason))
            else:
                await learner.api.post_reset(call.command)

    def _begin(self, body: Body) -> JobState:
        meta = body["metadata"]
        resets = ResetObjects(
            self._parts.api, namespace=meta["namespace"], job_name=meta["name"], owner=owner_reference(body)
        )
        return from_status(status_from_object(body.get("status")), uid=meta["uid"], resets=resets)

    def _context(self, body: Body, job: ProRLJob) -> JobContext:
        meta, settings = body["metadata"], self._parts.settings
        return JobContext(
            job=job,
            uid=meta["uid"],
            namespace=meta["namespace"],
            images=settings.images,
            token_key=settings.token_key,
            adopt_run=(meta.get("annotations") or {}).get(ANNOTATION_ADOPT, ""),
            cluster_domain=settings.cluster_domain,
            operator_namespace=settings.own_namespace,
            monitoring_namespace=settings.monitoring_namespace,
            dns=settings.dns,
        )


def _within_reason(changes: list[ResetChange], num_records: int) -> list[ResetChange]:
    """Without what only a learner that lies could tell of: every reset that it did by itself becomes an object."""
    room = min(_MAX_ADOPTED, max(0, _MAX_RECORDS - num_records))
    adopted = [change for change in changes if isinstance(change, Creation)]
    if len(adopted) > room:
        _logger.warning("a learner tells of %d resets of its own, %d are recorded", len(adopted), room)
    return [change for change in changes if not isinstance(change, Creation)] + list(adopted[:room])


def _uid_of_the_object() -> str:
    """Return no uid: a proposal gets its identity from the API server."""
    return ""


def owner_reference(body: Body) -> dict[str, Any]:
    """Return what makes an object the job's: deleted with it, and shown as its controller's."""
    meta = body["metadata"]
    return {
        "apiVersion": body["apiVersion"],
        "kind": body["kind"],
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _sooner(first: float | None, second: float | None) -> float | None:
    """Return the earlier of two times, either of which may be never."""
    return min((each for each in (first, second) if each is not None), default=None)


def _next_look(decision: Decision, *, has_learner: bool, members_left: bool) -> float | None:
    """Objects that change wake us; the learner's progress and time do not."""
    if decision.is_over:
        return None
    dues = [decision.requeue_after] if decision.requeue_after is not None else []
    if decision.outcome.reason == "Stopping":
        dues.append(SOON_SECONDS)
    elif decision.outcome.reason == "Starting":
        dues.append(STARTING_SECONDS)
    elif has_learner or members_left:
        dues.append(POLL_SECONDS)
    return min(dues, default=None)
