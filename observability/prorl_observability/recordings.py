"""Recording rules: what several panels ask for and is dear to compute over a long time."""

from __future__ import annotations

from dataclasses import dataclass

from prorl_control.advice.promql import RUN


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One recording rule."""

    record: str
    """`prorl:<what>:<how>`."""
    expr: str
    why: str


def of_jobs(metric: str, *, job: str = ".+", namespace: str = ".+") -> str:
    """Return a metric of NVIDIA's DCGM exporter for the pods of jobs, with the job's name, which the pod's begins with.

    The pod is in the labels `exported_pod` and `exported_namespace`, or in `pod` and `namespace` where the scrape
    honours the exporter's labels.
    """
    roles = "(?:learner-[0-9]+-[0-9]+-[^-]+|rollout-[^-]+-[^-]+)"
    exported = f'{metric}{{exported_pod=~"{job}-{roles}", exported_namespace=~"{namespace}"}}'
    moved = f'label_replace({exported}, "pod", "$1", "exported_pod", "(.+)")'
    moved = f'label_replace({moved}, "namespace", "$1", "exported_namespace", "(.+)")'
    honoured = f'{metric}{{pod=~"{job}-{roles}", namespace=~"{namespace}"}}'
    return f'label_replace({moved} or {honoured}, "prorl_job", "$1", "pod", "(.+)-{roles}")'


RECORDINGS: tuple[Recording, ...] = (
    Recording(
        record="prorl:step_age:seconds",
        expr=f"max by ({RUN}) ((time() - last_over_time(prorl_learner_step_timestamp_seconds[1d])) "
        "and on (namespace, pod) up)",
        why="Time since the newest step, of runs whose learner is there, answering or not.",
    ),
    Recording(
        record="prorl:sandbox_items:rate5m",
        expr=f"sum by ({RUN}, domain, verdict) (rate(prorl_sandbox_items_total[5m]))",
        why="Verdicts a second, over all sandboxes of a run.",
    ),
    Recording(
        record="prorl:sandbox_judge_seconds:p95_5m",
        expr=f"histogram_quantile(0.95, sum by ({RUN}, domain, le) (rate(prorl_sandbox_judge_seconds_bucket[5m])))",
        why="How long judging takes, over all sandboxes of a run.",
    ),
    Recording(
        record="prorl:sandbox_queue_seconds:p95_5m",
        expr=f"histogram_quantile(0.95, sum by ({RUN}, domain, le) (rate(prorl_sandbox_queue_seconds_bucket[5m])))",
        why="How long completions wait for a worker, over all sandboxes of a run.",
    ),
    Recording(
        record="prorl:rollout_completion_tokens:rate5m",
        expr=f"sum by ({RUN}) (rate(prorl_rollout_completion_tokens_total[5m]))",
        why="Tokens a second, over all rollout servers of a run.",
    ),
    Recording(
        record="prorl:gpus:count",
        expr=f"count by (namespace, prorl_job) ({of_jobs('DCGM_FI_DEV_GPU_UTIL')})",
        why="GPUs that a job holds; its sum over time is GPU-hours. Only where DCGM's exporter is.",
    ),
)
