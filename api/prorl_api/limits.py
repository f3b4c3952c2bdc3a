"""What of a job's spec its vitals are compared with: bounds that differ from job to job. Pure.

The learner exports them beside the vitals, so that alerts need no numbers of their own; advice reads them off a spec.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from prorl_api.spec.job import ProRLJobSpec
from prorl_api.spec.resets import ReferenceResetSpec
from prorl_api.spec.values import ResetMode


@dataclass(frozen=True, slots=True, kw_only=True)
class KLBound:
    """The fixed bound of one trigger that watches the KL."""

    trigger: str
    metric: str
    """In the metrics table: `kl` or `kl_loss_share`."""
    above: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one job."""

    kl_bounds: tuple[KLBound, ...] = ()
    are_resets_applied: bool = True
    """Whether a reset that a trigger asks for may be applied; else it is only recorded, or nobody looks."""
    max_mismatch: float = math.inf
    """Nats at which the run ends."""
    rollout_servers: int = 1
    checkpoint_every_steps: int = 1_000_000
    checkpoint_every_minutes: float = math.inf

    @classmethod
    def of(cls, spec: ProRLJobSpec) -> Limits:
        """Return those of a spec as it runs: after `spec.local` on one machine."""
        return cls(
            kl_bounds=kl_bounds(spec.reference_reset),
            are_resets_applied=spec.reference_reset.mode in (ResetMode.AUTOMATIC, ResetMode.APPROVE),
            max_mismatch=spec.algorithm.engine_mismatch.max_logprob_distance,
            rollout_servers=spec.rollout.replicas,
            checkpoint_every_steps=spec.checkpoint.every_steps,
            checkpoint_every_minutes=spec.checkpoint.every_minutes,
        )

    def checkpoint_due_seconds(self, values: Mapping[str, float]) -> float:
        """Return the seconds between two checkpoints, by steps or by minutes, whichever is sooner.

        One is written at a step's end, so a step comes on top.

        Args:
            values: Of `prorl_api.vitals`.
        """
        usual = values.get("step_usual", 0.0)
        by_steps = self.checkpoint_every_steps * usual if usual else math.inf
        return min(60 * self.checkpoint_every_minutes, by_steps) + usual + values.get("step_pause_longest", 0.0)


def kl_bounds(policy: ReferenceResetSpec) -> tuple[KLBound, ...]:
    """Return the fixed bounds that triggers set on the KL or its share of the loss."""
    names = {"kl": "kl", "klLossShare": "kl_loss_share"}
    return tuple(
        KLBound(trigger=trigger.name, metric=names[trigger.kl_spike.metric], above=trigger.kl_spike.above)
        for trigger in policy.triggers
        if trigger.kl_spike is not None and trigger.kl_spike.above is not None
    )
