"""The errors of the project, by what a caller can do about them.

A user's mistake is permanent until the user acts; a transient error is worth another try; a judge's failure is
never a score; a loss that is not finite is never applied, and several in a row stop the run. Messages say what
happened, what was got, what was wanted, and the remedy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class ProRLError(Exception):
    """Base of every error that this project raises on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing wrong with a manifest.

    Attributes:
        path: Where, in the manifest's own spelling, as `spec.rollout.topP` or `spec.data.sources[1].weight`.
        got: What stands there, shortened.
        want: What would be accepted, or what to do about it.
    """

    path: str
    got: str
    want: str

    def __str__(self) -> str:
        return f"{self.path}: got {self.got}; {self.want}"


class SpecError(ProRLError):
    """A manifest that cannot be run. Carries every fault found, not only the first."""

    def __init__(self, faults: Sequence[Fault], *, source: str = "the manifest") -> None:
        self.faults = tuple(faults)
        self.source = source
        count = f"{len(self.faults)} fault{'s' if len(self.faults) != 1 else ''}"
        super().__init__("\n".join([f"{source} has {count}:", *(f"  {fault}" for fault in self.faults)]))


class TransientError(ProRLError):
    """Worth trying again: a peer is starting, busy or gone for a moment."""

    def __init__(self, message: str, *, retry_after_seconds: float = 1.0) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class RolloutError(ProRLError):
    """A rollout could not be had from any server."""


class RewardError(ProRLError):
    """The judge failed. Never a score of zero: the rollout is retried, then masked and counted."""


class WeightsError(ProRLError):
    """Weights that do not match what was announced: wrong digest, missing parameter, stale id."""


class EngineMismatchError(ProRLError):
    """Rollout engine and learner give the same tokens other probabilities than rounding explains."""


class StaleAttemptError(ProRLError):
    """A newer attempt of the same run exists; this one may no longer write, publish or acknowledge."""


class CheckpointError(ProRLError):
    """A checkpoint could not be written or read; the previous one is intact."""


class NoSignalError(ProRLError):
    """Sampling after sampling found no group with a signal: there is nothing to learn from."""


class MasteredError(NoSignalError):
    """There is nothing to learn because every sampled group was all right: the good end of a run."""


class NonFiniteError(ProRLError):
    """The losses or gradients of several minibatches in a row are not finite. None was applied: the weights are
    intact."""

    def __init__(self, message: str, *, step: int) -> None:
        self.step = step
        super().__init__(f"step {step}: {message}")


class ExitCode(IntEnum):
    """Exit codes of the long-running components, so that a supervisor knows whether a restart can help."""

    OK = 0
    """Finished, or stopped on request with a checkpoint."""
    FAILED = 1
    """Unexpected; a restart may help."""
    BAD_SPEC = 64
    """The manifest, model or data cannot work; a restart cannot help."""
    NO_SIGNAL = 65
    """Nothing to learn from, sampling after sampling; a restart cannot help."""
    NON_FINITE = 66
    """Minibatch after minibatch was not finite; a restart from the same state would find the same."""
    STALE_ATTEMPT = 67
    """A newer attempt owns the run."""
    STORAGE = 68
    """The run folder cannot be written; a restart cannot help until there is room."""
    MASTERED = 69
    """Every sampled group is all right: the run has succeeded before its last step."""

    ENGINE_MISMATCH = 70
    """Rollout engine and learner compute different models; a restart cannot help."""

    @property
    def restart_can_help(self) -> bool:
        """Whether a supervisor should start the component again."""
        return self is ExitCode.FAILED
