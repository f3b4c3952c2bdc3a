"""Reference resets at a step boundary (ProRL section 2.3.1): reference := policy, optimizer cleared or kept.

The order makes them survive a kill: keep the new reference by its digest, write the intent, change the engine, change
the state; the caller then writes a checkpoint and acknowledges.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from prorl_api.spec.job import ProRLJobSpec
from prorl_api.spec.merge import stage_at
from prorl_api.spec.values import OptimizerAction, ResetSource
from prorl_api.wire.learner import LearnerPhase, ResetCommand
from prorl_trainer.averaged_reference import with_kept_average
from prorl_trainer.parts import LearnerParts
from prorl_trainer.storage.checkpoints import LearnerState, LineageEntry

_logger = logging.getLogger(__name__)
Applied = tuple[ResetCommand, str, str]
"""Command, digest of the reference before, and after."""


def enter_stage(spec: ProRLJobSpec, state: LearnerState, parts: LearnerParts) -> LearnerState:
    """Note a stage that begins with the next step, and ask for its reset if it wants one."""
    stage = stage_at(spec, state.step + 1)
    if stage is None or stage.name == state.stage:
        return state
    if stage.reset_reference_on_entry:
        uid = f"stage-{stage.name}"
        command = ResetCommand(
            uid=uid,
            name=uid,
            source=spec.reference_reset.source,
            optimizer=spec.reference_reset.optimizer,
            trigger=f"stage {stage.name} begins",
        )
        if uid not in state.applied_resets:
            parts.reset_queue.post(command, step=state.step)
    parts.shared_status.update(stage=stage.name)
    return replace(state, stage=stage.name)


def apply_resets(state: LearnerState, parts: LearnerParts) -> tuple[LearnerState, list[Applied]]:
    """Apply every reset that is due at this boundary."""
    applied: list[Applied] = []
    for command in parts.reset_queue.due(state.step):
        if parts.reset_queue.supersede(command, _last_reset_step(state)):
            continue
        if command.source is ResetSource.BEST and state.best is None:
            parts.reset_queue.fail(
                command, "no validation has run yet, so there is no best policy; use source `current`"
            )
            continue
        parts.shared_status.enter(LearnerPhase.RESETTING, command.name)
        state = with_kept_average(state, parts)
        before = state.reference_digest
        state = _apply(command, state, parts)
        applied.append((command, before, state.reference_digest))
        _logger.info(
            "reference reset",
            extra={
                "step": state.step,
                "reset": command.name,
                "reason": command.trigger,
                "digest": state.reference_digest[:16],
            },
        )
    return state, applied


def _last_reset_step(state: LearnerState) -> int | None:
    """Return the step of the last reset in this run; a lineage taken over from another run counts other steps."""
    own = [entry.since_step for entry in state.lineage if entry.reset_uid in state.applied_resets]
    return own[-1] if own else None


def _apply(command: ResetCommand, state: LearnerState, parts: LearnerParts) -> LearnerState:
    if command.source is ResetSource.BEST:
        assert state.best is not None
        digest = state.best.digest
    else:
        digest = parts.keep_policy(state.step)
    parts.reset_queue.intend(command, step=state.step, before=state.reference_digest, after=digest)
    parts.engine.reference_from_file(parts.references.file(digest))
    optimizer_steps = state.optimizer_steps_since_clear
    if command.optimizer is OptimizerAction.CLEAR:
        parts.engine.clear_optimizer()
        optimizer_steps = 0
    entry = LineageEntry(digest=digest, since_step=state.step, reset_uid=command.uid, trigger=command.trigger)
    parts.shared_status.update(reference_digest=digest)
    return replace(
        state,
        optimizer_steps_since_clear=optimizer_steps,
        reference_digest=digest,
        lineage=(*state.lineage, entry),
        applied_resets=(*state.applied_resets, command.uid),
    )
