"""The jobs of `bench_operator`, and the bare script that the operator is measured against.

    python -m tests.bench.bench_operator_jobs bare|jobs --kubeconfig FILE --namespace NAME --jobs 500 --key FILE

`bare` creates every ProRLJob, applies what the operator would for it, by the same builders, and writes one status:
the official dynamic client in threads, nothing watched, nothing decided. `jobs` creates the ProRLJobs alone, in the
same threads, for an operator to find. Both print seconds, CPU seconds and number of writes as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from kubernetes import config
from kubernetes.client import ApiClient, Configuration
from kubernetes.dynamic import DynamicClient

from prorl_api import API_VERSION
from prorl_api.crd import job_from_object, status_to_object
from prorl_api.status import Condition, ConditionStatus, ConditionType, JobStatus
from prorl_operator.manifests import (
    Images,
    JobContext,
    base_objects,
    learner_job,
    rollout_deployment,
    sandbox_deployment,
)

THREADS = 16
MANAGER = "bench"
IMAGES = Images(
    learner="example.invalid/learner:1", rollout="example.invalid/rollout:1", sandbox="example.invalid/sandbox:1"
)
_SPEC: dict[str, Any] = {
    "model": {"path": "/runs/base"},
    "volumes": [{"name": "runs", "claimName": "runs", "mountPath": "/runs", "roles": ["learner"]}],
    "checkpoint": {"volume": "runs"},
    "data": {"sources": [{"name": "sums", "domain": "logic", "reasoningGym": {"tasks": [{"name": "chain_sum"}]}}]},
    "rollout": {"replicas": 2},
    "sandbox": {"replicas": 2},
    "learner": {"promptsPerStep": 8, "minibatchPrompts": 4},
    "schedule": {"totalSteps": 1_000_000},
    "restarts": {"backoffSeconds": 0},
    # The default ones, but for an interval that no run gets to: while a reset is under way nothing is decided.
    "referenceReset": {
        "triggers": [
            {"name": "kl-spike", "klSpike": {"deviations": 3.25, "windowSteps": 3}},
            {"name": "validation-dropped", "validationDropped": {"validations": 2, "confidence": 0.95}},
            {"name": "interval", "interval": {"everySteps": 900_000}},
        ]
    },
}


def make_job(namespace: str, number: int) -> dict[str, Any]:
    """A ProRLJob: two rollout servers, two sandboxes, one learner pod; almost everything else as by default."""
    metadata = {"name": f"job-{number:04}", "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": "ProRLJob", "metadata": metadata, "spec": _SPEC}


def child_objects(stored: dict[str, Any], key: bytes) -> list[dict[str, Any]]:
    """Everything that the operator creates for a stored ProRLJob, in its order."""
    meta = stored["metadata"]
    job = job_from_object(stored)
    context = JobContext(job=job, uid=meta["uid"], namespace=meta["namespace"], images=IMAGES, token_key=key)
    servers = [build(context, 1) for build in (rollout_deployment, sandbox_deployment)]
    return [*base_objects(context, 1), *servers, learner_job(context, 1)]


def one_status(stored: dict[str, Any]) -> dict[str, Any]:
    """A status as the operator first writes it."""
    now = time.time()
    conditions = tuple(
        Condition(
            type=kind, status=ConditionStatus.UNKNOWN, reason="Starting", message="starting", last_transition_time=now
        )
        for kind in ConditionType
    )
    status = JobStatus(conditions=conditions, attempt=1, total_steps=1_000_000, updated=now)
    return status_to_object(status, job_name=stored["metadata"]["name"], generation=1)


class Script:
    """One client for all threads, with as many connections."""

    def __init__(self, kubeconfig: Path, namespace: str, key: bytes) -> None:
        self._namespace, self._key = namespace, key
        settings: Any = Configuration()
        config.load_kube_config(str(kubeconfig), client_configuration=settings)
        settings.connection_pool_maxsize = THREADS
        self._client: Any = DynamicClient(ApiClient(settings), cache_file=str(kubeconfig.parent / f"{namespace}.json"))
        self._of("batch/v1", "Job")  # discovery is not measured

    def create(self, number: int) -> dict[str, Any]:
        """The ProRLJob as stored."""
        stored: dict[str, Any] = (
            self._of(API_VERSION, "ProRLJob").create(body=make_job(self._namespace, number)).to_dict()
        )
        return stored

    def run(self, number: int) -> int:
        """One job with everything; the number of writes."""
        stored = self.create(number)
        bodies = child_objects(stored, self._key)
        for body in bodies:
            self._apply(self._of(body["apiVersion"], body["kind"]), body)
        jobs = self._of(API_VERSION, "ProRLJob")
        meta = {"name": stored["metadata"]["name"], "namespace": self._namespace}
        body = {"apiVersion": API_VERSION, "kind": "ProRLJob", "metadata": meta, "status": one_status(stored)}
        self._apply(jobs.status, body)
        return 2 + len(bodies)

    def _apply(self, resource: Any, body: dict[str, Any]) -> None:
        meta = body["metadata"]
        resource.server_side_apply(
            body=body, name=meta["name"], namespace=meta["namespace"], field_manager=MANAGER, force_conflicts=True
        )

    def _of(self, api_version: str, kind: str) -> Any:
        return self._client.resources.get(api_version=api_version, kind=kind)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["bare", "jobs"])
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--key", type=Path, required=True)
    given = parser.parse_args(arguments)
    script = Script(given.kubeconfig, given.namespace, given.key.read_bytes().strip())
    begun, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(THREADS) as threads:
        if given.what == "bare":
            writes = sum(threads.map(script.run, range(given.jobs)))
        else:
            writes = len(list(threads.map(script.create, range(given.jobs))))
    seconds, used = time.perf_counter() - begun, time.process_time() - cpu
    print(json.dumps({"seconds": seconds, "cpu": used, "writes": writes}), flush=True)


if __name__ == "__main__":
    main()
