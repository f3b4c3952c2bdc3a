"""Looking at a run: processes, readiness, the learner's status and series, put together as `Observed`.

Asking never waits (`probes`), so a pass takes milliseconds whatever the peers do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from prorl_api.resets import ResetRecord
from prorl_api.run_folder import RunFolder
from prorl_api.spec.values import Role
from prorl_api.wire.learner import LearnerStatus, ResetCommand, ResetOutcome, StopRequest
from prorl_cli.local.environment import serves
from prorl_cli.local.files import METRICS_KEYS, read_lines
from prorl_cli.local.folder import read_status
from prorl_cli.local.interrupts import Interrupts
from prorl_cli.local.peers import Peers
from prorl_cli.local.probes import Probes
from prorl_cli.local.processes import ProcessTable
from prorl_control.conditions import STARTING_PHASES
from prorl_control.decision import LINES_FOR_STATUS, Observed, Outcome
from prorl_control.members import Loss, Member, MemberKey, MemberStart, MemberState
from prorl_control.outcome import with_new_losses
from prorl_control.plan import RunPlan
from prorl_control.resets.series import Series
from prorl_control.resets.triggers import window_steps


class Observer:
    """Collects what can be seen; remembers only what cannot be asked for again."""

    def __init__(
        self,
        *,
        run: RunFolder,
        plan: RunPlan,
        urls: Mapping[MemberKey, str],
        table: ProcessTable,
        probes: Probes,
        peers: Peers,
    ) -> None:
        self._run, self._urls = run, urls
        self.plan = plan
        """Replaced when the manifest is edited."""
        self._table, self._probes, self._peers = table, probes, peers
        self.series = Series()
        self.previous = read_status(run)
        self.settled: Outcome | None = None
        """The outcome, once it is no longer `running`: members that end now are not lost."""
        self.learner_attempt = 0
        self._restarts_before = dict(self.previous.restarts) if self.previous is not None else {}
        self._losses: tuple[Loss, ...] = ()
        self._highest_step = max((int(line["step"]) for line in read_lines(run.metrics, *METRICS_KEYS)), default=0)
        self._counted_attempts: set[int] = set()
        self._masked: dict[int, int] = {}
        self._warnings: list[str] = []

    def observe(self, resets: tuple[ResetRecord, ...], now: float, *, interrupts: Interrupts) -> Observed:
        """Return everything as it is now."""
        # Of older steps the validations: a run of thousands of steps must not fill this process.
        self.series.keep_recent(max(LINES_FOR_STATUS, window_steps(self.plan.reference_reset)))
        self._probes.collect()
        members = self._table.observe(self._is_ready)
        self._count_finished_steps(members)
        learner = self._learner_status(members)
        self._ask(members, learner)
        self._take_series(learner, now)
        seen = Observed(
            members=members,
            learner=learner,
            resets=resets,
            metrics=tuple(self.series.lines[-LINES_FOR_STATUS:]),
            metrics_at=self.series.read_at,
            highest_step=self._highest_step,
            folder_attempt=self._run.highest_attempt(),
            suspend=interrupts.count > 0,
            suspend_reason=interrupts.name,
            checkpoint_step=checkpoint_step(self._run.current),
            losses=self._losses,
            restarts_before=self._restarts_before,
            previous=self.previous,
            settled=self.settled,
        )
        observed = with_new_losses(self.plan, seen, now)
        self._losses = observed.losses
        return observed

    def forget(self, start: MemberStart) -> None:
        """Forget the answers of an old member: a new one is about to start."""
        self._probes.forget(("ready", start.key))
        if start.role is Role.LEARNER:
            self.learner_attempt = start.attempt
            for key in ("status", "metrics", "resets", "stop"):
                self._probes.forget(key)

    def post_reset(self, command: ResetCommand) -> None:
        """Hand a reset to the learner; the answer is among `reset_outcomes`."""
        attempt = self.learner_attempt
        self._probes.ask(("reset", command.uid), lambda: self._peers.post_reset(attempt, command))

    def post_stop(self, request: StopRequest) -> None:
        """Ask the learner to stop; its status and its end are the answer."""
        attempt = self.learner_attempt
        self._probes.ask("stop", lambda: self._peers.stop(attempt, request))

    def reset_outcomes(self) -> list[ResetOutcome]:
        """Return what the learner has said about resets since the last call."""
        self._probes.collect()
        answer = self._probes.take("resets")
        return list(answer.resets) if answer is not None else []

    def warnings(self) -> list[str]:
        """Return what should be said once."""
        found, self._warnings = self._warnings, []
        return found

    def _is_ready(self, key: MemberKey) -> bool:
        if key.role is not Role.LEARNER:
            return self._probes.newest(("ready", key)) is True
        status = self._probes.newest("status")
        return (
            isinstance(status, LearnerStatus)
            and status.attempt == self.learner_attempt
            and status.phase not in STARTING_PHASES
        )

    def _learner_status(self, members: tuple[Member, ...]) -> LearnerStatus | None:
        """Return the current attempt's newest status, while its rank 0 lives."""
        leader = next((member for member in members if member.role is Role.LEARNER and member.index == 0), None)
        status = self._probes.newest("status")
        if leader is None or not leader.is_alive or not isinstance(status, LearnerStatus):
            return None
        if status.attempt != leader.attempt:
            return None
        self._highest_step = max(self._highest_step, status.step)
        if status.masked_rollouts > self._masked.get(status.attempt, 0):
            more = status.masked_rollouts - self._masked.get(status.attempt, 0)
            self._masked[status.attempt] = status.masked_rollouts
            why = f": {status.masked_reason}" if status.masked_reason else ""
            self._warnings.append(f"{more} rollouts got no reward because the judge failed; they are masked{why}")
        return status

    def _ask(self, members: tuple[Member, ...], learner: LearnerStatus | None) -> None:
        attempt, peers = self.learner_attempt, self._peers
        for member in members:
            if not member.is_alive or not serves(member.key):
                continue
            if member.role is Role.LEARNER:
                self._probes.ask("status", lambda: _kept(peers.status(attempt), self._probes.newest("status")))
            else:
                url = self._urls[member.key]
                self._probes.ask(("ready", member.key), partial(peers.is_ready, url))
        if learner is None or learner.phase in STARTING_PHASES:
            return
        self.series.begin_attempt(learner)
        asked = self.series.next_question
        self._probes.ask("metrics", lambda: (asked, peers.metrics(*asked)))
        self._probes.ask("resets", lambda: peers.resets(attempt))

    def _take_series(self, learner: LearnerStatus | None, now: float) -> None:
        taken = self._probes.take("metrics")
        if taken is not None and taken[1] is not None and learner is not None:
            asked, answer = taken
            self.series.take(asked, answer, now)
            self._highest_step = max(self._highest_step, self.series.last_step)

    def _count_finished_steps(self, members: tuple[Member, ...]) -> None:
        """Count steps of a learner that has ended and that its API was never asked about."""
        for member in members:
            has_ended = member.role is Role.LEARNER and member.state is MemberState.EXITED
            if has_ended and member.attempt not in self._counted_attempts:
                self._counted_attempts.add(member.attempt)
                lines = read_lines(self._run.metrics, *METRICS_KEYS)
                self.series.take_file(lines)
                self._highest_step = max([self._highest_step, *(int(line["step"]) for line in lines)])


def _kept(newest: LearnerStatus | None, before: object) -> LearnerStatus | None:
    """Keep the older answer: a learner that is busy for a moment has not forgotten what it said."""
    if newest is not None:
        return newest
    return before if isinstance(before, LearnerStatus) else None


def checkpoint_step(current: Path) -> int | None:
    """Return the step that `CURRENT` names; None before the first checkpoint, or while nobody can tell."""
    try:
        return int(json.loads(current.read_text(encoding="utf-8"))["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
