"""Find the strongest level that withstands attacks, at the service's start, and use it.

From the strongest level down: start it, let the attacks run under it, and take it if each attack that the level claims
to stop has failed. What is open all the same, and why stronger levels were not had, is kept for people and probes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from prorl_api.errors import RewardError
from prorl_reward_sandbox.execution.isolation import Isolation, RawOutcome, RunSpec, Runtime
from prorl_reward_sandbox.execution.levels.attacks import ATTACKS, LIMITS, Attack, Bait, Threat, laid_bait, took_place
from prorl_reward_sandbox.execution.levels.process_isolation import ProcessIsolation
from prorl_reward_sandbox.execution.levels.runner_isolation import RunnerIsolation

_EVERYTHING = frozenset(Threat)
CLAIMS: Mapping[str, frozenset[Threat]] = {
    # Memory is claimed where a control group can be had; where not, programs run one at a time.
    "namespaces": _EVERYTHING - {Threat.MEMORY},
    "landlock": _EVERYTHING - {Threat.MEMORY},
    "process": frozenset(
        {
            Threat.SERVICE_MEMORY,
            Threat.TRACE,
            Threat.LEFTOVER_PROCESS,
            Threat.PROCESSES,
            Threat.DESCRIPTORS,
            Threat.PRIVILEGES,
        }
    ),
}
"""What each level promises to stop, the strongest first."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What the attacks on one level showed.

    Attributes:
        fault: Why the level does not count; empty if it does.
        open_threats: What got through, and how; those that the level does not claim are no fault.
        slots: Runs at once.
    """

    level: str
    fault: str = ""
    open_threats: Mapping[Threat, str]
    slots: int = 0

    def __str__(self) -> str:
        """For a log or a probe."""
        if self.fault:
            return f"{self.level}: {self.fault}"
        gaps = "; ".join(f"{threat} ({how})" for threat, how in self.open_threats.items())
        return f"{self.level}: programs can {gaps}" if gaps else f"{self.level}: no attack got through"


class StrongestIsolation:
    """The strongest level that can be had here.

    Args:
        slots: Runs at once.
        slots_alone: The same where the memory of a program's processes together cannot be bounded, since one program
            would then cost another its memory: as many as one program and its tests need.
        minimum: The weakest level that is acceptable.
        make: Makes a level, not started, from its name and the number of slots.
    """

    def __init__(
        self,
        slots: int,
        *,
        slots_alone: int = 1,
        minimum: str = "process",
        make: Callable[[str, int], RunnerIsolation] | None = None,
    ) -> None:
        self._make = make or make_isolation
        self._wanted_slots = slots
        self._slots_alone = min(slots, slots_alone)
        self._minimum = minimum
        self._isolation: Isolation | None = None
        self._findings: list[Finding] = []
        self.fault = ""
        """Why nothing acceptable could be had."""

    @property
    def name(self) -> str:
        """The level; empty before the start."""
        return self._isolation.name if self._isolation else ""

    @property
    def findings(self) -> Sequence[Finding]:
        """Of every level that was tried, the one in use last."""
        return tuple(self._findings)

    @property
    def max_runs(self) -> int:
        """Runs at once."""
        return self._findings[-1].slots if self._isolation else 0

    async def start(self) -> None:
        """Find it.

        Raises:
            RewardError: Only less than the minimum can be had.
        """
        levels = list(CLAIMS)
        for level in levels[: levels.index(self._minimum) + 1]:
            finding = await self._try(level)
            self._findings.append(finding)
            if not finding.fault:
                _log(self._findings)
                return
        tried = "; ".join(map(str, self._findings))
        self.fault = (
            f"programs must be isolated at level {self._minimum} at least, and it cannot be had here: {tried}. "
            "Give the sandbox a profile that allows it (docs/sandbox.md), or lower `spec.sandbox.isolation.minimum`"
        )
        raise RewardError(self.fault)

    async def run(self, spec: RunSpec) -> RawOutcome:
        """Run a program once."""
        if self._isolation is None:
            raise RewardError("the isolation of programs has not started")
        return await self._isolation.run(spec)

    async def close(self) -> None:
        """End everything that was started."""
        if self._isolation is not None:
            await self._isolation.close()

    async def _try(self, level: str) -> Finding:
        """Start a level and attack it; it is kept if it counts."""
        isolation = self._make(level, self._wanted_slots)
        kept = False
        try:
            await isolation.start()
            open_threats = await attack(isolation)
            broken = [
                f"a program could {each} ({open_threats[each]})" for each in CLAIMS[level] if each in open_threats
            ]
            if broken:
                return Finding(level=level, fault="; ".join(sorted(broken)), open_threats=open_threats)
            slots = min(isolation.max_runs, self._slots_for(level, open_threats))
            if slots != isolation.max_runs:
                isolation.restrict(slots)
            self._isolation, kept = isolation, True
            return Finding(level=level, open_threats=open_threats, slots=slots)
        except RewardError as error:
            return Finding(level=level, fault=str(error), open_threats={})
        finally:
            if not kept:
                await isolation.close()

    def _slots_for(self, level: str, open_threats: Mapping[Threat, str]) -> int:
        if Threat.NEIGHBOUR in open_threats:  # not even a test program may run beside another program
            return 1
        return self._slots_alone if Threat.MEMORY in open_threats and level != "process" else self._wanted_slots


def make_isolation(level: str, slots: int) -> RunnerIsolation:
    """Return the implementation of a level, not started."""
    return ProcessIsolation(slots) if level == "process" else RunnerIsolation(level, slots)


async def attack(isolation: Isolation, attacks: Sequence[Attack] = ATTACKS) -> dict[Threat, str]:
    """Return what got through, and how.

    Raises:
        RewardError: An attack could not be run: then nothing is known.
    """
    open_threats = {}
    for each in attacks:
        with laid_bait() as bait:
            how = await _carry_out(isolation, each, bait)
        if how:
            open_threats[each.threat] = how
    return open_threats


async def _carry_out(isolation: Isolation, attack: Attack, bait: Bait) -> str:
    stdout = b""
    for source in attack.sources(bait):
        spec = RunSpec(argv=("main.py",), runtime=Runtime.PYTHON, files={"main.py": source.encode()}, limits=LIMITS)
        outcome = await isolation.run(spec)
        if not took_place(outcome):
            last_words = outcome.stderr.decode(errors="replace")[-300:]
            raise RewardError(f"the attack to {attack.threat} could not be carried out: {last_words}")
        stdout = outcome.stdout
    return await asyncio.to_thread(attack.sight, bait, stdout)


def _log(findings: Sequence[Finding]) -> None:
    *stronger, used = findings
    for finding in stronger:
        _logger.warning("a stronger isolation of programs cannot be had: %s", finding)
    _logger.log(
        logging.WARNING if used.open_threats else logging.INFO,
        "isolation of programs: %s",
        used,
        extra={"isolation_level": used.level, "slots": used.slots},
    )
