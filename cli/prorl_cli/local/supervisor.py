"""The local body's loop: look, decide, carry out, keep resets, tell. All decisions are the brain's.

It may be killed at any moment: what it needs to go on is in the run folder, and its children end with it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from ulid import ULID

from prorl_api.journalled import sampled_again
from prorl_api.process.listen import bind
from prorl_api.resets import ResetRecord
from prorl_api.run_folder import RunFolder
from prorl_api.spec.values import Role
from prorl_api.status import JobStatus
from prorl_api.wire.learner import StopRequest
from prorl_cli.errors import storage_error
from prorl_cli.local.environment import PROGRAMS, Surroundings, member_environment, serves
from prorl_cli.local.files import write_atomically
from prorl_cli.local.interrupts import Interrupts
from prorl_cli.local.manifest_watch import ManifestWatch
from prorl_cli.local.observer import Observer
from prorl_cli.local.peers import Peers
from prorl_cli.local.plain import Progress
from prorl_cli.local.probes import Probes
from prorl_cli.local.processes import ProcessTable
from prorl_cli.local.reset_files import ResetFiles, intended_resets
from prorl_cli.local.reset_keeper import ResetKeeper
from prorl_cli.local.startup import StartupTimes
from prorl_cli.local.view import View, reset_lines
from prorl_control.decision import Decision, Event, EventKind, Observed, Outcome, OutcomeKind, ResetCall
from prorl_control.members import MemberKey, MemberStart
from prorl_control.plan import RunPlan, plan
from prorl_control.reconcile import reconcile

POLL_SECONDS = 0.5
"""A person sees a change at once, and a pass costs a few milliseconds."""
_REPOST_SECONDS = 2.0
_STATUS_SECONDS = 10.0
"""An unchanged status is written again after so long, so that its time shows that the body lives."""
_QUOTED_LINES = 15
"""Of a lost member's last words: a Python traceback's end with its cause."""
_QUIET = frozenset({EventKind.STARTED, EventKind.ENDING})
"""Events that the display shows by the members' states."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorParts:
    """What a supervisor is made of."""

    run: RunFolder
    plan: RunPlan
    watch: ManifestWatch
    around: Surroundings
    sockets: Mapping[MemberKey, socket.socket]
    progress: Progress
    interrupts: Interrupts
    programs: Mapping[Role, Sequence[str]] = field(default_factory=lambda: PROGRAMS)
    clock: Callable[[], float] = time.time


class Supervisor:
    """Drives one run until it is over."""

    def __init__(self, parts: SupervisorParts) -> None:
        self._parts = parts
        self._plan = parts.plan
        self._table = ProcessTable(parts.run, parts.clock)
        self._probes = Probes(max_threads=len(parts.plan.members) + 6)
        learner_url = parts.around.urls[MemberKey(role=Role.LEARNER, index=0)]
        self._peers = Peers(learner_url, parts.around.token("body", "learner"))
        self._keeper = ResetKeeper(ResetFiles(parts.run), parts.plan, new_uid=lambda: str(ULID()))
        self._observer = Observer(
            run=parts.run,
            plan=parts.plan,
            urls=parts.around.urls,
            table=self._table,
            probes=self._probes,
            peers=self._peers,
        )
        self._startup = StartupTimes(parts.run.startup)
        self._rendezvous: tuple[int, int] = (0, 0)
        self._asked_at: dict[Hashable, float] = {}
        self._events: frozenset[Event] = frozenset()
        self._resets: tuple[ResetRecord, ...] = self._keeper.read()
        self._written: JobStatus | None = None

    def run(self) -> Outcome:
        """Go on until the run is over or interrupted twice; nothing is left running afterwards.

        Raises:
            StorageError: The run folder cannot be written.
        """
        parts = self._parts
        try:
            while True:
                decision = self._pass()
                if decision.is_over:
                    self._conclude(decision.outcome)
                    return decision.outcome
                if parts.interrupts.count > 1:
                    message = "ended at once; the run continues from its last checkpoint"
                    return Outcome(kind=OutcomeKind.SUSPENDED, reason="Killed", message=message)
                due = decision.requeue_after if decision.requeue_after is not None else POLL_SECONDS
                parts.interrupts.wait(min(POLL_SECONDS, max(due, 0.05)))
        except OSError as error:
            raise storage_error(error, parts.run.path) from error
        finally:
            self._close()

    def _conclude(self, outcome: Outcome) -> None:
        if outcome.kind is OutcomeKind.SUCCEEDED:
            intended = intended_resets(self._parts.run.reset_log)
            self._keeper.take(intended, attempt=self._observer.learner_attempt, now=self._parts.clock())
            self._keeper.conclude(self._observer.series.lines)
            self._tell_resets()

    def _pass(self) -> Decision:
        parts = self._parts
        now = parts.clock()
        self._look_at_manifest()
        self._keeper.take(self._observer.reset_outcomes(), attempt=self._observer.learner_attempt, now=now)
        resets = self._keeper.read()
        observed = self._observer.observe(resets, now, interrupts=parts.interrupts)
        decision = reconcile(self._plan, observed, now)
        if decision.outcome.kind.is_settled:
            self._observer.settled = decision.outcome
        self._observer.previous = decision.status
        self._carry_out(decision, now)
        if not observed.suspend and decision.outcome.kind is OutcomeKind.RUNNING:
            self._keeper.advance(observed.learner, self._observer.series.lines, now)
        self._tell(decision, observed, now)
        return decision

    def _look_at_manifest(self) -> None:
        edit = self._parts.watch.look()
        if edit is None:
            return
        for text in edit.messages:
            self._parts.progress.line(f"manifest: {text}", is_warning=edit.is_refused)
        self._plan = self._observer.plan = self._keeper.plan = plan(self._parts.watch.effective)

    def _carry_out(self, decision: Decision, now: float) -> None:
        for member in decision.remove:
            self._table.end(member.key)
        for start in decision.ensure:
            self._start(start)
        for call in decision.calls:
            if isinstance(call, ResetCall):
                if self._is_due(("reset", call.command.uid), now, _REPOST_SECONDS):
                    self._observer.post_reset(call.command)
            elif self._is_due("stop", now, _REPOST_SECONDS):
                self._observer.post_stop(StopRequest(checkpoint=call.checkpoint, reason=call.reason))

    def _start(self, start: MemberStart) -> None:
        parts = self._parts
        if start.role is Role.LEARNER and self._rendezvous[0] != start.attempt:
            self._rendezvous = (start.attempt, _free_port())
        listening = parts.sockets[start.key].fileno() if serves(start.key) else None
        environment = member_environment(
            parts.around,
            start,
            lifeline=self._table.lifeline,
            listening=listening,
            rendezvous_port=self._rendezvous[1],
        )
        self._observer.forget(start)
        descriptors = () if listening is None else (listening,)
        self._table.start(start, parts.programs[start.role], environment, descriptors)

    def _tell(self, decision: Decision, observed: Observed, now: float) -> None:
        parts = self._parts
        for event in decision.events:
            if event not in self._events and event.kind not in _QUIET:
                log = f" (log: {parts.run.logs / event.subject}.log)" if event.kind is EventKind.LOST else ""
                parts.progress.line(event.message + log, is_warning=event.is_warning)
                if event.kind is EventKind.LOST:
                    self._quote(event.subject, observed)
                if event.kind is EventKind.RESTARTED and event.subject.startswith("attempt-"):
                    for text in sampled_again(parts.run, parts.watch.effective.spec, observed.checkpoint_step):
                        parts.progress.line(text)
        self._events = frozenset(decision.events)
        self._tell_resets()
        for text in self._observer.warnings():
            parts.progress.line(text, is_warning=True)
        self._startup.observe(observed.members, now)
        self._write_status(decision.status)
        parts.progress.show(
            View(
                plan=self._plan,
                members=observed.members,
                learner=observed.learner,
                lines=self._observer.series.lines,
                resets=self._resets,
                outcome=decision.outcome,
                usual_seconds=self._startup.usual,
                now=now,
            )
        )

    def _quote(self, name: str, observed: Observed) -> None:
        """Show what a member said last that ended by itself for a reason that its exit code does not tell."""
        member = next((member for member in observed.members if member.key.name == name), None)
        end = member.exit if member is not None else None
        if end is not None and end.kind is not None and end.restart_can_help and not end.is_clean:
            for line in end.termination_message.splitlines()[-_QUOTED_LINES:]:
                self._parts.progress.line(f"  {line}")

    def _tell_resets(self) -> None:
        resets = self._keeper.read()
        for text in reset_lines(self._resets, resets):
            self._parts.progress.line(text)
        self._resets = resets

    def _write_status(self, status: JobStatus) -> None:
        before = self._written
        is_recent = before is not None and status.updated - before.updated < _STATUS_SECONDS
        if before is not None and is_recent and status.without_moments() == before.without_moments():
            return
        write_atomically(self._parts.run.status, status.model_dump_json(indent=2))
        self._written = status

    def _is_due(self, key: Hashable, now: float, seconds: float) -> bool:
        if now - self._asked_at.get(key, float("-inf")) < seconds:
            return False
        self._asked_at[key] = now
        return True

    def _close(self) -> None:
        self._table.close()
        self._peers.close()
        self._probes.close()


def _free_port() -> int:
    with bind("127.0.0.1", 0) as free:
        return int(free.getsockname()[1])
