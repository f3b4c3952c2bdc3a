"""How many jails a service needs: one a program that runs, and some more for test programs beside them."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

from prorl_reward_sandbox.execution.isolation import Isolation


def num_companions(slots: int) -> int:
    """Return how many test programs run at once.

    Their jails are idle while the tested program computes, and the reverse.
    """
    return max(1, slots // 2)


def num_jails(slots: int) -> int:
    """Return how many runs at once an isolation must allow for so many programs at once.

    With fewer, programs that each hold one jail and wait for a second one would wait for each other.
    """
    return slots + num_companions(slots)


def num_programs(runs: int) -> int:
    """Return how many programs at once fit into so many runs.

    At least one, whose assert tests then need a second run.
    """
    return max((slots for slots in range(1, runs + 1) if num_jails(slots) <= runs), default=1)


class Companions:
    """Hands out the second jail of an assert test."""

    def __init__(self, isolation: Isolation, slots: int) -> None:
        self._isolation = isolation
        self._free = asyncio.Semaphore(num_companions(slots))

    @property
    def can_be_had(self) -> bool:
        """Whether two runs at once are allowed."""
        return self._isolation.max_runs > 1

    def one_more(self) -> AbstractAsyncContextManager[None]:
        """Hold a second jail, once one is free."""
        return self._free
