"""Cases for every alert, for `promtool test rules`: one at least that fires, one at least that does not.

Times and values are worked by hand: a series has a sample a minute, and time begins at 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SERVICE, NAMESPACE = "prorl-prorl-operator-metrics", "prorl-system"
RUN = {"namespace": "team-a", "prorl_job": "demo", "prorl_run": "u1"}
_LEARNER = 'namespace="team-a", prorl_job="demo", prorl_run="u1", prorl_role="learner", pod="demo-learner-1-0-x"'
_OPERATOR = f'job="{SERVICE}", namespace="{NAMESPACE}"'
_JOB = f'{_OPERATOR}, prorl_namespace="team-a", prorl_job="demo"'


def up(values: str) -> dict[str, str]:
    """Whether the learner answers scrapes."""
    return {f"up{{{_LEARNER}}}": values}


def learner(labels: str = "", **metrics: str) -> dict[str, str]:
    """Series of the learner."""
    more = f", {labels}" if labels else ""
    return {f"prorl_learner_{name}{{{_LEARNER}{more}}}": values for name, values in metrics.items()}


def job_state(state: str) -> dict[str, str]:
    """The operator's word on the job."""
    return {f'prorl_operator_job_state{{{_JOB}, state="{state}"}}': "1x200"}


def operator(metric: str, values: str, labels: str = "") -> dict[str, str]:
    """A series of the operator."""
    return {f"{metric}{{{_OPERATOR}{labels}}}": values}


@dataclass(frozen=True, kw_only=True)
class AlertCase:
    """Series, a moment, and what fires then."""

    series: Mapping[str, str]
    at: str
    fires: Mapping[str, str] | None = None
    """Labels of the alert; None: it does not fire."""
    shows: str = ""
    """What stands for the value in its description."""
    why: str = field(default="")


STEPS = learner(step_usual_seconds="60x200", step_pause_longest_seconds="30x200")
TICKS = "0+60x200"
"""A moment that is always now."""

CASES: dict[str, list[AlertCase]] = {
    "StepOverdue": [
        # 5 x 60 + 30 is less than ten minutes, so those count: due at 10 min, and it waits for one more.
        AlertCase(series=STEPS | up("1x200") | learner(step_timestamp_seconds="0x200"), at="12m", fires=RUN),
        AlertCase(series=STEPS | up("1x200") | learner(step_timestamp_seconds="0x200"), at="10m"),
        AlertCase(series=STEPS | up("1x200") | learner(step_timestamp_seconds=TICKS), at="100m"),
        AlertCase(
            series=learner(
                step_usual_seconds="60x3 stale",
                step_pause_longest_seconds="30x3 stale",
                step_timestamp_seconds="0x3 stale",
            )
            | up("1x3 0x200"),
            at="12m",
            fires=RUN,
            why="a learner that is stopped answers no scrape",
        ),
        AlertCase(
            series=learner(
                step_usual_seconds="60x3 stale",
                step_pause_longest_seconds="30x3 stale",
                step_timestamp_seconds="0x3 stale",
            )
            | up("1x3 stale"),
            at="12m",
            why="the run is over",
        ),
        AlertCase(
            series=learner(
                step_usual_seconds="600x200", step_pause_longest_seconds="900x200", step_timestamp_seconds="0x200"
            )
            | up("1x200"),
            at="60m",
            why="its steps take ten minutes and a validation fifteen: 65 min",
        ),
    ],
    "LearnerHeartbeatStale": [
        AlertCase(series=up("1x200") | learner(heartbeat_timestamp_seconds="0x200"), at="32m", fires=RUN),
        AlertCase(series=up("1x2 0x200") | learner(heartbeat_timestamp_seconds="0x2 stale"), at="32m", fires=RUN),
        AlertCase(series=up("1x200") | learner(heartbeat_timestamp_seconds=TICKS), at="100m"),
    ],
    "LearnerSamplesAbsent": [
        AlertCase(
            series=job_state("Running"),
            at="31m",
            fires={"namespace": "team-a", "prorl_namespace": "team-a", "prorl_job": "demo"},
        ),
        AlertCase(series=job_state("Running"), at="29m"),
        AlertCase(series=job_state("Running") | learner(heartbeat_timestamp_seconds=TICKS), at="60m"),
        AlertCase(series=job_state("Suspended"), at="60m"),
    ],
    "LearnerNoStep": [
        AlertCase(series=up("1x200") | learner(step_timestamp_seconds="0x200"), at="122m", fires=RUN),
        AlertCase(series=up("1x200") | learner(step_timestamp_seconds="0x200"), at="119m"),
        AlertCase(series=STEPS | up("1x200") | learner(step_timestamp_seconds="0x200"), at="150m"),
    ],
    "JobFailed": [
        AlertCase(series=job_state("Failed"), at="2m", fires={"prorl_namespace": "team-a", "prorl_job": "demo"}),
        AlertCase(series=job_state("Running"), at="2m"),
    ],
    "CheckpointOverdue": [
        # Due every 15 min: overdue after 30, and it waits for five more.
        AlertCase(
            series=STEPS
            | up("1x200")
            | learner(checkpoint_timestamp_seconds="0x200", checkpoint_due_seconds="900x200"),
            at="36m",
            fires=RUN,
        ),
        AlertCase(
            series=STEPS
            | up("1x200")
            | learner(checkpoint_timestamp_seconds="0x200", checkpoint_due_seconds="1800x200"),
            at="60m",
        ),
        AlertCase(
            series=up("1x200") | learner(checkpoint_timestamp_seconds="0x200", checkpoint_due_seconds="900x200"),
            at="60m",
            why="before the first step there is nothing to save",
        ),
    ],
    "RolloutServersMissing": [
        AlertCase(
            series=STEPS | learner(rollout_servers_wanted="4x200", rollout_servers_live="3x200"),
            at="11m",
            fires=RUN,
            shows="1",
        ),
        AlertCase(series=STEPS | learner(rollout_servers_wanted="4x200", rollout_servers_live="4x200"), at="60m"),
        AlertCase(series=STEPS | learner(rollout_servers_wanted="4x200", rollout_servers_live="3x5 4x200"), at="11m"),
        AlertCase(series=learner(rollout_servers_wanted="4x200", rollout_servers_live="0x200"), at="60m"),
    ],
    "GpuUnused": [
        AlertCase(series=learner(gpu_unused="1x200"), at="3m", fires=RUN),
        AlertCase(series=learner(gpu_unused="0x200"), at="3m"),
    ],
    "RewardGamed": [
        AlertCase(
            series=learner(validation_best="0.7x200", validation_recent="0.6x200", reward_recent="0.6x200")
            | learner(reward_at_best="0.5x200"),
            at="6m",
            fires=RUN,
            shows="0.100",
        ),
        AlertCase(
            series=learner(validation_best="0.7x200", validation_recent="0.6x200", reward_recent="0.5x200")
            | learner(reward_at_best="0.5x200"),
            at="6m",
            why="both fall",
        ),
        AlertCase(
            series=learner(validation_best="0.7x200", reward_recent="0.9x200", reward_at_best="0.5x200"),
            at="6m",
            why="the newest validation is the best",
        ),
    ],
    "EngineMismatch": [
        AlertCase(
            series=learner(mismatch_logprob_recent_nats="0.18x200", mismatch_bound_nats="0.3x200"),
            at="11m",
            fires=RUN,
            shows="60%",
        ),
        AlertCase(series=learner(mismatch_logprob_recent_nats="0.14x200", mismatch_bound_nats="0.3x200"), at="11m"),
    ],
    "RolloutsMasked": [
        AlertCase(
            series=learner('source="code"', rollouts_masked_recent_ratio="0.25x200"),
            at="11m",
            fires=RUN | {"source": "code"},
            shows="25%",
        ),
        AlertCase(series=learner('source="code"', rollouts_masked_recent_ratio="0.1x200"), at="11m"),
    ],
    "EntropyCollapsed": [
        AlertCase(
            series=learner('source="a"', entropy_sampled_recent_nats="0.25x200", entropy_sampled_start_nats="1x200"),
            at="11m",
            fires=RUN | {"source": "a"},
            shows="25%",
        ),
        AlertCase(
            series=learner('source="a"', entropy_sampled_recent_nats="0.5x200")
            | learner('source="a"', entropy_sampled_start_nats="1x200")
            | learner('source="b"', entropy_sampled_start_nats="9x200"),
            at="11m",
            why="each source is compared with its own start",
        ),
    ],
    "KLBeyondBound": [
        AlertCase(
            series=learner(kl_long_nats="0.5x200", resets_applied="0x200")
            | learner('trigger="spike", metric="kl"', kl_bound="0.2x200")
            | learner('trigger="share", metric="kl_loss_share"', kl_bound="0.4x200"),
            at="6m",
            fires=RUN | {"trigger": "spike"},
            shows="2.5",
        ),
        AlertCase(
            series=learner(kl_loss_share_long_ratio="0.6x200", resets_applied="0x200")
            | learner('trigger="share", metric="kl_loss_share"', kl_bound="0.4x200"),
            at="6m",
            fires=RUN | {"trigger": "share"},
            shows="1.5",
        ),
        AlertCase(
            series=learner(kl_long_nats="0.5x200", resets_applied="1x200")
            | learner('trigger="spike", metric="kl"', kl_bound="0.2x200"),
            at="6m",
            why="the trigger acts by itself",
        ),
        AlertCase(
            series=learner(kl_long_nats="0.1x200", resets_applied="0x200")
            | learner('trigger="spike", metric="kl"', kl_bound="0.2x200"),
            at="6m",
        ),
    ],
    "LittleSignal": [
        AlertCase(series=learner(groups_kept_recent_ratio="0.25x200"), at="11m", fires=RUN, shows="25%"),
        AlertCase(series=learner(groups_kept_recent_ratio="0.5x200"), at="11m"),
    ],
    "Truncation": [
        AlertCase(series=learner(truncated_recent_ratio="0.5x200"), at="11m", fires=RUN, shows="50%"),
        AlertCase(series=learner(truncated_recent_ratio="0.25x200"), at="11m"),
        AlertCase(
            series=learner(truncated_recent_ratio="0.75x200", reward_recent="0.25x200"),
            at="11m",
            fires=RUN,
            shows="75%",
        ),
        AlertCase(series=learner(truncated_recent_ratio="0.75x200", reward_recent="0.3x200"), at="11m"),
    ],
    "OperatorDown": [
        AlertCase(series={}, at="6m", fires={}),
        AlertCase(series=operator("up", "0x200"), at="6m", fires={}),
        AlertCase(series=operator("up", "1x200"), at="6m"),
    ],
    "OperatorNoLeader": [
        AlertCase(series=operator("prorl_operator_leader", "0x200"), at="3m", fires={}),
        AlertCase(series=operator("prorl_operator_leader", "1x200"), at="3m"),
    ],
    "OperatorReconcileErrors": [
        AlertCase(
            series=operator("prorl_operator_reconcile_total", "0+1x200", ', result="error"'),
            at="40m",
            fires={},
            shows="15",
        ),
        AlertCase(series=operator("prorl_operator_reconcile_total", "0+1x200", ', result="ok"'), at="40m"),
    ],
    "OperatorWatchesSilent": [
        AlertCase(series=operator("prorl_operator_children_age_seconds", "300x200"), at="2m", fires={}, shows="5m 0s"),
        AlertCase(series=operator("prorl_operator_children_age_seconds", "60x200"), at="2m"),
    ],
}
"""By the rule's name."""
