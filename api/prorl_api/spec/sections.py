"""The sections of a job's spec, without the rules that cross them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import ConfigDict, Field

from prorl_api.spec.algorithm import AlgorithmSpec
from prorl_api.spec.base import KEYED_BY_NAME, Change, Seed, SpecModel
from prorl_api.spec.data import DataSource, DataSpec
from prorl_api.spec.local import LocalSpec
from prorl_api.spec.resets import ReferenceResetSpec
from prorl_api.spec.roles import InitFrom, LearnerSpec, ModelSpec, RolloutSpec, SandboxSpec, Volume
from prorl_api.spec.run import (
    DEFAULT_VALIDATION_SIZE,
    CheckpointSpec,
    MonitoringSpec,
    RestartSpec,
    ScheduleSpec,
    SchedulingSpec,
    ValidationSource,
    ValidationSpec,
)
from prorl_api.spec.tracking import TrackingSpec
from prorl_api.spec.triggers import Condition
from prorl_api.spec.values import ResetMode


class JobSections(SpecModel):
    """The sections of a spec and what follows from them."""

    model_config = ConfigDict(defer_build=True)  # nobody reads a manifest as this, or as the rules alone

    seed: Annotated[Seed, Change.IMMUTABLE] = 0
    """Seed of prompts, sampling and shuffling."""
    model: Annotated[ModelSpec, Change.IMMUTABLE]
    init_from: Annotated[InitFrom | None, Change.IMMUTABLE] = None
    volumes: Annotated[tuple[Volume, ...], Field(max_length=32, json_schema_extra=KEYED_BY_NAME)] = ()
    """Persistent volumes for models, data and run folders."""
    data: Annotated[DataSpec, Change.IMMUTABLE]
    rollout: RolloutSpec = RolloutSpec()
    learner: LearnerSpec = LearnerSpec()
    sandbox: SandboxSpec = SandboxSpec()
    algorithm: Annotated[AlgorithmSpec, Change.STEP_BOUNDARY] = AlgorithmSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    validation: ValidationSpec = ValidationSpec()
    reference_reset: Annotated[ReferenceResetSpec, Change.LIVE] = ReferenceResetSpec()
    checkpoint: CheckpointSpec = CheckpointSpec()
    restarts: RestartSpec = RestartSpec()
    scheduling: Annotated[SchedulingSpec, Change.IMMUTABLE] = SchedulingSpec()
    monitoring: Annotated[MonitoringSpec, Change.LIVE] = MonitoringSpec()
    tracking: TrackingSpec = TrackingSpec()
    local: LocalSpec = LocalSpec()
    suspend: Annotated[bool, Change.LIVE] = False
    """True: stop with a checkpoint and run nothing until it is false again."""
    ttl_seconds_after_finished: Annotated[int | None, Field(ge=0, le=2**31 - 1), Change.LIVE] = None
    """In a cluster: seconds after success or failure until the object, and all but its volumes, is deleted. Unset: it
    stays."""

    @property
    def max_sequence_tokens(self) -> int:
        """Longest prompt plus the longest completion of any stage: what engines are sized for."""
        stages = [stage.overrides.max_completion_tokens or 0 for stage in self.schedule.stages]
        return self.rollout.max_prompt_tokens + max(self.rollout.max_completion_tokens, *stages, 0)

    @property
    def validated_sources(self) -> tuple[ValidationSource, ...]:
        """What is validated: as the manifest says, or every source that has held-out prompts."""
        return self.validation.sources or tuple(
            ValidationSource(name=source.name, size=source.held_out or DEFAULT_VALIDATION_SIZE)
            for source in self.data.sources
            if source.generator is not None or source.held_out
        )

    @property
    def measures_kl(self) -> bool:
        """Whether the KL to the reference is part of the loss, or watched by a trigger that may act."""
        is_watched = any(condition.watches_kl for _, condition in self.conditions())
        return self.algorithm.kl.coefficient > 0 or (is_watched and self.reference_reset.mode is not ResetMode.DISABLED)

    def is_trained_on(self, source: DataSource) -> bool:
        """Tell whether training prompts come from it at any stage, the part before the first one included."""
        return self.greatest_weight(source) > 0

    def greatest_weight(self, source: DataSource) -> float:
        """Return a source's weight where it is greatest, the part before the first stage included."""
        stages = [stage.overrides.source_weights.get(source.name, source.weight) for stage in self.schedule.stages]
        return max(source.weight, *stages, 0.0)

    def conditions(self) -> Iterator[tuple[str, Condition]]:
        """Yield each thing that triggers look at, with the trigger's name."""
        for trigger in self.reference_reset.triggers:
            for condition in trigger.conditions:
                yield trigger.name, condition
