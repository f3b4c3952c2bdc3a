"""The launcher starts the ranks of one learner pod together and ends them together. It is a pod's first process.

torchrun would start ranks again, which is the operator's decision here, and ends with code 1 whatever a rank ended
with. The operator judges by that code whether another attempt can help, so this launcher ends with the code of the
rank that failed first, or 128 + n if signal n ended it. It restarts nothing and does not read the manifest.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prorl_api.errors import ExitCode, Fault, SpecError
from prorl_api.names import ENV_LEARNER_REPLICAS, ENV_PROCESSES_PER_REPLICA, ENV_RENDEZVOUS, ENV_TERMINATION_LOG
from prorl_api.process.lifeline import LIFELINE_FD_VARIABLE
from prorl_api.process.logs import configure_logging
from prorl_api.process.tokens import without_tokens
from prorl_trainer.launch.rank_process import RankProcess

INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
"""Set by Kubernetes in the pods of an Indexed Job: the replica's number from 0."""
RANK_PROGRAM = (sys.executable, "-m", "prorl_trainer")
GRACE_SECONDS = 10.0
"""For the ranks that are left when one has failed. They can save nothing: checkpoints need every rank."""

_TERMINATION_LOG = "/dev/termination-log"
_CODES_THAT_TELL = frozenset(ExitCode) - {ExitCode.OK, ExitCode.FAILED}

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """Which ranks of how many run in this pod, and where they meet."""

    replica: int
    """This pod's number from 0."""
    num_replicas: int
    processes: int
    """Ranks in each pod."""
    rendezvous: str
    """`host:port`; without meaning for a single rank."""

    @property
    def world_size(self) -> int:
        """Ranks over all pods."""
        return self.num_replicas * self.processes

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Topology:
        """Read the variables.

        Raises:
            SpecError: Naming every variable that is missing or does not fit.
        """
        faults: list[Fault] = []

        def number(name: str, least: int) -> int:
            text = environment.get(name, "")
            if text.isascii() and text.isdecimal() and int(text) >= least:
                return int(text)
            faults.append(Fault(path=name, got=repr(text), want=f"a whole number from {least}"))
            return least

        replica, replicas = number(INDEX_VARIABLE, 0), number(ENV_LEARNER_REPLICAS, 1)
        processes, rendezvous = number(ENV_PROCESSES_PER_REPLICA, 1), environment.get(ENV_RENDEZVOUS, "")
        if replicas * processes > 1 and not rendezvous.rpartition(":")[2].isdecimal():
            faults.append(Fault(path=ENV_RENDEZVOUS, got=repr(rendezvous), want="host:port where rank 0 awaits others"))
        if not faults and replica >= replicas:
            faults.append(Fault(path=INDEX_VARIABLE, got=str(replica), want=f"below {ENV_LEARNER_REPLICAS}={replicas}"))
        if faults:
            raise SpecError(faults, source="the launcher's environment")
        return cls(replica=replica, num_replicas=replicas, processes=processes, rendezvous=rendezvous)

    def rank(self, local: int) -> int:
        """Return the number over all pods of this pod's `local`-th rank."""
        return self.replica * self.processes + local

    def variables(self, local: int) -> dict[str, str]:
        """Return what `torch.distributed` reads, for this pod's `local`-th rank."""
        host, _, port = self.rendezvous.rpartition(":")
        return {
            "RANK": str(self.rank(local)),
            "LOCAL_RANK": str(local),
            "WORLD_SIZE": str(self.world_size),
            "LOCAL_WORLD_SIZE": str(self.processes),
            "MASTER_ADDR": host.strip("[]"),
            "MASTER_PORT": port,
        }


async def supervise(topology: Topology, command: Sequence[str]) -> int:
    """Run this pod's ranks to their end.

    SIGTERM goes to rank 0 alone: it stops at its next step with a checkpoint, for which the other ranks must live,
    and lets them go afterwards. Where rank 0 runs in another pod, that pod gets a SIGTERM of its own.

    Returns:
        0 if every rank ended so, else the code of the rank that failed first.
    """
    ranks: list[RankProcess] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _stop, ranks)
    # The kernel closes our end when we die, whatever way; each rank then ends itself and its helpers.
    theirs, ours = os.pipe()
    try:
        for local in range(topology.processes):
            rank = topology.rank(local)
            inherited = dict(os.environ) if rank == 0 else without_tokens(os.environ)  # only rank 0 calls and serves
            environment = {**inherited, **topology.variables(local), LIFELINE_FD_VARIABLE: str(theirs)}
            ranks.append(await RankProcess.start(rank, command, environment, [theirs]))
        os.close(theirs)
        return await _watch({asyncio.create_task(rank.run()): rank for rank in ranks})
    finally:
        os.close(ours)


async def _watch(running: dict[asyncio.Task[None], RankProcess]) -> int:
    """Wait until all have ended, or one has failed and the others were ended."""
    while running:
        done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        failed = culprit([running.pop(task) for task in done])
        if failed is not None:
            _report(failed)
            failed.kill()  # helpers that it left behind
            await _end(running)
            return failed.exit_code
    return ExitCode.OK


def culprit(ended: Sequence[RankProcess]) -> RankProcess | None:
    """Of ranks found ended at once the one whose failure explains the others; None if none failed.

    A code of our own names a cause. A rank that only lost its peers ends with code 1 or by a signal.
    """
    failed = [rank for rank in ended if rank.exit_code != ExitCode.OK]
    return min(failed, key=lambda rank: (rank.exit_code not in _CODES_THAT_TELL, rank.number), default=None)


def _stop(ranks: Sequence[RankProcess]) -> None:
    _logger.info("asked to stop; rank 0 stops with a checkpoint and lets the others go")
    for rank in ranks:
        if rank.number == 0:
            rank.terminate()


async def _end(running: Mapping[asyncio.Task[None], RankProcess]) -> None:
    for rank in running.values():
        rank.terminate()
    if running:
        await asyncio.wait(running, timeout=GRACE_SECONDS)
    for rank in running.values():
        rank.kill()
    if running:
        await asyncio.wait(running)


def _report(failed: RankProcess) -> None:
    """Log how it ended, and tell the kubelet, which shows it in the pod's status."""
    code = failed.exit_code
    name = next((f" ({item.name})" for item in ExitCode if item == code), "")
    message = f"rank {failed.number} ended with exit code {code}{name}"
    _logger.error("%s; ending the others", message)
    text = message.encode() + b"\n" + failed.tail
    path = Path(os.environ.get(ENV_TERMINATION_LOG, _TERMINATION_LOG))
    try:
        path.write_bytes(text)
    except OSError as error:
        _logger.warning("cannot write %s: %s; the log above has it all", path, error.strerror)


def main(command: Sequence[str] = RANK_PROGRAM) -> int:
    """Launch the ranks of this pod with `command`; a single rank replaces this process and is told of no others."""
    configure_logging("launch")
    try:
        topology = Topology.from_environment()
    except SpecError as error:
        _logger.error("%s", error)
        return ExitCode.BAD_SPEC
    if topology.world_size == 1:
        os.execvp(command[0], list(command))  # noqa: S606  (no shell on purpose)
    return asyncio.run(supervise(topology, command))
