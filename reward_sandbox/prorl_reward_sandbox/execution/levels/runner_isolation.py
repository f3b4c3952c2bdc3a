"""Any level of isolation, seen from the service: runners that are started, used one run at a time, and replaced."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from prorl_api.errors import RewardError
from prorl_reward_sandbox.execution.isolation import RawOutcome, RunSpec
from prorl_reward_sandbox.execution.levels.runner_process import NotRunError, RunnerProcess, start_runner

_GRACE_SECONDS = 15.0
"""Beyond the wall limit, for killing and cleaning up, before a runner is given up."""
_IMPORT_SECONDS = 60.0
"""More of it for a run with libraries, which may be the first one of a runner."""
_logger = logging.getLogger(__name__)


class RunnerIsolation:
    """Runs programs on a fixed number of runners of one level.

    Args:
        command: What runners are started with: a Python, or what turns into one.
    """

    def __init__(self, level: str, slots: int, *, command: Sequence[str] = (sys.executable,)) -> None:
        self._command = command
        self._level = level
        self._num_slots = slots
        self._idle: list[RunnerProcess] = []
        self._free = asyncio.Semaphore(slots)
        self._stopping: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """The level's name."""
        return self._level

    @property
    def max_runs(self) -> int:
        """Runs at once."""
        return self._num_slots

    async def start(self) -> None:
        """Start all runners."""
        self._idle += await asyncio.gather(*(start_runner(self._level, self._command) for _ in range(self._num_slots)))
        if any(runner.hello["user_id"] is None for runner in self._idle):
            _logger.warning("programs run as this service's own user: it may not change users")

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a runner found out about itself at its start; empty before."""
        return self._idle[0].hello if self._idle else {}

    def restrict(self, slots: int) -> None:
        """Run fewer programs at once than there are runners; before the first run of others."""
        self._num_slots = slots
        self._free = asyncio.Semaphore(slots)

    async def close(self) -> None:
        """End all runners."""
        await asyncio.gather(*(runner.stop() for runner in self._idle), *self._stopping)
        self._idle.clear()

    async def run(self, spec: RunSpec) -> RawOutcome:
        """Run a program once, on the next free runner."""
        async with self._free:
            runner = self._idle.pop() if self._idle else await start_runner(self._level, self._command)
            try:
                grace = _GRACE_SECONDS + (_IMPORT_SECONDS if spec.libraries else 0.0)
                async with asyncio.timeout(spec.limits.wall_seconds + grace):
                    outcome = await runner.run(spec)
            except NotRunError:
                self._idle.append(runner)
                raise
            except BaseException as error:
                # Cancelled, dead or stuck: this runner ends and takes the program with it.
                stopping = asyncio.create_task(runner.stop())
                self._stopping.add(stopping)
                stopping.add_done_callback(self._stopping.discard)
                if isinstance(error, ConnectionError | TimeoutError):
                    raise RewardError(f"the program's runner failed: {type(error).__name__} {error}") from error
                raise
            self._idle.append(runner)
        return outcome
