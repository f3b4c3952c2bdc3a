"""The same findings as PromQL, over what the learner exports. Pure text; bounds come from `bounds`.

A learner that hangs answers no scrape, so its series end although its pod is there: what is asked about time looks back
a day, and counts while Prometheus still has the target.
"""

from __future__ import annotations

from prorl_control.advice import bounds

RUN = "namespace, prorl_job, prorl_run"
"""Labels that tell one run from another; `prorl_run` differs where a name is used again."""
_POD = "namespace, pod"

HEARTBEAT_SECONDS, FIRST_STEP_SECONDS = "__HEARTBEAT_SECONDS__", "__FIRST_STEP_SECONDS__"
MASKED_SHARE = "__MASKED_SHARE__"
"""Placeholders: the chart has values for these bounds; everything else fills in those of `bounds`."""
OPERATOR = "__OPERATOR__"
"""Placeholder for what selects the operator's series: `job` and `namespace` of its Service."""


def _name(vital: str) -> str:
    return f"prorl_learner_{vital}"


def _latest(metric: str) -> str:
    return f"last_over_time({_name(metric)}[1d])"


def _of_targets(condition: str, by: str = RUN) -> str:
    return f"max by ({by}) (({condition}) and on ({_POD}) up)"


def _job_state(state: str) -> str:
    return f'prorl_operator_job_state{{{OPERATOR}, state="{state}"}} == 1'


STEP_OVERDUE = _of_targets(
    f"time() - {_latest('step_timestamp_seconds')} > clamp_min({bounds.STEP_OVERDUE_TIMES:g} * "
    f"{_latest('step_usual_seconds')} + {_latest('step_pause_longest_seconds')}, {bounds.STEP_OVERDUE_SECONDS:g})"
)
HEARTBEAT_STALE = _of_targets(f"time() - {_latest('heartbeat_timestamp_seconds')} > {HEARTBEAT_SECONDS}")
NO_FIRST_STEP = _of_targets(
    f"time() - {_latest('step_timestamp_seconds')} > {FIRST_STEP_SECONDS} "
    f"unless on ({_POD}) {_latest('step_usual_seconds')}"
)
SAMPLES_ABSENT = (
    f"label_replace(max by (prorl_namespace, prorl_job) ({_job_state('Running')}), "
    '"namespace", "$1", "prorl_namespace", "(.*)") unless on (namespace, prorl_job) '
    f"{_name('heartbeat_timestamp_seconds')}"
)
JOB_FAILED = f"max by (prorl_namespace, prorl_job) ({_job_state('Failed')})"


def _kl(metric: str, vital: str) -> str:
    return f'{_name(vital)} / on ({_POD}) group_right {_name("kl_bound")}{{metric="{metric}"}} > 1'


KL_BEYOND_BOUND = (
    f"max by ({RUN}, trigger) (({_kl('kl', 'kl_long_nats')} or {_kl('kl_loss_share', 'kl_loss_share_long_ratio')}) "
    f"and on ({_POD}) {_name('resets_applied')} == 0)"
)
ENTROPY_COLLAPSED = (
    f"max by ({RUN}, source) ({_name('entropy_sampled_recent_nats')} / {_name('entropy_sampled_start_nats')}) "
    f"< {bounds.ENTROPY_LEFT:g}"
)
LITTLE_SIGNAL = f"min by ({RUN}) ({_name('groups_kept_recent_ratio')}) < {bounds.LEAST_SIGNAL:g}"
TRUNCATION = (
    f"max by ({RUN}) ({_name('truncated_recent_ratio')}) > {bounds.MOST_TRUNCATED:g} "
    f"unless on ({RUN}) max by ({RUN}) ({_name('truncated_recent_ratio')} + {_name('reward_recent')}) > 1"
)
REWARD_GAMED = (
    f"max by ({RUN}) ({_name('validation_best')} - {_name('validation_recent')}) > {bounds.VALIDATION_FALL:g} "
    f"and on ({RUN}) max by ({RUN}) ({_name('reward_recent')} - {_name('reward_at_best')}) > {bounds.REWARD_RISE:g}"
)
MISMATCH = (
    f"max by ({RUN}) ({_name('mismatch_logprob_recent_nats')} / on ({_POD}) group_left {_name('mismatch_bound_nats')}) "
    f"> {bounds.MISMATCH_SHARE:g}"
)
ROLLOUTS_MASKED = f"max by ({RUN}, source) ({_name('rollouts_masked_recent_ratio')}) > {MASKED_SHARE}"
CHECKPOINT_OVERDUE = _of_targets(
    f"time() - {_latest('checkpoint_timestamp_seconds')} > {bounds.CHECKPOINT_OVERDUE_TIMES:g} * "
    f"{_latest('checkpoint_due_seconds')} and on ({_POD}) {_latest('step_usual_seconds')}"
)
ROLLOUT_SERVERS_MISSING = (
    f"max by ({RUN}) ({_name('rollout_servers_wanted')} - on ({_POD}) group_left {_name('rollout_servers_live')} "
    f"and on ({_POD}) {_name('step_usual_seconds')}) > 0"
)
GPU_UNUSED = f"max by ({RUN}) ({_name('gpu_unused')}) > 0"
