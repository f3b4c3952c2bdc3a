"""How far the pods of a gang are, from what the watches show. Pure."""

from __future__ import annotations

from prorl_api.spec.values import Role
from prorl_operator.manifests.context import Placement
from prorl_operator.manifests.gang import attempt_of_group
from prorl_operator.watch.view_index import Snapshot


def placement_of(job_name: str, snapshot: Snapshot, attempt: int) -> Placement:
    """Return the placement as the builders of the attempt's objects want it.

    Args:
        job_name: The ProRLJob's.
        snapshot: Everything of the job.
        attempt: The one whose objects are built; its Job may not exist yet.
    """
    deployments = [item for item in snapshot.deployments if item.group and not item.is_deleted]
    since = attempt_of_group(job_name, (item.group for item in deployments))
    running = [pod for pod in snapshot.pods if pod.running_since is not None and pod.deleted is None]
    # Servers without a Deployment are about to end, and say nothing about those to come.
    servers_run = since > 0 and any(pod.role is not Role.LEARNER for pod in running)
    learner_runs = any(pod.role is Role.LEARNER and pod.attempt == attempt for pod in running)
    job = next((job for job in snapshot.jobs if job.attempt == attempt), None)
    # What was decided when the Job was created stands.
    own = servers_run and since < attempt if job is None else attempt_of_group(job_name, [job.group]) != since > 0
    return Placement(servers_since=since, is_placed=servers_run or learner_runs, has_own_learner_group=own)
