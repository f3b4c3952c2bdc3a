"""Which rollout servers there are, what they hold, and which of them may get prompts.

Servers register themselves and repeat it; one that falls silent is forgotten. A server without the wanted weights
gets no prompts: it is told the weights and where to pull them in the answer to its heartbeat.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from prorl_api.process.addresses import AddressError
from prorl_api.wire.base import WeightsId
from prorl_api.wire.learner import MemberAnswer, MemberHeartbeat
from prorl_api.wire.rollout import WeightSource

HEARTBEAT_SECONDS = 1.0
_MAX_MEMBERS = 1024


@dataclass(slots=True)
class RolloutServerEntry:
    """One incarnation of a rollout server."""

    incarnation: str
    address: str
    ready: bool
    weights_id: WeightsId | None
    expires: float
    in_flight: int = 0
    suspended_until: float = 0.0
    """After a failed call it gets no prompts for a moment."""


class TooManyMembersError(Exception):
    """No run has so many rollout servers; somebody makes them up."""


class RolloutServers:
    """The registry. Used on the event loop only."""

    def __init__(self, attempt: int, clock: Callable[[], float] = time.monotonic) -> None:
        """An empty registry."""
        self._attempt = attempt
        self._clock = clock
        self._members: dict[str, RolloutServerEntry] = {}
        self._wanted: WeightsId | None = None
        self._sources: tuple[WeightSource, ...] = ()

    def heartbeat(self, incarnation: str, beat: MemberHeartbeat) -> MemberAnswer:
        """Note a server; what it should hold.

        Raises:
            AddressError: An incarnation that is known at another address.
            TooManyMembersError: There are more than any run has.
        """
        expires = self._clock() + beat.ttl_seconds
        member = self._members.get(incarnation)
        if member is None:
            # A new process at the same address replaces the old one there.
            self._members = {key: old for key, old in self._members.items() if old.address != beat.address}
            member = RolloutServerEntry(incarnation, beat.address, beat.ready, beat.weights_id, expires)
            if len(self.alive()) >= _MAX_MEMBERS:
                raise TooManyMembersError(f"{_MAX_MEMBERS} rollout servers are registered already")
            self._members[incarnation] = member
        elif member.address != beat.address:
            raise AddressError(f"this incarnation serves at {member.address}; one elsewhere needs a name of its own")
        member.ready, member.weights_id, member.expires = beat.ready, beat.weights_id, expires
        return MemberAnswer(
            attempt=self._attempt,
            weights_id=self._wanted,
            sources=self._sources,
            heartbeat_seconds=HEARTBEAT_SECONDS,
        )

    def want(self, weights_id: WeightsId, sources: tuple[WeightSource, ...]) -> None:
        """From now on only servers with these weights get prompts."""
        self._wanted, self._sources = weights_id, sources

    @property
    def wanted(self) -> WeightsId | None:
        """The weights that prompts need."""
        return self._wanted

    def alive(self) -> list[RolloutServerEntry]:
        """Servers that were heard of lately."""
        now = self._clock()
        self._members = {key: member for key, member in self._members.items() if member.expires > now}
        return list(self._members.values())

    def ready(self) -> list[RolloutServerEntry]:
        """Servers that may get prompts, least busy first."""
        now = self._clock()
        fit = [
            member
            for member in self.alive()
            if self._wanted is not None
            and member.ready
            and member.weights_id == self._wanted
            and member.suspended_until <= now
        ]
        return sorted(fit, key=lambda member: member.in_flight)

    def loaded(self, member: RolloutServerEntry, weights_id: WeightsId) -> None:
        """A server acknowledged weights."""
        member.weights_id, member.ready = weights_id, True

    def failed(self, member: RolloutServerEntry, seconds: float = 2.0) -> None:
        """A call failed: no prompts for a moment, and none before the server has been heard of again."""
        member.ready, member.suspended_until = False, self._clock() + seconds
