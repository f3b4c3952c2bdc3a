"""From a job to the Kubernetes objects that run it, as plain dicts. Pure: the same job gives the same objects.

Nothing here talks to a cluster or decides when an object must exist: `prorl_operator.actions` does.
"""

from prorl_operator.manifests.base import base_objects, plan_text
from prorl_operator.manifests.context import Images, JobContext
from prorl_operator.manifests.faults import cluster_faults
from prorl_operator.manifests.learner import learner_job
from prorl_operator.manifests.servers import rollout_deployment, sandbox_deployment

__all__ = [
    "Images",
    "JobContext",
    "base_objects",
    "cluster_faults",
    "learner_job",
    "plan_text",
    "rollout_deployment",
    "sandbox_deployment",
]
