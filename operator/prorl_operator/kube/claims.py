"""What the spec cannot tell about volumes: the claims' own properties."""

from __future__ import annotations

from prorl_api.errors import Fault
from prorl_api.spec.job import ProRLJob
from prorl_operator.kube.client import Api

_SHARED = "ReadWriteMany"


async def claim_faults(api: Api, job: ProRLJob, namespace: str) -> list[Fault]:
    """Faults of the run folder's claim. One that does not exist is none: the pods wait for it and say so."""
    spec = job.spec
    volume = next((volume for volume in spec.volumes if volume.name == spec.checkpoint.volume), None)
    if volume is None or spec.learner.replicas == 1:
        return []
    claim = await api.get("v1", "PersistentVolumeClaim", namespace, volume.claim_name)
    modes = ((claim or {}).get("spec") or {}).get("accessModes") or []
    if claim is None or _SHARED in modes:
        return []
    got = f"claim {volume.claim_name} with {', '.join(modes)}"
    want = f"a claim with {_SHARED}, since {spec.learner.replicas} learner pods share the run folder"
    return [Fault(path="spec.checkpoint.volume", got=got, want=want)]
