"""Where resets are posted, wait for their step, and are acknowledged.

The log `resets.jsonl` makes them survive: an intent is written and fsynced before a reset is applied, and the reset
counts as applied only once a checkpoint contains its uid. After a resume an intent beyond the checkpoint is applied
again at exactly its step, with the same command; a uid that nobody knows is simply asked for again by the body.
"""

from __future__ import annotations

import threading
from typing import Any

from prorl_api.wire.learner import ResetCommand, ResetOutcome, ResetOutcomes, ResetState
from prorl_trainer.storage.lines import LineFile


class ResetQueue:
    """Commands in, outcomes out. Thread-safe."""

    def __init__(self, log: LineFile) -> None:
        """With the run's reset log."""
        self._lock = threading.Lock()
        self._log = log
        self._waiting: dict[str, ResetCommand] = {}
        self._intended: set[str] = set()
        self._outcomes: dict[str, ResetOutcome] = {}

    def resume(self, step: int, applied: tuple[str, ...]) -> None:
        """Take up what the log tells, given the checkpoint's step and applied uids."""
        with self._lock:
            for line in self._log.read():
                uid = line["command"]["uid"]
                if uid in applied and line["event"] == "intent":
                    self._outcomes[uid] = _applied(line)
                elif uid not in applied and line["event"] == "intent" and line["step"] >= step:
                    command = ResetCommand.model_validate(line["command"])
                    self._intended.add(uid)
                    self._waiting[uid] = command.model_copy(update={"apply_at_step": line["step"]})
                elif line["event"] in (ResetState.EXPIRED, ResetState.FAILED):
                    self._outcomes[uid] = ResetOutcome.model_validate(line["outcome"])
            for uid in self._outcomes:  # the API is up before: a body may have posted a finished one again
                self._waiting.pop(uid, None)

    def post(self, command: ResetCommand, *, step: int) -> ResetOutcome:
        """Accept a command; the same uid again changes nothing and returns where it stands."""
        with self._lock:
            known = self._outcomes.get(command.uid)
            if known is not None:
                return known
            self._waiting.setdefault(command.uid, command)
            return _outcome(command, ResetState.ACCEPTED)

    def due(self, step: int) -> list[ResetCommand]:
        """Commands to apply at the boundary after `step` completed steps; the late ones expire."""
        with self._lock:
            expired = [
                command
                for command in self._waiting.values()
                if command.expires_after_step is not None and step > command.expires_after_step
            ]
            for command in expired:
                message = f"step {step} is past {command.expires_after_step}, the last step it was meant for"
                self._end(command, ResetState.EXPIRED, message)
            return [
                command
                for command in self._waiting.values()
                if command.apply_at_step is None or command.apply_at_step <= step
            ]

    def supersede(self, command: ResetCommand, last_reset_step: int | None) -> bool:
        """End a due command whose evidence speaks of a reference that is gone; tell whether it did.

        A command that rests on evidence waits for that step (`apply_at_step`). One that was begun before a resume is
        repeated as it was, and one without evidence, as a person asks for, is never superseded.
        """
        evidence_step = command.apply_at_step
        if command.uid in self._intended or evidence_step is None or last_reset_step is None:
            return False
        if evidence_step > last_reset_step:
            return False
        message = (
            f"superseded: the reference was reset at step {last_reset_step}, "
            f"not before the evidence of step {evidence_step}"
        )
        with self._lock:
            self._end(command, ResetState.EXPIRED, message)
        return True

    def intend(self, command: ResetCommand, *, step: int, before: str, after: str) -> None:
        """Write the intent, durably, before anything is changed."""
        line = {"event": "intent", "step": step, "digest_before": before, "digest_after": after}
        self._log.append({**line, "command": command.model_dump(mode="json")})

    def applied(self, command: ResetCommand, *, step: int, before: str, after: str) -> None:
        """Return a checkpoint contains it now: acknowledge."""
        with self._lock:
            self._waiting.pop(command.uid, None)
            self._outcomes[command.uid] = _outcome(
                command, ResetState.APPLIED, applied_step=step, digest_before=before, digest_after=after
            )

    def fail(self, command: ResetCommand, message: str) -> None:
        """Note that it cannot be applied."""
        with self._lock:
            self._end(command, ResetState.FAILED, message)

    def outcomes(self) -> ResetOutcomes:
        """Return everything known, waiting ones included."""
        with self._lock:
            waiting = [_outcome(command, ResetState.ACCEPTED) for command in self._waiting.values()]
            return ResetOutcomes(resets=(*self._outcomes.values(), *waiting))

    def _end(self, command: ResetCommand, state: ResetState, message: str) -> None:
        self._waiting.pop(command.uid, None)
        outcome = _outcome(command, state, message=message)
        self._outcomes[command.uid] = outcome
        line = {"event": state.value, "command": command.model_dump(mode="json")}
        self._log.append({**line, "outcome": outcome.model_dump(mode="json")})


def _outcome(command: ResetCommand, state: ResetState, **result: Any) -> ResetOutcome:
    asked = {name: getattr(command, name) for name in ("uid", "name", "source", "optimizer", "trigger")}
    return ResetOutcome(**asked, state=state, **result)


def _applied(line: dict[str, Any]) -> ResetOutcome:
    return _outcome(
        ResetCommand.model_validate(line["command"]),
        ResetState.APPLIED,
        applied_step=line["step"],
        digest_before=line["digest_before"],
        digest_after=line["digest_after"],
    )
