"""Which checkpoint of a run is meant by `best`, `last` or `step-N`. Reads, never writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prorl_api.errors import CheckpointError
from prorl_api.run_folder import RunFolder
from prorl_trainer.storage.checkpoints import CheckpointStore, Current, LearnerState
from prorl_trainer.storage.fence import Fence

BEST, LAST, STEP = "best", "last", "step-"


class UnknownCheckpointError(CheckpointError):
    """The run has no such checkpoint."""

    def __init__(self, field: Literal["run", "checkpoint"], got: str, want: str) -> None:
        self.field = field
        self.got = got
        self.want = want
        super().__init__(f"{field} {got}: there is no such checkpoint; {want}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenCheckpoint:
    """A checkpoint that exists."""

    name: str
    """As it was asked for."""
    current: Current
    """Where it lies; of the best policy, the checkpoint that knows of it."""
    state: LearnerState
    best_digest: str | None
    """Of the best policy's weights, beside the references; None: the weights are the engine's files."""

    @property
    def step(self) -> int:
        """Training steps that the policy has seen."""
        best = self.state.best
        return best.step if self.best_digest is not None and best is not None else self.state.step


def choose_checkpoint(run: RunFolder, name: str) -> ChosenCheckpoint:
    """Return the checkpoint of that name.

    Raises:
        UnknownCheckpointError: There is none, with what there is.
        CheckpointError: It cannot be read.
    """
    store = CheckpointStore(Fence(run, run.highest_attempt()))
    current = store.current()
    if current is None:
        raise UnknownCheckpointError("run", str(run.path), "a run folder with at least one checkpoint")
    if name.startswith(STEP):
        current = _of_step(run, name)
    elif name not in (BEST, LAST):
        raise UnknownCheckpointError("checkpoint", name, f"best, last, or {_there_is(run)}")
    state = store.read_state(current)
    if name == BEST and state.best is None:
        raise UnknownCheckpointError("checkpoint", BEST, "a run that has validated, or `last`")
    digest = state.best.digest if name == BEST and state.best is not None else None
    return ChosenCheckpoint(name=name, current=current, state=state, best_digest=digest)


def _of_step(run: RunFolder, name: str) -> Current:
    """Return the newest attempt's checkpoint of a step."""
    text = name.removeprefix(STEP)
    if text.isascii() and text.isdecimal():
        step = int(text)
        folders = run.attempts.glob(f"*/checkpoints/{STEP}{step}")
        attempts = [int(folder.parent.parent.name) for folder in folders]
        if attempts:
            return Current(attempt=max(attempts), step=step)
    raise UnknownCheckpointError("checkpoint", name, f"one of {_there_is(run)}")


def _there_is(run: RunFolder) -> str:
    steps = {
        int(text)
        for folder in run.attempts.glob(f"*/checkpoints/{STEP}*")
        if (text := folder.name.removeprefix(STEP)).isdecimal()
    }
    return ", ".join(f"{STEP}{step}" for step in sorted(steps)) or "none"
