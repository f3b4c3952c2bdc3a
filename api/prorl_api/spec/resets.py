"""`spec.referenceReset`: when the reference is replaced, by what, and who decides."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from prorl_api.spec.base import KEYED_BY_NAME, Cel, SpecModel, rule
from prorl_api.spec.triggers import (
    DEFAULT_TRIGGERS,
    Interval,
    KLSpike,
    Threshold,
    Trigger,
    ValidationDropped,
    ValidationStalled,
)
from prorl_api.spec.values import OptimizerAction, ResetMode, ResetSource

__all__ = [
    "DEFAULT_TRIGGERS",
    "Interval",
    "KLSpike",
    "ReferenceResetSpec",
    "Threshold",
    "Trigger",
    "ValidationDropped",
    "ValidationStalled",
]
DEFAULT_COOLDOWN = 100


class ReferenceResetSpec(SpecModel):
    """Reference resets: the third ingredient of prolonged training.

    ProRL resets by hand "when validation performance stagnates or degrades" and gives no numbers (section 3.3,
    appendix E); the triggers here are ours. docs/resets.md says why the defaults are what they are.
    """

    mode: ResetMode = ResetMode.AUTOMATIC
    optimizer: OptimizerAction = OptimizerAction.CLEAR
    source: ResetSource = ResetSource.CURRENT
    cooldown_steps: Annotated[int, Field(ge=0, le=1_000_000)] = DEFAULT_COOLDOWN
    """Steps after a reset, and from the start, in which no trigger fires."""
    warmup_steps: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    """Steps from the start in which no trigger fires, where that is to differ from `cooldownSteps`."""
    max_resets: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Once so many resets have been applied, a person's and a stage's included, no trigger fires; unset: no bound."""
    expires_after_steps: Annotated[int, Field(ge=1, le=1_000_000)] = 50
    """A proposed reset that is not applied within so many steps of its evidence expires."""
    triggers: Annotated[tuple[Trigger, ...], Field(max_length=32, json_schema_extra=KEYED_BY_NAME)] = DEFAULT_TRIGGERS
    """Any of them proposes a reset; the first that fires gives the evidence. Empty: only people reset."""

    @rule
    def trigger_names_are_unique(self) -> None:
        """Records name their trigger."""
        names = [trigger.name for trigger in self.triggers]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"trigger names must be unique, got {', '.join(repeated)} more than once")

    @rule(
        Cel(
            "self.triggers.size() > 0 || !(self.mode in ['approve', 'dry-run'])",
            "`mode: {self.mode}` without `triggers` has no effect; add a trigger or use `disabled`",
        ),
    )
    def modes_need_triggers(self) -> None:
        """Without triggers nothing would ever be proposed; resets by hand need mode `disabled` at most."""
        if not self.triggers and self.mode in (ResetMode.APPROVE, ResetMode.DRY_RUN):
            raise ValueError(f"`mode: {self.mode}` without `triggers` has no effect; add a trigger or use `disabled`")
