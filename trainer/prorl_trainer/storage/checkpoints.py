"""Checkpoints and the `CURRENT` pointer.

A checkpoint is written to `step-N.partial`, fsynced and renamed; then `CURRENT` is moved to it, forward only. A torn
checkpoint therefore never has its final name, and `CURRENT` never names one. It is captured at a step boundary and
written in a thread, while training goes on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from prorl_api.errors import CheckpointError, StaleAttemptError
from prorl_api.wire.base import WireModel
from prorl_api.wording import reason_of
from prorl_trainer.storage.durable import explained, fresh_folder, publish_folder, write_file
from prorl_trainer.storage.fence import Fence

_STATE_FILE = "checkpoint.json"
_ENGINE_FOLDER = "engine"


class LineageEntry(WireModel):
    """One reference that was in force."""

    digest: str
    since_step: int
    """Completed steps when it became the reference."""
    reset_uid: str | None = None
    """None for the first one."""
    trigger: str = ""


class BestPolicy(WireModel):
    """The policy with the best validation accuracy."""

    step: int
    accuracy: float
    digest: str
    """Its weights are kept beside the references."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerState:
    """Everything about a run that is not a tensor. With the engine's folder it is a checkpoint."""

    step: int
    """Training steps completed."""
    attempt: int
    seed: int
    next_prompt_index: int
    optimizer_steps_since_clear: int
    """For the warm-up."""
    stage: str
    reference_digest: str
    lineage: tuple[LineageEntry, ...]
    applied_resets: tuple[str, ...] = ()
    """Uids, in order."""
    best: BestPolicy | None = None
    spec_revision: str
    """sha256 of the spec's canonical JSON."""
    engine: str
    precision: str
    num_ranks: int
    zero_stage: int | None = None
    """With engine `deepspeed`, whose stages write different files; None in checkpoints of before it was noted."""
    not_finite_in_a_row: int = 0
    """Minibatches up to here that were skipped, one after the other, because they were not finite."""
    unrecorded: dict[str, float] | None = None
    """Metrics of `step` as far as they go, while its line in `metrics.jsonl`, and its validation, are still to come."""

    @property
    def recorded_step(self) -> int:
        """The last step whose line in `metrics.jsonl` stands; -1: none does."""
        return self.step if self.unrecorded is None else self.step - 1

    @property
    def digests(self) -> set[str]:
        """The kept weights that it needs."""
        return {self.reference_digest} | ({self.best.digest} if self.best else set())


_STATE = TypeAdapter(LearnerState)


class Current(WireModel):
    """`CURRENT`: the checkpoint that the run continues from."""

    attempt: int
    step: int

    def is_behind(self, other: Current) -> bool:
        """Tell whether moving to `other` is a move forward: a later attempt always is, else a later or equal step."""
        return (other.attempt, other.step) >= (self.attempt, self.step)


class CheckpointStore:
    """Reads and writes the checkpoints of one attempt."""

    def __init__(self, fence: Fence) -> None:
        """For the fence's attempt."""
        self._fence = fence
        self._run = fence.run

    def current(self) -> Current | None:
        """Return what `CURRENT` names; None in a new run.

        Raises:
            CheckpointError: `CURRENT` cannot be understood.
        """
        try:
            return Current.model_validate_json(self._run.current.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValidationError, UnicodeDecodeError) as error:
            raise CheckpointError(
                f"{self._run.current} is damaged ({reason_of(error)}); name the newest folder "
                'attempts/K/checkpoints/step-N in it: {"attempt": K, "step": N}'
            ) from error

    def folder(self, current: Current) -> Path:
        """Return the checkpoint's folder: while the same step is written again it bears another name for a moment."""
        final = self._run.checkpoint(current.attempt, current.step)
        return final if final.exists() or not _replaced(final).exists() else _replaced(final)

    def read_state(self, current: Current) -> LearnerState:
        """Return the state of a checkpoint.

        Raises:
            CheckpointError: It is missing or damaged.
        """
        path = self.folder(current) / _STATE_FILE
        try:
            return _STATE.validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValidationError, UnicodeDecodeError) as error:
            raise CheckpointError(f"checkpoint {path.parent} cannot be read: {reason_of(error)}") from error

    def engine_folder(self, current: Current) -> Path:
        """Return where the engine's part of a checkpoint lies."""
        return self.folder(current) / _ENGINE_FOLDER

    @property
    def attempt_folder(self) -> Path:
        """Everything that this attempt writes."""
        return self._run.attempt(self._fence.attempt)

    def begin(self, state: LearnerState, begin_save: Callable[[Path], Callable[[], object]]) -> Callable[[], Current]:
        """Capture a checkpoint.

        Args:
            state: What is no tensor.
            begin_save: Captures the engine; what it returns writes it into the folder that it was given.

        Returns:
            What writes the checkpoint and moves `CURRENT` to it, from any thread. It raises StaleAttemptError if a
            newer attempt has begun meanwhile, and CheckpointError if the file system refuses; the previous checkpoint
            is intact then.

        Raises:
            StaleAttemptError: A newer attempt has begun.
            CheckpointError: The file system refuses; the previous checkpoint is intact.
        """
        current = Current(attempt=self._fence.attempt, step=state.step)
        final = self._run.checkpoint(current.attempt, current.step)
        unfinished = final.with_name(final.name + ".partial")
        self._fence.check()
        with explained(final):
            (fresh_folder(unfinished) / _ENGINE_FOLDER).mkdir()
        save_engine = begin_save(unfinished / _ENGINE_FOLDER)

        def finish() -> Current:
            with explained(final):
                try:
                    save_engine()
                    (unfinished / _STATE_FILE).write_bytes(_STATE.dump_json(state, indent=2))
                except (RuntimeError, OSError) as error:  # torch reports a full disk, and a lost rank, as RuntimeError
                    size = sum(file.stat().st_size for file in unfinished.rglob("*") if file.is_file())
                    shutil.rmtree(unfinished, ignore_errors=True)
                    raise OSError(f"{error} (after {size} bytes)") from error
                if final.exists():  # the same step again, as when a reset follows a periodic checkpoint
                    final.rename(_replaced(final))
                publish_folder(unfinished, final)
                shutil.rmtree(_replaced(final), ignore_errors=True)
            self._move_current(current)
            return current

        return finish

    def write(self, state: LearnerState, save_engine: Callable[[Path], object]) -> Current:
        """Write a checkpoint and move `CURRENT` to it; raises what `begin` and what it returns raise."""
        return self.begin(state, lambda folder: partial(save_engine, folder))()

    def _move_current(self, target: Current) -> None:
        self._fence.check()
        now = self.current()
        if now is not None and not now.is_behind(target):
            raise StaleAttemptError(f"CURRENT is at attempt {now.attempt} step {now.step}, not moving back to {target}")
        write_file(self._run.current, target.model_dump_json())

    def prune(self, keep: int, current: Current) -> list[LearnerState]:
        """Remove all but the newest `keep` checkpoints of the run, never the current one; and partial ones.

        Returns:
            The states of those that are left.

        Raises:
            StaleAttemptError: A newer attempt has begun.
        """
        self._fence.check()
        found: list[Current] = []
        for folder in self._run.attempts.glob("*/checkpoints/step-*"):
            attempt, name = folder.parent.parent.name, folder.name
            if name.endswith((".partial", ".replaced")):
                if folder.parent.parent.name != str(self._fence.attempt) or name.endswith(".replaced"):
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            found.append(Current(attempt=int(attempt), step=int(name.removeprefix("step-"))))
        kept = {*sorted(found, key=lambda item: (item.attempt, item.step))[-keep:], current}
        for old in set(found) - kept:
            shutil.rmtree(self.folder(old), ignore_errors=True)
        states: list[LearnerState] = []
        for item in kept:
            with suppress(CheckpointError):  # an old damaged one needs nothing any more
                states.append(self.read_state(item))
        return states


def _replaced(final: Path) -> Path:
    return final.with_name(final.name + ".replaced")
