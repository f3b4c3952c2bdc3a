"""The one interface of all trackers, and what they are given to begin with."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from prorl_api.errors import ProRLError
from prorl_api.spec.tracking import Tracker as TrackerSpec
from prorl_trainer.tracking.timeline import Row


class TrackerError(ProRLError):
    """A tracker cannot be told anything, with the remedy."""


class MissingPackageError(TrackerError):
    """Its library is not installed where the tracker runs; trying again cannot help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedRun:
    """What a tracker knows of a run from the start."""

    uid: str
    """Identity over all attempts: the same uid continues the same run of the tracker."""
    job: str
    """Name that people see."""
    folder: Path
    """Where the tracker may keep files; made before it opens."""
    settings: Mapping[str, str | int | float | bool]
    """The manifest's spec, flat, under dotted paths."""


class Tracker(Protocol):
    """Something that shows a run's steps, and is told those that no later attempt can do again.

    Methods may take long and may raise anything: nobody waits for them.
    """

    def open(self, run: TrackedRun, told_step: int) -> str:
        """Begin or continue the run; say where to look at it.

        Args:
            run: The run.
            told_step: Last step that it was told before; -1: none.

        Raises:
            TrackerError: It cannot, with the remedy.
        """

    def last_step(self) -> int | None:
        """Return the last step that it holds, -1 for none; None where it cannot tell. Asked after `open`."""

    def write(self, rows: Sequence[Row]) -> None:
        """Take rows, in order; they are safe once it returns."""

    def close(self, *, is_done: bool) -> None:
        """End for now, or for good once the run is done."""


@runtime_checkable
class LiveTracker(Tracker, Protocol):
    """One that can take steps back, and is therefore told every step at once."""

    def rewind(self, step: int) -> None:
        """Take back a step and all after it."""


def make_tracker(spec: TrackerSpec) -> Tracker:
    """Return the tracker of a spec; its library is imported when it opens."""
    from prorl_trainer.tracking.mlflow_tracker import MlflowTracker
    from prorl_trainer.tracking.tensorboard_tracker import TensorBoardTracker
    from prorl_trainer.tracking.trackio_tracker import TrackioTracker
    from prorl_trainer.tracking.wandb_tracker import WandbTracker

    if spec.wandb is not None:
        return WandbTracker(spec.wandb)
    if spec.mlflow is not None:
        return MlflowTracker(spec.mlflow)
    if spec.trackio is not None:
        return TrackioTracker(spec.trackio)
    return TensorBoardTracker()


def library(name: str, extra: str) -> Any:
    """Import a tracker's library.

    Raises:
        MissingPackageError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPackageError(
            f"{error}; install it beside the learner: pip install 'prorl[{extra}]', or make trackers"
        ) from error


def is_set(*variables: str) -> bool:
    """Tell whether one of the environment variables has a value."""
    return any(os.environ.get(name) for name in variables)
