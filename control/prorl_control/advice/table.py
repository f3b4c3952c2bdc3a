"""The table: each row is a condition of a run, as advice and as an alert.

To add one: a vital if none says it (`prorl_api.vitals`), a bound, a finder, its PromQL, and a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from prorl_api.limits import Limits
from prorl_api.spec.job import ProRLJobSpec
from prorl_api.vitals import vitals as vitals_of
from prorl_api.wire.learner import LearnerStatus
from prorl_control.advice import promql, sight
from prorl_control.advice.sight import Finder, Sight

_LOG = "`logs/learner-0.log` of the run folder, or `kubectl logs job/NAME-learner-K`"
_VALUE_SHARE = "[[ $value | humanizePercentage ]]"


class Severity(StrEnum):
    """How soon somebody should look."""

    CRITICAL = "critical"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One row."""

    name: str
    """Reason of the condition; `ProRL` before it makes the alert's name."""
    severity: Severity
    title: str
    """The condition in a few words."""
    remedy: str
    """What to do, in a sentence."""
    expr: str
    """PromQL; a result is a finding."""
    hold: str
    """How long the alert waits before it fires."""
    shown: str
    """What the alert says it saw; [[ ]] stands for the braces of Prometheus' templates."""
    find: Finder | None = None
    """What advice sees; None: a job's other conditions say it already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One finding about a run, for people."""

    name: str
    """Of the rule."""
    severity: Severity
    seen: str
    """What is the case, with its numbers."""
    remedy: str

    @property
    def text(self) -> str:
        """Both, in one line."""
        return f"{self.seen}. {self.remedy}"


def advise(
    limits: Limits, vitals: Mapping[str, float], learner: LearnerStatus | None = None, now: float | None = None
) -> tuple[Advice, ...]:
    """Return what is wrong with a run and what to do, the most urgent first; nothing where all is well.

    Args:
        limits: `Limits.of` the spec as it runs.
        vitals: `prorl_api.vitals.vitals` of its lines, or what the learner tells in its status.
        learner: Its newest status; None: nothing runs.
        now: Unix time; None as well, where nothing runs.
    """
    look = Sight(vitals=vitals, limits=limits, learner=learner, now=now)
    found = [
        Advice(name=rule.name, severity=rule.severity, seen=seen, remedy=rule.remedy)
        for rule in TABLE
        if rule.find is not None
        for seen in rule.find(look)
    ]
    return tuple(sorted(found, key=lambda advice: advice.severity is not Severity.CRITICAL))


def advise_on(spec: ProRLJobSpec, lines: Sequence[Mapping[str, Any]]) -> tuple[Advice, ...]:
    """Return the advice on a run of which only the lines are there, running or not.

    Args:
        spec: Of the job.
        lines: Of the metrics table, surviving, ascending.
    """
    return advise(Limits.of(spec), vitals_of(lines))


TRUNCATION = Rule(
    name="Truncation",
    severity=Severity.WARNING,
    title="Many completions are cut at the length limit",
    remedy="A cut answer earns nothing, so what is learnt is to stop in time: raise "
    "`rollout.maxCompletionTokens`, or see `algorithm.length`.",
    expr=promql.TRUNCATION,
    hold="10m",
    shown=f"{_VALUE_SHARE} of the completions of [[ $labels.prorl_job ]] are cut.",
    find=sight.truncation,
)
"""The console judges each step by it, too."""

TABLE: tuple[Rule, ...] = (
    Rule(
        name="StepOverdue",
        severity=Severity.CRITICAL,
        title="No step for several times its usual time",
        remedy=f"See what the learner is at, and whether rollout servers and sandboxes answer: {_LOG}.",
        expr=promql.STEP_OVERDUE,
        hold="1m",
        shown="The learner of [[ $labels.prorl_job ]] has completed no step for much longer than one takes.",
        find=sight.step_overdue,
    ),
    Rule(
        name="LearnerHeartbeatStale",
        severity=Severity.CRITICAL,
        title="The learner makes no progress",
        remedy=f"It should have ended itself long ago; look at the state of its volume and at {_LOG}.",
        expr=promql.HEARTBEAT_STALE,
        hold="1m",
        shown="No sign of progress in [[ $labels.prorl_job ]] for longer than the longest validation.",
        find=sight.heartbeat_stale,
    ),
    Rule(
        name="LearnerSamplesAbsent",
        severity=Severity.WARNING,
        title="No samples of the learner",
        remedy="It is not started yet, not scraped, or not reached. This is not KL 0; metric-driven resets wait.",
        expr=promql.SAMPLES_ABSENT,
        hold="30m",
        shown="[[ $labels.prorl_job ]] runs, but Prometheus has nothing of its learner.",
    ),
    Rule(
        name="LearnerNoStep",
        severity=Severity.WARNING,
        title="The learner has completed no step",
        remedy="It answers, but has no step to report: it may wait for a rollout server or a sandbox. See the job's "
        "conditions.",
        expr=promql.NO_FIRST_STEP,
        hold="1m",
        shown="[[ $labels.prorl_job ]] was started long ago.",
        find=sight.no_first_step,
    ),
    Rule(
        name="JobFailed",
        severity=Severity.WARNING,
        title="A job has failed",
        remedy="Its restarts are used up. `kubectl -n [[ $labels.prorl_namespace ]] describe prj [[ "
        "$labels.prorl_job ]]` says why.",
        expr=promql.JOB_FAILED,
        hold="1m",
        shown="[[ $labels.prorl_job ]] goes on only after an edit of its spec.",
    ),
    Rule(
        name="CheckpointOverdue",
        severity=Severity.WARNING,
        title="No checkpoint for twice as long as asked for",
        remedy="A crash now loses all of that; see whether the run folder's volume is full or slow, and "
        "`spec.checkpoint`.",
        expr=promql.CHECKPOINT_OVERDUE,
        hold="5m",
        shown="[[ $labels.prorl_job ]] has written none for twice the interval of its spec.",
        find=sight.checkpoint_overdue,
    ),
    Rule(
        name="RolloutServersMissing",
        severity=Severity.WARNING,
        title="Fewer rollout servers work than wanted",
        remedy="Steps take longer; the condition RolloutReady, or `logs/rollout-N.log`, says what keeps them. Fewer "
        "are wanted? Lower `spec.rollout.replicas`.",
        expr=promql.ROLLOUT_SERVERS_MISSING,
        hold="10m",
        shown="[[ $value ]] rollout servers of [[ $labels.prorl_job ]] are missing.",
        find=sight.rollout_servers_missing,
    ),
    Rule(
        name="GpuUnused",
        severity=Severity.WARNING,
        title="A job trains on the CPU of a node with GPUs",
        remedy="If it is meant to use them, stop it and ask for them in `spec.learner.resources.limits`, with the "
        "learner's CUDA image; if the CPU is meant, set CUDA_VISIBLE_DEVICES to nothing in its `podTemplate`.",
        expr=promql.GPU_UNUSED,
        hold="2m",
        shown="[[ $labels.prorl_job ]] asked for no GPU on a node that has some.",
        find=sight.gpu_unused,
    ),
    Rule(
        name="RewardGamed",
        severity=Severity.WARNING,
        title="Reward rises while validation falls",
        remedy="The policy may have found what the verifier pays for wrongly, or learns its prompts by heart: read "
        "the newest `samples/train-N.jsonl` with the highest rewards, and go on from the best checkpoint "
        "(`initFrom`).",
        expr=promql.REWARD_GAMED,
        hold="5m",
        shown="Held-out accuracy of [[ $labels.prorl_job ]] is [[ $value | printf `%.3f` ]] below its best, and the "
        "sampled reward is higher than it was then.",
        find=sight.reward_gamed,
    ),
    Rule(
        name="EngineMismatch",
        severity=Severity.WARNING,
        title="Rollout engine and learner grow apart",
        remedy="Steps are off-policy by that much; see `algorithm.engineMismatch`, `dtype` and `precision`, and "
        "docs/precision.md.",
        expr=promql.MISMATCH,
        hold="10m",
        shown=f"They differ by {_VALUE_SHARE} of what ends [[ $labels.prorl_job ]].",
        find=sight.mismatch,
    ),
    Rule(
        name="RolloutsMasked",
        severity=Severity.WARNING,
        title="Rollouts get no verdict",
        remedy="See the sandboxes' logs. If this rises while the sandboxes are well, the policy has learnt to write "
        "what cannot be judged: prorl_learner_rollouts_masked_unsupported and _sandbox_error tell the cause, "
        "the run's samples what was written.",
        expr=promql.ROLLOUTS_MASKED,
        hold="10m",
        shown=f"{_VALUE_SHARE} of source [[ $labels.source ]] in [[ $labels.prorl_job ]] are masked.",
        find=sight.rollouts_masked,
    ),
    Rule(
        name="EntropyCollapsed",
        severity=Severity.WARNING,
        title="Entropy has collapsed",
        remedy="Sampling explores no more, and soon no group has a signal: raise `rollout.temperature` or "
        "`algorithm.clip.high`, lower the learning rate, or go on from an earlier checkpoint (`initFrom`).",
        expr=promql.ENTROPY_COLLAPSED,
        hold="10m",
        shown=f"Source [[ $labels.source ]] of [[ $labels.prorl_job ]] has {_VALUE_SHARE} of its entropy left.",
        find=sight.entropy_collapsed,
    ),
    Rule(
        name="KLBeyondBound",
        severity=Severity.WARNING,
        title="KL beyond its trigger for long, and no reset is applied",
        remedy="The reference holds the policy back: ask for a reset (`prorl resets request`, or a ProRLReset "
        "object), or set `referenceReset.mode: automatic`.",
        expr=promql.KL_BEYOND_BOUND,
        hold="5m",
        shown="It is [[ $value | printf `%.1f` ]] times the bound of trigger [[ $labels.trigger ]] of [[ "
        "$labels.prorl_job ]].",
        find=sight.kl_beyond_bound,
    ),
    Rule(
        name="LittleSignal",
        severity=Severity.WARNING,
        title="Most groups carry no signal",
        remedy="They are all right or all wrong, and sampling them is wasted: take harder or easier tasks, larger "
        "groups, or see by source which data is mastered (accuracy_sampled near 1 or 0).",
        expr=promql.LITTLE_SIGNAL,
        hold="10m",
        shown=f"Only {_VALUE_SHARE} of the sampled groups of [[ $labels.prorl_job ]] are trained on.",
        find=sight.little_signal,
    ),
    TRUNCATION,
)
