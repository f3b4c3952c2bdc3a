"""Isolation level `process`: what any Linux machine or pod gives, without namespaces, cgroups or filters.

Covered, where the service runs as root with the usual capabilities:
- each run is a fresh process in its own session, in a fresh folder that is removed afterwards, with a fixed
  environment and no inherited descriptors but its three standard streams;
- a user of its own: it cannot signal, trace or read the memory of the service, the verifiers or other runs;
- limits on CPU time, address space, file size, processes and threads, open files; no core dumps, no new privileges;
- the wall limit and the output caps, enforced from outside;
- nothing survives a run: every descendant ends, also daemons that left the group and the session.

Where the service is not root all of this holds but the user: programs run as the service's user and can signal its
processes (not read them: they are not dumpable). Two programs at once would be one user's, too: each could read the
other's folder and memory and take its descriptors, a test program's or a checker's included. So one runs at a time, and
assert tests, which need two at once, are unsupported. Run it as root in a pod of its own, or do not trust the programs.

NOT covered at this level, whoever it runs as:
- network: a program can connect to whatever the machine or pod can, the service's own port included (which asks for a
  token that no program can see);
- reading: all files that any user may read, /proc of other users' processes as far as the kernel shows it (their
  command lines, for one);
- files left outside the working folder in places any user may write to (/tmp, /dev/shm, /var/tmp), and System V or
  POSIX shared memory: a program can leave notes for the next one and fill the disk up to many times its file limit;
- memory of several processes together: the limit is per process, so `processes` x `memory_bytes` is the bound;
- CPU time of several processes together: the bound is the wall limit times the machine's cores;
- file locks, keyrings, timing and other hidden channels; kernel vulnerabilities.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

from prorl_api.errors import RewardError
from prorl_api.wire.sandbox import ExecutionLimits
from prorl_reward_sandbox.execution.isolation import RawOutcome, RunSpec, Runtime
from prorl_reward_sandbox.execution.levels.interpreter_arguments import PYTHON_ARGUMENTS, interpreter_arguments
from prorl_reward_sandbox.execution.levels.runner_isolation import RunnerIsolation
from prorl_reward_sandbox.execution.process.interpreters import INTERPRETERS
from prorl_reward_sandbox.execution.process.libraries import located
from prorl_reward_sandbox.execution.process.run_request import LIBRARY_ADDRESS_BYTES

_PROBE_LIMITS = ExecutionLimits(wall_seconds=30.0, cpu_seconds=20.0)


class ProcessIsolation(RunnerIsolation):
    """Runs programs as plain processes; an interpreter starts for every run."""

    def __init__(self, slots: int, *, command: Sequence[str] = (sys.executable,)) -> None:
        super().__init__("process", slots, command=command)
        self._interpreter = ""

    async def start(self) -> None:
        """Start all runners, and find a Python that programs may use.

        Where programs have the service's user, all but one of the runners stay unused.
        """
        await super().start()
        if self.facts["user_id"] is None:
            self.restrict(1)
        self._interpreter = await self._find_interpreter()

    async def run(self, spec: RunSpec) -> RawOutcome:
        """Run a program once, on the next free runner."""
        if spec.runtime is Runtime.PYTHON:
            spec = self._started(spec)
        return await super().run(spec)

    def _started(self, spec: RunSpec) -> RunSpec:
        """Return the run of an interpreter that runs the script."""
        limits, packages = spec.limits, {}
        if spec.libraries:
            try:
                packages = dict(located(spec.libraries))
            except FileNotFoundError as error:
                raise RewardError(str(error)) from error
            limits = limits.model_copy(update={"memory_bytes": limits.memory_bytes + LIBRARY_ADDRESS_BYTES})
        argv = (self._interpreter, *interpreter_arguments(spec.files, packages), *spec.argv)
        return dataclasses.replace(spec, argv=argv, runtime=Runtime.EXEC, limits=limits)

    async def _find_interpreter(self) -> str:
        """Return the first candidate that runs under this isolation."""
        for interpreter in INTERPRETERS:
            spec = RunSpec(argv=(interpreter, *PYTHON_ARGUMENTS, "-c", ""), limits=_PROBE_LIMITS)
            try:
                outcome = await self.run(spec)
            except RewardError:
                continue  # not there, or not for the programs' user
            if outcome.exit_code == 0:
                return interpreter
        raise RewardError(
            f"none of {', '.join(INTERPRETERS)} runs as the programs' user; install a Python for all users"
        )
