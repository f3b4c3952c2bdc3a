"""The `ProRLJob` object: metadata and the whole spec."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from prorl_api.names import MAX_JOB_NAME_LENGTH
from prorl_api.spec.base import Cel, SpecModel, rule
from prorl_api.spec.source_rules import SourceRules
from prorl_api.spec.stage_rules import StageRules
from prorl_api.spec.trigger_rules import TriggerRules
from prorl_api.spec.values import Precision, Role


class Metadata(SpecModel):
    """The object's name and labels."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=MAX_JOB_NAME_LENGTH)]
    """Lower-case letters, digits and hyphens; children append to it."""
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=63)] | None = None
    """Where the object lives in a cluster; without meaning on one machine."""
    labels: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=64)] = {}
    """Kubernetes labels of the object."""
    annotations: Annotated[dict[str, Annotated[str, Field(max_length=65536)]], Field(max_length=64)] = {}
    """Kubernetes annotations of the object."""


class ProRLJobSpec(SourceRules, StageRules, TriggerRules):
    """Everything about a run."""

    model_config = ConfigDict(defer_build=False)

    @rule
    def volume_names_are_unique(self) -> None:
        """`checkpoint.volume` refers to one of them, and a pod takes each name once."""
        names = [volume.name for volume in self.volumes]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"`volumes` must have names of their own, got {', '.join(repeated)} more than once")

    @rule(
        Cel(
            "!has(self.checkpoint.volume) || self.volumes.exists(volume, volume.name == self.checkpoint.volume && "
            "(!has(volume.roles) || 'learner' in volume.roles) && !volume.?readOnly.orValue(false))",
            "`checkpoint.volume` must name one of `volumes` that the learner mounts and may write",
        ),
    )
    def checkpoints_have_a_volume(self) -> None:
        """The learner alone writes the run folder."""
        name = self.checkpoint.volume
        fitting = [volume.name for volume in self.volumes if Role.LEARNER in volume.roles and not volume.read_only]
        if name is not None and name not in fitting:
            raise ValueError(
                f"`checkpoint.volume` must name one of `volumes` that the learner mounts and may write, got {name}; "
                f"there is {', '.join(fitting) or 'none'}"
            )

    @rule(
        Cel(
            "!has(self.algorithm.kl.referenceDecay) || self.learner.precision == 'float32'",
            "`algorithm.kl.referenceDecay` needs `learner.precision: float32`, got {self.learner.precision}: bfloat16 "
            "rounds away what a step adds to an average; use resets",
        ),
    )
    def averages_are_kept_in_float32(self) -> None:
        """Of eight bits of mantissa nothing is left where a hundredth of a small difference is added."""
        precision = self.learner.precision
        if self.algorithm.kl.reference_decay is not None and precision is not Precision.FLOAT32:
            raise ValueError(
                f"`algorithm.kl.referenceDecay` needs `learner.precision: float32`, got {precision}: bfloat16 rounds "
                "away what a step adds to an average; use resets"
            )


class ProRLJob(SpecModel):
    """One training run, on one machine or in a cluster."""

    api_version: Literal["prorl.dev/v1alpha1"]
    """Group and version of this schema."""
    kind: Literal["ProRLJob"]
    """The kind of object."""
    metadata: Metadata
    spec: ProRLJobSpec
