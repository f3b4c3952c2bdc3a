"""From a job to what must exist: members by role, their settings, and in what order they become ready.

Both bodies carry out the same plan. Nothing is withheld to make an order: all members are created at once and wait
for each other by readiness (rollout servers register at the learner, the learner waits for a server and a sandbox).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from prorl_api.limits import Limits
from prorl_api.settings import RolloutServerSettings, SandboxSettings
from prorl_api.spec.job import ProRLJob
from prorl_api.spec.resets import ReferenceResetSpec
from prorl_api.spec.run import RestartSpec
from prorl_api.spec.values import Role
from prorl_control.members import MemberKey

READINESS_ORDER = (Role.SANDBOX, Role.LEARNER, Role.ROLLOUT)
"""Who becomes ready before whom: a rollout server is ready only with the learner's first weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What a job needs, fixed for one generation of its spec."""

    job_name: str
    total_steps: int
    num_rollout_servers: int
    num_sandboxes: int
    learner_replicas: int
    learner_ranks_per_replica: int
    rollout_settings: RolloutServerSettings
    sandbox_settings: SandboxSettings
    restarts: RestartSpec
    reference_reset: ReferenceResetSpec
    limits: Limits = field(default_factory=Limits)
    """What advice compares the run's vitals with."""
    suspend: bool

    @property
    def learner_ranks(self) -> int:
        """Processes of the learner, over all replicas."""
        return self.learner_replicas * self.learner_ranks_per_replica

    def count(self, role: Role) -> int:
        """Return how many members the role has."""
        return {
            Role.LEARNER: self.learner_ranks,
            Role.ROLLOUT: self.num_rollout_servers,
            Role.SANDBOX: self.num_sandboxes,
        }[role]

    @property
    def members(self) -> tuple[MemberKey, ...]:
        """Every member, in the order in which they become ready."""
        return tuple(MemberKey(role=role, index=index) for role in READINESS_ORDER for index in range(self.count(role)))


def plan_in_pods(job: ProRLJob) -> RunPlan:
    """Return the plan of a job in a cluster, where a learner pod is one member, however many ranks it starts."""
    return dataclasses.replace(plan(job), learner_ranks_per_replica=1)


def plan(job: ProRLJob) -> RunPlan:
    """Return the plan of a job. On one machine, give it the job after `prorl_api.spec.merge.on_one_machine`."""
    spec = job.spec
    return RunPlan(
        job_name=job.metadata.name,
        total_steps=spec.schedule.total_steps,
        num_rollout_servers=spec.rollout.replicas,
        num_sandboxes=spec.sandbox.replicas,
        learner_replicas=spec.learner.replicas,
        learner_ranks_per_replica=spec.learner.processes_per_replica,
        rollout_settings=RolloutServerSettings(
            dtype=spec.rollout.dtype.value,
            tensor_parallel_size=spec.rollout.tensor_parallel_size,
            max_model_tokens=spec.max_sequence_tokens,
            max_running_sequences=spec.rollout.max_running_sequences,
            gpu_memory_utilization=spec.rollout.gpu_memory_utilization,
            cpu_kv_cache_bytes=spec.rollout.cpu_kv_cache_bytes,
            enforce_eager=spec.rollout.enforce_eager,
            threads=spec.rollout.threads,
        ),
        sandbox_settings=SandboxSettings(
            workers=spec.sandbox.workers,
            minimum_isolation=spec.sandbox.isolation.minimum,
            network=spec.sandbox.isolation.network,
            libraries=spec.sandbox.libraries,
        ),
        restarts=spec.restarts,
        reference_reset=spec.reference_reset,
        limits=Limits.of(spec),
        suspend=spec.suspend,
    )
