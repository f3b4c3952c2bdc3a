"""PromQL for the learner's metrics of many jobs at once. Pure.

Raw samples are asked for, by a range selector: they keep their own timestamps, and all metrics of one scrape have the
same one. An evaluation at fixed times (`query_range`) would give the newest sample of the last five minutes instead.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from prorl_api.metrics import BY_NAME, LIVE
from prorl_api.spec.values import Role

JobKey = tuple[str, str]
"""Namespace and name of a ProRLJob."""

LABEL_NAMESPACE, LABEL_JOB, LABEL_ROLE, LABEL_RUN, LABEL_POD, LABEL_SOURCE = (
    "namespace",
    "prorl_job",
    "prorl_role",
    "prorl_run",
    "pod",
    "source",
)
"""As the chart's PodMonitor gives them; `source` is the learner's own."""
STEP, ATTEMPT, RESUMED = "step", "attempt", "resumed_from_step"
_ALWAYS = (STEP, ATTEMPT)
_RESUMED_NAME = next(metric.prometheus_name for metric in LIVE if metric.name == RESUMED)
SIGNAL_PREFIX = "signals."
"""Before the name of a job's own signal, in lines and triggers."""


def is_own_signal(name: str) -> bool:
    """Tell whether a name is a job's own signal, not a metric of the learner."""
    return name.startswith(SIGNAL_PREFIX)


def metric_names(names: Iterable[str]) -> dict[str, str]:
    """Return Prometheus names to names of the metrics table: of what is wanted, and what makes a snapshot of it.

    Args:
        names: Of metrics, those with a source as `name/source`; a job's own signals are passed over.
    """
    wanted = {name.partition("/")[0] for name in names if not is_own_signal(name)} | set(_ALWAYS)
    known = {BY_NAME[name].prometheus_name: name for name in sorted(wanted) if name in BY_NAME}
    return known | {_RESUMED_NAME: RESUMED}


def selector(jobs: Collection[JobKey], prometheus_names: Collection[str]) -> str:
    """Return the selector of the metrics of jobs.

    With jobs of several namespaces it may also match some that are not asked for: whoever reads the answer looks at its
    labels.
    """
    matchers = [
        ("__name__", prometheus_names),
        (LABEL_NAMESPACE, {namespace for namespace, _ in jobs}),
        (LABEL_JOB, {name for _, name in jobs}),
        (LABEL_ROLE, {Role.LEARNER.value}),
    ]
    return "{" + ",".join(_matcher(label, sorted(set(values))) for label, values in matchers) + "}"


def samples_query(jobs: Collection[JobKey], names: Iterable[str], seconds: int) -> str:
    """Return the query whose answer has every sample of the last `seconds`."""
    return f"{selector(jobs, metric_names(names))}[{seconds}s]"


def metric_query(job: JobKey, name: str) -> str:
    """Return PromQL that shows one metric of one job: what stands in evidence for people."""
    base, _, source = name.partition("/")
    known = BY_NAME.get(base)
    namespace, job_name = job
    labels = {LABEL_NAMESPACE: namespace, LABEL_JOB: job_name, LABEL_ROLE: Role.LEARNER.value}
    if source:
        labels[LABEL_SOURCE] = source
    matchers = ",".join(f"{label}={_quoted(value)}" for label, value in labels.items())
    return f"{known.prometheus_name if known is not None else BY_NAME[STEP].prometheus_name}{{{matchers}}}"


def _matcher(label: str, values: list[str]) -> str:
    if len(values) == 1:
        return f"{label}={_quoted(values[0])}"
    # Names of jobs, namespaces and metrics have no letter that means something in a regular expression.
    return f"{label}=~{_quoted('|'.join(values))}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
