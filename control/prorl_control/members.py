"""The values that the brain reasons about: members, how they ended, and how often they were lost.

A body translates what it has (processes, pods) into these and carries out what comes back. Nothing here acts.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from enum import StrEnum

from prorl_api.errors import ExitCode
from prorl_api.names import member_name
from prorl_api.spec.values import Role

_VARYING = re.compile(r"0x[0-9a-f]+|[0-9]+([.:,][0-9]+)*", re.IGNORECASE)
"""Times, addresses, ports and sizes in a message."""


class MemberState(StrEnum):
    """What a member is doing, as far as the body can see."""

    STARTING = "starting"
    """Exists and has not answered as ready yet."""
    READY = "ready"
    """Answers as ready."""
    RUNNING = "running"
    """Was ready once and does not answer at the moment."""
    EXITED = "exited"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberKey:
    """Which member: a role and a number in it. For the learner the number is the rank."""

    role: Role
    index: int

    @property
    def name(self) -> str:
        """As in logs and messages: `learner-0`."""
        return member_name(self.role, self.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a member ended."""

    code: int | None = None
    signal: int | None = None
    reason: str = ""
    """What the platform says, such as `OOMKilled`."""
    termination_message: str = ""
    """What it said last: what the platform keeps with the exit, or the end of its log."""

    @property
    def is_clean(self) -> bool:
        """Ended by itself with code 0."""
        return self.code == ExitCode.OK

    @property
    def known_code(self) -> ExitCode | None:
        """The code, if it is one of the project's."""
        return next((code for code in ExitCode if code == self.code), None)

    @property
    def restart_can_help(self) -> bool:
        """Codes of our own say so themselves; a signal or a foreign code may be a passing trouble."""
        known = self.known_code
        return known is None or known is ExitCode.OK or known.restart_can_help

    @property
    def kind(self) -> tuple[int, str] | None:
        """What is equal in two ends for the same reason: the code, and the last words without their numbers.

        None: that cannot be told, of a signal or of a member that said nothing.
        """
        lines = [line for line in self.termination_message.splitlines() if line.strip()]
        if self.signal is not None or self.code is None or not lines:
            return None
        return self.code, _VARYING.sub("#", lines[-1].strip())

    def __str__(self) -> str:
        if self.signal is not None:
            names = {item.value: item.name for item in signal.Signals}
            text = f"killed by {names.get(self.signal, f'signal {self.signal}')}"
        elif self.code is None:
            text = "ended"
        else:
            known = self.known_code
            text = f"exit code {self.code}" + (f" ({known.name})" if known is not None else "")
        return f"{text}, {self.reason}" if self.reason else text


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member as observed."""

    role: Role
    index: int
    attempt: int = 0
    """Of the learner; 0 for the other roles."""
    state: MemberState
    exit: Exit | None = None
    """Set exactly when the state is `exited`."""
    started_at: float = 0.0
    exited_at: float | None = None
    uid: str = ""
    """What tells it from others that had the same index, where the platform has such a thing."""
    detail: str = ""
    """Why it does not run yet and what to do about it, as far as the platform tells."""

    @property
    def key(self) -> MemberKey:
        """Which member it is."""
        return MemberKey(role=self.role, index=self.index)

    @property
    def is_alive(self) -> bool:
        """Whether it still exists."""
        return self.state is not MemberState.EXITED


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberStart:
    """A member that should exist and does not."""

    role: Role
    index: int
    attempt: int = 0

    @property
    def key(self) -> MemberKey:
        """Which member it is."""
        return MemberKey(role=self.role, index=self.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """One unplanned end. A lost learner rank is a loss of its whole gang, counted once an attempt."""

    role: Role
    index: int
    attempt: int
    started_at: float
    at: float
    """Unix time at which it was noticed."""
    step: int
    """Highest step the run had completed by then: a later one forgives the loss."""
    exit: Exit
    uid: str = ""
    """The member's."""

    @property
    def key(self) -> MemberKey:
        """Which member it was."""
        return MemberKey(role=self.role, index=self.index)


def with_losses(
    losses: tuple[Loss, ...], members: tuple[Member, ...], *, highest_step: int, now: float
) -> tuple[Loss, ...]:
    """Return the losses with those added that `members` show and that are not recorded yet."""
    known = {_identity(loss) for loss in losses}
    found = list(losses)
    for member in members:
        if member.exit is None or _identity(member) in known:
            continue
        known.add(_identity(member))
        found.append(
            Loss(
                role=member.role,
                index=member.index,
                attempt=member.attempt,
                started_at=member.started_at,
                at=member.exited_at if member.exited_at is not None else now,
                step=highest_step,
                exit=member.exit,
                uid=member.uid,
            )
        )
    return tuple(found)


def _identity(item: Member | Loss) -> tuple[Role, int | str, float]:
    if item.role is Role.LEARNER:
        return (item.role, item.attempt, 0.0)
    return (item.role, item.uid or item.index, item.started_at)
