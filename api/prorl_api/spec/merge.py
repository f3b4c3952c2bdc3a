"""Derived specs: the settings of a stage, and the settings on one machine. Pure."""

from __future__ import annotations

from typing import Any

from prorl_api.errors import Fault, SpecError
from prorl_api.manifest import validate_job
from prorl_api.spec.job import ProRLJob, ProRLJobSpec
from prorl_api.spec.run import Stage

CLUSTER_ONLY = (
    "spec.rollout.podTemplate",
    "spec.rollout.resources",
    "spec.learner.podTemplate",
    "spec.learner.resources",
    "spec.sandbox.podTemplate",
    "spec.sandbox.resources",
    "spec.sandbox.runtimeClassName",
    "spec.checkpoint.volume",
    "spec.scheduling.gang",
    "spec.monitoring.prometheus",
    "spec.monitoring.prometheusUrl",
    "spec.monitoring.onMissing",
    "spec.monitoring.signals",
    "spec.tracking.secretName",
    "spec.ttlSecondsAfterFinished",
)
"""Fields that mean something in a cluster only; on one machine each must be in `spec.local.ignore`."""
NETWORK = "spec.sandbox.isolation.network"
"""One of whose values does."""
IGNORABLE = (*CLUSTER_ONLY, NETWORK)
"""What `spec.local.ignore` may hold."""


def stage_at(spec: ProRLJobSpec, step: int) -> Stage | None:
    """Return the stage that training step `step` (counted from 1) belongs to; None before the first stage."""
    begun = [stage for stage in spec.schedule.stages if stage.from_step <= step]
    return begun[-1] if begun else None


def spec_at(spec: ProRLJobSpec, step: int) -> ProRLJobSpec:
    """Return the spec with the overrides of the stage that training step `step` (counted from 1) belongs to."""
    stage = stage_at(spec, step)
    if stage is None:
        return spec
    change = stage.overrides
    clip = _given(low=change.clip_low, high=change.clip_high)
    learner = _given(
        prompts_per_step=change.prompts_per_step,
        minibatch_prompts=change.minibatch_prompts,
        group_size=change.group_size,
    )
    if change.learning_rate is not None:
        learner["optimizer"] = spec.learner.optimizer.model_copy(update={"learning_rate": change.learning_rate})
    algorithm = {
        "clip": spec.algorithm.clip.model_copy(update=clip),
        "kl": spec.algorithm.kl.model_copy(update=_given(coefficient=change.kl_coefficient)),
        "length": spec.algorithm.length.model_copy(
            update=_given(stop_properly=change.stop_properly, weight=change.length_weight)
        ),
    }
    rollout = _given(temperature=change.temperature, max_completion_tokens=change.max_completion_tokens)
    sources = tuple(
        source.model_copy(update={"weight": change.source_weights.get(source.name, source.weight)})
        for source in spec.data.sources
    )
    return spec.model_copy(
        update={
            "learner": spec.learner.model_copy(update=learner),
            "rollout": spec.rollout.model_copy(update=rollout),
            "algorithm": spec.algorithm.model_copy(update=algorithm),
            "data": spec.data.model_copy(update={"sources": sources}),
        }
    )


def ever_measures_kl(spec: ProRLJobSpec) -> bool:
    """Tell whether the KL to the reference is needed at any step."""
    return any(spec_at(spec, step).measures_kl for step in (1, *(stage.from_step for stage in spec.schedule.stages)))


def on_one_machine(job: ProRLJob) -> ProRLJob:
    """Return the job as `prorl run` executes it: `spec.local` applied, and nothing left that cannot hold there.

    Raises:
        SpecError: Naming each field that has no meaning on one machine and no overlay, or each rule that the overlay
            breaks.
    """
    spec, local = job.spec, job.spec.local
    faults = [
        Fault(
            path=path,
            got="a value",
            want="means something in a cluster only; remove it or list it in spec.local.ignore",
        )
        for path in CLUSTER_ONLY
        if path not in local.ignore and _is_set(spec, path)
    ]
    faults += [
        Fault(
            path="spec.volumes",
            got=volume.mount_path,
            want=f"map it in spec.local.paths: {{{volume.mount_path}: ./folder}}",
        )
        for volume in spec.volumes
        if volume.mount_path not in local.paths
    ]
    faults += _network_faults(spec)
    if spec.learner.replicas > 1 and local.learner.processes_per_replica is None:
        want = "one machine has one learner replica; set spec.local.learner.processesPerReplica to its ranks"
        faults.append(Fault(path="spec.learner.replicas", got=str(spec.learner.replicas), want=want))
    faults += [
        Fault(path=f"spec.local.ignore[{index}]", got=path, want=f"only these can be ignored: {', '.join(IGNORABLE)}")
        for index, path in enumerate(local.ignore)
        if path not in IGNORABLE
    ]
    source = f"job {job.metadata.name} on one machine"
    if faults:
        raise SpecError(faults, source=source)
    updates: dict[str, Any] = {
        "rollout": spec.rollout.model_copy(update=_overlay(local.rollout)),
        "learner": spec.learner.model_copy(update={"replicas": 1, **_overlay(local.learner)}),
        "sandbox": spec.sandbox.model_copy(
            update={
                "replicas": 1,
                "isolation": spec.sandbox.isolation.model_copy(update={"network": "in-process"}),
                **_overlay(local.sandbox),
            }
        ),
        "model": spec.model.model_copy(update=_given(path=local.model_path)),
        "volumes": (),
        "checkpoint": spec.checkpoint.model_copy(update={"volume": None}),
    }
    merged = job.model_copy(update={"spec": spec.model_copy(update=updates)})
    document = merged.model_dump(mode="json", by_alias=True, exclude_none=True)
    return validate_job({**document, "spec": _mapped(document["spec"], local.paths)}, source=source)


def _network_faults(spec: ProRLJobSpec) -> list[Fault]:
    """Refuse a verified policy: one machine has none."""
    network = spec.sandbox.isolation.network
    if network == "in-process" or NETWORK in spec.local.ignore:
        return []
    want = "`in-process`: policies exist in a cluster only; change it or list it in spec.local.ignore"
    return [Fault(path=NETWORK, got=network, want=want)]


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _overlay(model: Any) -> dict[str, Any]:
    return _given(**{name: getattr(model, name) for name in type(model).model_fields})


def _is_set(spec: ProRLJobSpec, path: str) -> bool:
    value: Any = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    for part in path.split(".")[1:]:
        value = value.get(part) if isinstance(value, dict) else None
    return value is not None and value != []


def _mapped(spec: dict[str, Any], paths: dict[str, str]) -> dict[str, Any]:
    """Return the dumped spec with mount paths replaced in the fields that hold paths."""

    def replace(path: str) -> str:
        for mount, folder in sorted(paths.items(), key=lambda item: -len(item[0])):
            if path == mount or path.startswith(mount.rstrip("/") + "/"):
                return folder + path[len(mount.rstrip("/")) :]
        return path

    spec["model"]["path"] = replace(spec["model"]["path"])
    if "initFrom" in spec:
        spec["initFrom"]["run"] = replace(spec["initFrom"]["run"])
    for source in spec["data"]["sources"]:
        if "jsonl" in source:
            source["jsonl"] = replace(source["jsonl"])
    return spec
