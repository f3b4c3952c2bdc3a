"""When a checkpoint is written, and what may be removed once it is.

It is captured between two steps, into host memory, and a thread writes it while the next step goes on. There is one at
a time: the next one waits for it, and so does whatever must not happen before it is on the disk. Until the main thread
has taken it up, at a step boundary, the run holds what the checkpoint before it needs, the journal first of all: a kill
in between loses nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from prorl_api.spec.run import CheckpointSpec
from prorl_api.wire.learner import LearnerPhase
from prorl_trainer.averaged_reference import with_kept_average
from prorl_trainer.clock import StepClock
from prorl_trainer.parts import LearnerParts
from prorl_trainer.progress import beats_while_writing
from prorl_trainer.storage.checkpoints import Current, LearnerState

_logger = logging.getLogger(__name__)


class Checkpointer:
    """Writes the checkpoints of one attempt. Its methods are the main thread's."""

    def __init__(self, parts: LearnerParts, clock: StepClock) -> None:
        """Begin to count the minutes."""
        self._parts = parts
        self._clock = clock
        self._begun_at = time.monotonic()
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._writing: tuple[Future[Current], LearnerState] | None = None

    def is_due(self, settings: CheckpointSpec, state: LearnerState) -> bool:
        """Tell whether steps or minutes ask for one."""
        by_steps = state.step > 0 and state.step % settings.every_steps == 0
        return by_steps or (time.monotonic() - self._begun_at) / 60 >= settings.every_minutes

    def begin(self, settings: CheckpointSpec, state: LearnerState) -> LearnerState:
        """Capture a checkpoint and have it written, unless the newest one holds this very state.

        Returns:
            The state, which names the reference that was kept for it if that is an average: that much is written before
            the next step.

        Raises:
            CheckpointError: This one cannot be begun, or the one before it could not be written.
            StaleAttemptError: A newer attempt has begun.
        """
        self.finish(settings, state)
        current = self._parts.checkpoints.current()
        if current is not None and self._parts.checkpoints.read_state(current) == state:
            self._export_best(settings, state)
            return state
        self._parts.shared_status.enter(LearnerPhase.CHECKPOINTING)
        with self._clock.part("checkpointing"):
            state = with_kept_average(state, self._parts)
            write = self._parts.checkpoints.begin(state, self._parts.engine.begin_save)
        self._begun_at = time.monotonic()
        self._writing = self._writer.submit(self._written, write), state
        return state

    def finish(self, settings: CheckpointSpec, state: LearnerState) -> None:
        """Wait for the checkpoint that is being written, if there is one, and take it up; `state` is the run's now.

        Raises:
            CheckpointError: It could not be written; the one before it is intact.
            StaleAttemptError: A newer attempt has begun.
        """
        if self._writing is not None and not self._writing[0].done():
            self._parts.shared_status.enter(LearnerPhase.CHECKPOINTING, "waiting until it is written")
            watched = beats_while_writing(self._parts.checkpoints.attempt_folder, self._parts.shared_status.beat)
            with self._clock.part("checkpointing"), watched:
                self._writing[0].exception()
        self.take_up(settings, state)

    def take_up(self, settings: CheckpointSpec, state: LearnerState) -> None:
        """Remove what is needed no more if a checkpoint is written by now, and export the best policy if asked to.

        Raises what `finish` raises.
        """
        if self._writing is None or not self._writing[0].done():
            return
        (writing, captured), self._writing = self._writing, None
        written = writing.result()
        self._parts.journal.forget(captured.recorded_step)  # what a stop interrupted goes on from there
        kept = self._parts.checkpoints.prune(settings.keep, written)
        self._parts.references.prune(state.digests.union(*(other.digests for other in kept)))
        self._export_best(settings, captured)

    def close(self) -> None:
        """Let what is being written come to its end, as a run ends that fails of something else."""
        if self._writing is not None:
            error = self._writing[0].exception()
            if error is not None:
                _logger.error("a checkpoint could not be written either: %s", error)
        self._writer.shutdown()

    def _export_best(self, settings: CheckpointSpec, state: LearnerState) -> None:
        """Export the best policy that the newest checkpoint, which holds `state`, knows of."""
        if settings.export_best:
            with self._clock.part("checkpointing"):
                self._parts.best_export.bring_up_to_date(state.best.digest if state.best is not None else None)

    def _written(self, write: Callable[[], Current]) -> Current:
        """Write a checkpoint; in the writer's thread."""
        started = time.monotonic()
        current = write()
        self._parts.shared_status.update(last_checkpoint_step=current.step, last_checkpoint_at=time.time())
        seconds = round(time.monotonic() - started, 2)
        _logger.info("checkpoint written", extra={"step": current.step, "seconds": seconds})
        return current
