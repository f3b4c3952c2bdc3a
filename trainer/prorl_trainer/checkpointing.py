"""When a checkpoint is written, and what may be removed once it is."""

from __future__ import annotations

import time

from prorl_api.spec.run import CheckpointSpec
from prorl_api.wire.learner import LearnerPhase
from prorl_trainer.clock import StepClock
from prorl_trainer.parts import LearnerParts
from prorl_trainer.progress import beats_while_writing
from prorl_trainer.storage.checkpoints import LearnerState


class Checkpointer:
    """Writes the checkpoints of one attempt."""

    def __init__(self, parts: LearnerParts, clock: StepClock) -> None:
        """Begin to count the minutes."""
        self._parts = parts
        self._clock = clock
        self._written_at = time.monotonic()

    def is_due(self, settings: CheckpointSpec, state: LearnerState) -> bool:
        """Tell whether steps or minutes ask for one."""
        by_steps = state.step > 0 and state.step % settings.every_steps == 0
        return by_steps or (time.monotonic() - self._written_at) / 60 >= settings.every_minutes

    def write(self, settings: CheckpointSpec, state: LearnerState) -> None:
        """Write a checkpoint, unless the newest one holds this very state; then export the best policy if asked to."""
        current = self._parts.checkpoints.current()
        if current is None or self._parts.checkpoints.read_state(current) != state:
            self._write(settings, state)
        if settings.export_best:
            with self._clock.part("checkpointing"):
                self._parts.best_export.bring_up_to_date(state.best.digest if state.best is not None else None)

    def _write(self, settings: CheckpointSpec, state: LearnerState) -> None:
        parts = self._parts
        parts.shared_status.enter(LearnerPhase.CHECKPOINTING)
        watched = beats_while_writing(parts.checkpoints.attempt_folder, parts.shared_status.beat)
        with self._clock.part("checkpointing"), watched:
            written = parts.checkpoints.write(state, parts.engine.save)
            parts.journal.forget(state.step)
            kept = parts.checkpoints.prune(settings.keep, written)
            parts.references.prune({digest for other in kept for digest in other.digests})
        self._written_at = time.monotonic()
        parts.shared_status.update(last_checkpoint_step=state.step, last_checkpoint_at=time.time())
