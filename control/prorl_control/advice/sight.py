"""What advice is given on, and the findings: pure functions, each of which says what it sees, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prorl_api.limits import Limits
from prorl_api.vitals import by_source
from prorl_api.vitals_fold import LONG_WINDOW_STEPS, WINDOW_STEPS
from prorl_api.wire.learner import EARLY_PHASES, LearnerStatus
from prorl_control.advice import bounds

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One look at a run."""

    vitals: Mapping[str, float]
    """Of `prorl_api.vitals`."""
    limits: Limits
    learner: LearnerStatus | None = None
    """None: nothing runs, or it does not answer; what only holds of a running learner is not judged then."""
    now: float | None = None
    """Unix time; None as well, where nothing runs."""


Finder = Callable[[Sight], Iterator[str]]


def step_overdue(sight: Sight) -> Iterator[str]:
    """No step for several times the usual time."""
    usual = sight.vitals.get("step_usual")
    if sight.learner is None or sight.now is None or usual is None:
        return
    age = sight.now - max(sight.vitals.get("step_timestamp", 0.0), sight.learner.started)
    pause = sight.vitals.get("step_pause_longest", 0.0)
    if age > max(bounds.STEP_OVERDUE_SECONDS, bounds.STEP_OVERDUE_TIMES * usual + pause):
        yield f"no step for {_duration(age)}, a step takes {_duration(usual)} as a rule"


def heartbeat_stale(sight: Sight) -> Iterator[str]:
    """No progress at all."""
    if sight.learner is None or sight.now is None:
        return
    age = sight.now - sight.learner.heartbeat
    if age > bounds.HEARTBEAT_SECONDS:
        yield f"no progress for {_duration(age)} while {sight.learner.phase.value}"


def no_first_step(sight: Sight) -> Iterator[str]:
    """Nothing completed since the attempt began, and nothing before."""
    learner = sight.learner
    if learner is None or sight.now is None or not learner.started or "step_timestamp" in sight.vitals:
        return
    if learner.step == 0 and sight.now - learner.started > bounds.FIRST_STEP_SECONDS:
        yield f"no step completed in {_duration(sight.now - learner.started)}"


def kl_beyond_bound(sight: Sight) -> Iterator[str]:
    """KL above a trigger's bound for long, and nothing resets the reference."""
    if sight.limits.are_resets_applied:
        return
    for bound in sight.limits.kl_bounds:
        value = sight.vitals.get(f"{bound.metric}_long")
        if value is not None and value > bound.above:
            what = "KL" if bound.metric == "kl" else "KL's share of the loss"
            yield (
                f"{what} averaged {value:.3g} over {LONG_WINDOW_STEPS} steps, above {bound.above:g} of trigger "
                f"{bound.trigger}"
            )


def entropy_collapsed(sight: Sight) -> Iterator[str]:
    """Hardly any variety left, by source."""
    start = by_source(sight.vitals, "entropy_sampled_start")
    for source, value in by_source(sight.vitals, "entropy_sampled_recent").items():
        if source in start and value < bounds.ENTROPY_LEFT * start[source]:
            yield f"the entropy of {source} fell from {start[source]:.3g} to {value:.3g} nats a token"


def little_signal(sight: Sight) -> Iterator[str]:
    """Most groups are all right or all wrong."""
    value = sight.vitals.get("groups_kept_recent")
    if value is not None and value < bounds.LEAST_SIGNAL:
        yield f"{1 - value:.0%} of the groups of the last {WINDOW_STEPS} steps had no signal"


def cuts_answers(share: float, reward: float) -> bool:
    """Tell whether too many completions are cut, and not behind their answer.

    More reward than complete ones can have earned shows the latter.

    Args:
        share: Of completions that are cut at the limit, 0 to 1.
        reward: Mean of all, 0 to 1; 0 where it is not known.
    """
    return share > bounds.MOST_TRUNCATED and share + reward <= 1 + _ROUNDING


def truncation(sight: Sight) -> Iterator[str]:
    """Completions are cut before their answer."""
    value, reward = sight.vitals.get("truncated_recent"), sight.vitals.get("reward_recent", 0.0)
    if value is not None and cuts_answers(value, reward):
        yield f"{value:.0%} of the completions of the last {WINDOW_STEPS} steps were cut at the limit"


def reward_gamed(sight: Sight) -> Iterator[str]:
    """Reward up while validation falls."""
    names = ("validation_best", "validation_recent", "reward_recent", "reward_at_best")
    best, recent, reward, before = (sight.vitals.get(name) for name in names)
    if best is None or recent is None or reward is None or before is None:
        return
    if best - recent > bounds.VALIDATION_FALL and reward - before > bounds.REWARD_RISE:
        yield (
            f"held-out accuracy fell from {best:.3f} to {recent:.3f} while the sampled reward rose from {before:.3f} "
            f"to {reward:.3f}"
        )


def mismatch(sight: Sight) -> Iterator[str]:
    """Engine and learner grow apart."""
    value, most = sight.vitals.get("mismatch_logprob_recent"), sight.limits.max_mismatch
    if value is not None and value > bounds.MISMATCH_SHARE * most:
        yield f"engine and learner differ by {value:.3g} nats a token; at {most:g} the run ends"


def rollouts_masked(sight: Sight) -> Iterator[str]:
    """No verdicts, by source."""
    for source, value in by_source(sight.vitals, "rollouts_masked_recent").items():
        if value > bounds.MOST_MASKED:
            yield f"{value:.0%} of the rollouts of {source} got no verdict in the last {WINDOW_STEPS} steps"


def checkpoint_overdue(sight: Sight) -> Iterator[str]:
    """Find a last checkpoint that is older than the spec wants."""
    learner = sight.learner
    if learner is None or sight.now is None or "step_usual" not in sight.vitals:
        return
    since = max(learner.last_checkpoint_at or 0.0, learner.started)
    due = sight.limits.checkpoint_due_seconds(sight.vitals)
    if since and sight.now - since > bounds.CHECKPOINT_OVERDUE_TIMES * due:
        yield f"no checkpoint for {_duration(sight.now - since)}, one is due every {_duration(due)}"


def rollout_servers_missing(sight: Sight) -> Iterator[str]:
    """Fewer rollout servers work than the spec wants."""
    learner, wanted = sight.learner, sight.limits.rollout_servers
    if learner is None or learner.live_rollout_servers is None or learner.phase in EARLY_PHASES:
        return
    if learner.step > 0 and learner.live_rollout_servers < wanted:
        yield f"{learner.live_rollout_servers} of {wanted} rollout servers work"


def gpu_unused(sight: Sight) -> Iterator[str]:
    """Find a job on the CPU of a node with GPUs."""
    if sight.learner is not None and sight.learner.is_gpu_unused:
        yield "its node has GPUs, the spec asks for none, and the learner trains on the CPU"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
