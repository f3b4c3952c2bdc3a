"""Names that more than one component must agree on: environment variables, Kubernetes labels, members, children."""

from __future__ import annotations

from prorl_api.spec.values import Role

LABEL_JOB = "prorl.dev/job"
LABEL_ROLE = "prorl.dev/role"
LABEL_RUN = "prorl.dev/run"
"""The job's uid: tells series of a job from those of an earlier one of the same name."""
LABEL_ATTEMPT = "prorl.dev/attempt"
LABEL_POD_GROUP = "scheduling.x-k8s.io/pod-group"
"""By which the coscheduling scheduler knows the pods of a gang."""
LABEL_COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"
"""Kubernetes puts it on the pods of an Indexed Job; of a learner it is the replica's number."""
ANNOTATION_ADOPT_RUN = "prorl.dev/adopt-run"
"""On a ProRLJob: uid of the run whose folder the job may take over, as `run.json` there records it."""
LABEL_EXPORT_OF = "prorl.dev/export-of"
"""On the Job that exports a policy: name of the job. It is no member of the run."""
RESERVED_PREFIXES = ("prorl.dev", "app.kubernetes.io", "batch.kubernetes.io")
"""Label and annotation prefixes that manifests may not set on pods: Services and policies select by them."""

API_PORT = 8000
"""Every component serves its API, probes and metrics here in a cluster."""
RENDEZVOUS_PORT = 29500
"""Where the learner's ranks meet in a cluster."""

ENV_JOB_NAME = "PRORL_JOB_NAME"
"""Name of the job; label of every metric."""
ENV_ATTEMPT = "PRORL_ATTEMPT"
"""The learner's attempt, a whole number from 1."""
ENV_MANIFEST = "PRORL_MANIFEST"
"""Path of the job's manifest, for the learner."""
ENV_RUN_DIR = "PRORL_RUN_DIR"
"""Path of the run folder, for the learner."""
ENV_LEARNER_URL = "PRORL_LEARNER_URL"
"""Base URL of the learner's API, for rollout servers."""
ENV_SANDBOX_URLS = "PRORL_SANDBOX_URLS"
"""Comma-separated base URLs of the reward sandboxes, for the learner."""
ENV_ROLLOUT_SETTINGS = "PRORL_ROLLOUT_SETTINGS"
"""JSON of `prorl_api.settings.RolloutServerSettings`."""
ENV_SANDBOX_SETTINGS = "PRORL_SANDBOX_SETTINGS"
"""JSON of `prorl_api.settings.SandboxSettings`."""
ENV_SHARED_MEMORY_DIR = "PRORL_SHARED_MEMORY_DIR"
"""Folder in shared memory where weights are published on one machine."""
ENV_ADVERTISED_URL = "PRORL_ADVERTISED_URL"
"""Base URL under which peers reach this component."""

ENV_RUN_UID = "PRORL_RUN_UID"
"""Identity of the run, for the learner: its run folder must belong to it. Unset on one machine: the body checks."""
ENV_ADOPT_RUN = "PRORL_ADOPT_RUN"
"""Uid of another run whose folder the learner may take over."""
ENV_LEARNER_REPLICAS = "PRORL_LEARNER_REPLICAS"
"""Learner pods, for the launcher of ranks."""
ENV_PROCESSES_PER_REPLICA = "PRORL_PROCESSES_PER_REPLICA"
"""Ranks in one learner pod, for the launcher of ranks."""
ENV_RENDEZVOUS = "PRORL_RENDEZVOUS"
"""`host:port` where rank 0 awaits the others, for the launcher of ranks."""
ENV_TERMINATION_LOG = "PRORL_TERMINATION_LOG"
"""File in which the launcher of ranks says how they ended; unset: `/dev/termination-log`."""
ENV_FINAL_REPORT_SECONDS = "PRORL_FINAL_REPORT_SECONDS"
"""How long a learner that is done waits to be asked for its last metrics and resets; unset: it does not, because the
body reads them from the run folder."""
ENV_TRACKER_PYTHON = "PRORL_TRACKER_PYTHON"
"""Python that trackers run with, for the learner: an environment that has their libraries. Unset: the learner's own."""
ENV_POD_IP = "PRORL_POD_IP"
"""The pod's own address; other variables of the pod are made of it."""

LEARNER_GLIBC_TUNABLES = (
    "glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=8589934592:glibc.malloc.hugetlb=1"
)
"""`GLIBC_TUNABLES` of a learner on CPU. Activations and gradients stay mapped between steps: page faults cost it a
third of its time. Buffers of 1 GiB and more are given back when they are freed: from 268 million parameters on also
DeepSpeed's flat gradients (4 bytes a parameter), which it takes anew at each optimizer step. With 128 MiB that cost the
quickstart a fifth of its learner's time, and its peak was no lower (docs/LOG.md, 2026-11-30)."""
ROLLOUT_GLIBC_TUNABLES = "glibc.malloc.mmap_threshold=1048576:glibc.malloc.hugetlb=1"
"""`GLIBC_TUNABLES` of a rollout server on CPU. Buffers of 1 MiB and more, such as logits, are given back when they are
freed: their sizes change with the number of running sequences, and the holes that they would leave behind grew by
0.2 GB with every validation (docs/LOG.md)."""

MAX_JOB_NAME_LENGTH = 40
"""So that every generated name fits into 63 characters."""


def learner_job_name(job: str, attempt: int) -> str:
    """Name of the learner's Kubernetes Job of one attempt."""
    return f"{job}-learner-{attempt}"


def deployment_name(job: str, role: Role) -> str:
    """Name of a role's Deployment and Service."""
    return f"{job}-{role.value}"


def ranks_service_name(job: str) -> str:
    """Name of the headless Service under which learner pods find each other."""
    return f"{job}-learner-ranks"


def plan_name(job: str) -> str:
    """Name of the ConfigMap that holds the job as it runs."""
    return f"{job}-plan"


def tokens_name(job: str) -> str:
    """Name of the Secret that holds the tokens which components present."""
    return f"{job}-tokens"


def pod_group_name(job: str, attempt: int) -> str:
    """Name of the PodGroup of what an attempt creates."""
    return f"{job}-gang-{attempt}"


def export_job_name(job: str, checkpoint: str) -> str:
    """Name of the Kubernetes Job that exports a checkpoint: `best`, `last` or `step-N`."""
    return f"{job}-export-{checkpoint}"


def reset_name(job: str, number: int) -> str:
    """Name of the job's `number`-th reset."""
    return f"{job}-reset-{number}"


def member_name(role: Role, index: int) -> str:
    """Name of one member of a run on one machine."""
    return f"{role.value}-{index}"
