"""The time of a step for given throughputs.

A trained position costs a forward pass (a third of the work; a quarter where layers are computed again whole) and a
backward pass (Kaplan et al., arXiv 2001.08361, section 2.1: 2 and 4 operations a parameter). The reference's pass is a
forward pass over all of them, and so is that of the old log-probabilities, but for the first optimizer step's.
"""

from __future__ import annotations

from dataclasses import dataclass

from prorl_api.spec.job import ProRLJobSpec
from prorl_api.spec.values import RecomputeGranularity
from prorl_control.forecast.batches import StageBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Of one member each; None: not given."""

    server_tokens: float | None = None
    """Completion tokens a second of a rollout server, many sequences at once."""
    rank_positions: float | None = None
    """Positions a second that a rank passes forward and backward."""
    link_bytes: float | None = None
    """Bytes a second at which a server gets weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """Seconds of one step; None: its throughput is not given."""

    sampling: float | None
    scoring: float | None
    """Reference and old log-probabilities."""
    updating: float | None
    publishing: float | None

    @property
    def known(self) -> float:
        """Those that are known together: they come one after another."""
        return sum(part for part in (self.sampling, self.scoring, self.updating, self.publishing) if part is not None)


def step_time(spec: ProRLJobSpec, stage: StageBatch, throughput: Throughput, published: int | None) -> StepTime:
    """Return the time of a step of a stage, without the prompts that dynamic sampling drops and without validation."""
    sampling = scoring = updating = publishing = None
    if throughput.server_tokens:
        sampling = stage.sampled_tokens / (throughput.server_tokens * spec.rollout.replicas)
    if throughput.rank_positions:
        updating = stage.rank_positions / throughput.rank_positions
        recomputes = spec.learner.gradient_checkpointing
        is_whole = spec.learner.recompute_granularity is RecomputeGranularity.FULL
        forward = updating / (4 if recomputes and is_whole else 3)
        scoring = forward * ((1 if stage.measures_kl else 0) + (stage.optimizer_steps - 1) / stage.optimizer_steps)
    if throughput.link_bytes and published is not None:
        publishing = published / throughput.link_bytes
    return StepTime(sampling=sampling, scoring=scoring, updating=updating, publishing=publishing)
