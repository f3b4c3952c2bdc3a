"""What only who runs a job in a cluster can find wrong with it. All faults at once, each with its field and remedy."""

from __future__ import annotations

from collections.abc import Iterator

from prorl_api.custom_rewards import reward_path
from prorl_api.errors import Fault
from prorl_api.metrics import BY_NAME
from prorl_api.names import LABEL_POD_GROUP
from prorl_api.spec.job import ProRLJob
from prorl_api.spec.roles import Volume
from prorl_api.spec.values import Role
from prorl_control.signals import promql
from prorl_operator.manifests.paths import OURS, is_hub_name, is_under
from prorl_operator.manifests.pods import num_gpus, section_of
from prorl_operator.manifests.template_faults import template_faults


def cluster_faults(job: ProRLJob) -> list[Fault]:
    """Return everything in a valid job that cannot hold in a cluster; empty: its objects can be built.

    Not seen here, since the spec does not say it: whether claims exist, and that the claim of the run folder allows
    ReadWriteMany where there are several learner pods.
    """
    return [
        *_volume_faults(job),
        *_run_volume_faults(job),
        *_path_faults(job),
        *_gpu_faults(job),
        *_runtime_class_faults(job),
        *_gang_faults(job),
        *_signal_faults(job),
        *(fault for role in Role for fault in template_faults(section_of(job, role).pod_template, role)),
    ]


def _signal_faults(job: ProRLJob) -> Iterator[Fault]:
    for index, signal in enumerate(job.spec.monitoring.signals):
        if signal.name in BY_NAME:
            want = "a name that none of the learner's metrics has: people would take one for the other"
            yield Fault(path=f"spec.monitoring.signals[{index}].name", got=signal.name, want=want)
        if wrong := promql.fault_of(signal.query):
            yield Fault(path=f"spec.monitoring.signals[{index}].query", got=signal.query[:200], want=wrong)


def _volume_faults(job: ProRLJob) -> Iterator[Fault]:
    volumes = job.spec.volumes
    for index, volume in enumerate(volumes):
        path = f"spec.volumes[{index}]"
        if any(_collide(volume, other) for other in volumes[:index]):
            want = "no other volume of the same role may be mounted there; choose another path"
            yield Fault(path=f"{path}.mountPath", got=volume.mount_path, want=want)
        mount = volume.mount_path.rstrip("/")
        if not mount or ":" in mount or ".." in mount.split("/") or is_under(mount, OURS):
            want = f"a folder of its own without `:` and `..`, outside {', '.join(OURS)}"
            yield Fault(path=f"{path}.mountPath", got=volume.mount_path, want=want)
        if Role.SANDBOX in volume.roles and not volume.read_only:
            want = "`true` where `roles` has sandbox: model-written programs must not write where others read"
            yield Fault(path=f"{path}.readOnly", got="false", want=want)


def _collide(volume: Volume, other: Volume) -> bool:
    same_path = volume.mount_path.rstrip("/") == other.mount_path.rstrip("/")
    return same_path and bool(set(volume.roles) & set(other.roles))


def _run_volume_faults(job: ProRLJob) -> Iterator[Fault]:
    """Check the volume of runs. That it can be written is a rule of the spec; that there is one, of a cluster."""
    if job.spec.checkpoint.volume is None:
        want = "name the volume of `spec.volumes` that holds run folders; a pod's own disk is lost with the pod"
        yield Fault(path="spec.checkpoint.volume", got="nothing", want=want)


def _path_faults(job: ProRLJob) -> Iterator[Fault]:
    spec, folders = job.spec, _learner_folders(job)
    where = f"an absolute path in a volume that the learner mounts ({', '.join(folders) or 'there is none'})"
    if not is_hub_name(spec.model.path) and not is_under(spec.model.path, folders):
        yield Fault(path="spec.model.path", got=spec.model.path, want=f"{where}, or a hub name as `owner/name`")
    if spec.init_from is not None and not is_under(spec.init_from.run, folders):
        yield Fault(path="spec.initFrom.run", got=spec.init_from.run, want=where)
    for index, source in enumerate(spec.data.sources):
        if source.jsonl is not None and not is_under(source.jsonl, folders):
            yield Fault(path=f"spec.data.sources[{index}].jsonl", got=source.jsonl, want=where)
        if source.reward is not None and not is_under(reward_path(source.reward), folders):
            want = f"{where}; a ConfigMap can be mounted with `spec.learner.podTemplate`"
            yield Fault(path=f"spec.data.sources[{index}].reward", got=source.reward, want=want)


def _learner_folders(job: ProRLJob) -> list[str]:
    """Mount paths in the learner, those of its `podTemplate` included."""
    folders = [volume.mount_path for volume in job.spec.volumes if Role.LEARNER in volume.roles]
    if template_faults(job.spec.learner.pod_template, Role.LEARNER):
        return folders
    containers = ((job.spec.learner.pod_template or {}).get("spec") or {}).get("containers") or []
    mounts = [mount for item in containers if item["name"] == Role.LEARNER for mount in item.get("volumeMounts") or []]
    return folders + [str(mount["mountPath"]) for mount in mounts]


def _gpu_faults(job: ProRLJob) -> Iterator[Fault]:
    for role, field, wanted in (
        (job.spec.learner, "learner.processesPerReplica", job.spec.learner.processes_per_replica),
        (job.spec.rollout, "rollout.tensorParallelSize", job.spec.rollout.tensor_parallel_size),
    ):
        gpus = num_gpus(role.resources)
        if gpus and gpus != wanted:
            section = field.partition(".")[0]
            want = f"as many as the GPUs in `spec.{section}.resources.limits`, {gpus}: each process uses one"
            yield Fault(path=f"spec.{field}", got=str(wanted), want=want)
    learner = job.spec.learner
    if learner.offload_activations and not num_gpus(learner.resources):
        want = "false: the learner's pods have no GPU to offload from (spec.learner.resources.limits)"
        yield Fault(path="spec.learner.offloadActivations", got="true", want=want)


def _runtime_class_faults(job: ProRLJob) -> Iterator[Fault]:
    field = job.spec.sandbox.runtime_class_name
    pod = (job.spec.sandbox.pod_template or {}).get("spec")
    other = pod.get("runtimeClassName") if isinstance(pod, dict) else None
    if field and other and field != other:
        want = f"leave it out: `spec.sandbox.runtimeClassName` is {field}"
        yield Fault(path="spec.sandbox.podTemplate.spec.runtimeClassName", got=str(other), want=want)


def _gang_faults(job: ProRLJob) -> Iterator[Fault]:
    """Pods that another scheduler places, or of another group, would be missed by the gang for ever."""
    gang = job.spec.scheduling.gang
    if gang is None:
        return
    for role in Role:
        template, path = section_of(job, role).pod_template or {}, f"spec.{role.value}.podTemplate"
        pod, metadata = template.get("spec"), template.get("metadata")
        other = pod.get("schedulerName") if isinstance(pod, dict) else None
        if other not in (None, gang.scheduler_name):
            want = f"leave it out: `spec.scheduling.gang.schedulerName` is {gang.scheduler_name}"
            yield Fault(path=f"{path}.spec.schedulerName", got=str(other), want=want)
        labels = metadata.get("labels") if isinstance(metadata, dict) else None
        if isinstance(labels, dict) and LABEL_POD_GROUP in labels:
            want = "leave it out: with `spec.scheduling.gang` the operator sets it"
            yield Fault(path=f"{path}.metadata.labels[{LABEL_POD_GROUP}]", got=str(labels[LABEL_POD_GROUP]), want=want)
