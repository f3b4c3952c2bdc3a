"""What a checkpoint holds of an engine: masters and moments by parameter, in files that any number of ranks can read.

Each rank writes what it holds, as runs of each parameter's entries in row-major order, to one safetensors file. A rank
that reads takes the entries that it needs out of all of them, wherever the ranks that wrote had cut. So neither the
engine's sharding nor the number of ranks is part of a checkpoint, and no parameter is ever gathered for one.

Float32 throughout: the policy's own weights are the masters, rounded to its precision. There is no random state to
keep: nothing random is left in an engine. What is captured lies in host memory, and is written while training goes on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from prorl_api.errors import CheckpointError

MASTER = "master"
MOMENTS = ("exp_avg", "exp_avg_sq")
"""By the names that Adam's state has in PyTorch."""
_FORMAT = "prorl-runs-1"
_FILES = "rank-*.safetensors"
_OLDER = ("plain.pt", "state")
"""What earlier versions wrote: PyTorch's pickles, and DeepSpeed's folder of one world."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run of a parameter's entries that a rank holds."""

    name: str
    """The parameter's, as in `named_parameters` of the model."""
    shape: tuple[int, ...]
    """Of the whole parameter."""
    start: int
    """First entry, in row-major order."""
    values: Mapping[str, Tensor]
    """The engine's own memory, 1-D float32, by `MASTER` and, once there are moments, `MOMENTS`; all of one length."""
    step: int
    """Optimizer steps that the moments have seen; 0: they are zero."""

    @property
    def length(self) -> int:
        """Entries in it."""
        return self.values[MASTER].numel()


class Snapshot:
    """A copy, in host memory, of what one rank puts into a checkpoint."""

    def __init__(self, runs: Iterable[Run], rank: int, num_ranks: int) -> None:
        """Copy runs; none of a parameter comes twice, and no entry comes from two ranks."""
        self._file = f"rank-{rank:05}-of-{num_ranks:05}.safetensors"
        self._tensors: dict[str, Tensor] = {}
        described: dict[str, Any] = {}
        for run in runs:
            kept = (MASTER, *MOMENTS) if run.step else (MASTER,)
            for part in kept:
                self._tensors[f"{part}/{run.name}"] = run.values[part].detach().to("cpu", copy=True)
            described[run.name] = {"shape": run.shape, "start": run.start, "step": run.step}
        self._metadata = {"format": _FORMAT, "ranks": str(num_ranks), "runs": json.dumps(described)}

    def write(self, folder: Path) -> None:
        """Write it to this rank's file in an existing folder, and give its memory back.

        Raises:
            OSError: The file system refuses.
        """
        tensors, self._tensors = self._tensors, {}
        try:
            save_file(tensors, folder / self._file, metadata=self._metadata)
        except SafetensorError as error:  # it wraps the operating system's error
            raise OSError(str(error)) from error


@dataclass(frozen=True, slots=True)
class _Piece:
    start: int
    stop: int
    file: Any
    """An open safetensors file."""


class StoredState:
    """An engine's part of a checkpoint, read by ranges; nothing is read before it is asked for."""

    def __init__(self, folder: Path) -> None:
        """Open the files of all ranks that wrote it.

        Raises:
            CheckpointError: They are not all there, damaged, or of an earlier version; with the remedy.
        """
        self._folder = folder
        self.shapes: dict[str, tuple[int, ...]] = {}
        """Of the whole parameters, by name."""
        self._steps: dict[str, int] = {}
        self._pieces: dict[str, list[_Piece]] = {}
        files = sorted(folder.glob(_FILES))
        if not files:
            raise self._unreadable()
        for file in files:
            try:
                self._add(safe_open(file, framework="pt"), len(files))
            except (SafetensorError, OSError, KeyError, ValueError) as error:
                raise CheckpointError(f"{file} cannot be read ({error}); {_REMEDY}") from error

    def _add(self, stored: Any, num_files: int) -> None:
        metadata = stored.metadata() or {}
        if metadata.get("format") != _FORMAT:
            raise ValueError(f"its format is {metadata.get('format')}, wanted {_FORMAT}")
        if int(metadata["ranks"]) != num_files:
            raise CheckpointError(
                f"{self._folder} has the files of {num_files} ranks, and {metadata['ranks']} wrote it; bring the files "
                "of every rank together in one folder, or take another checkpoint (--checkpoint best is one file)"
            )
        for name, described in json.loads(metadata["runs"]).items():
            start, (length,) = int(described["start"]), stored.get_slice(f"{MASTER}/{name}").get_shape()
            self.shapes[name] = tuple(described["shape"])
            self._steps[name] = max(self._steps.get(name, 0), int(described["step"]))
            self._pieces.setdefault(name, []).append(_Piece(start, start + length, stored))

    def step(self, name: str) -> int:
        """Return how many optimizer steps the moments of a parameter have seen."""
        return self._steps[name]

    def read(self, part: str, name: str, start: int, length: int) -> Tensor:
        """Return entries of a parameter's master or moment: [length], float32, in host memory.

        Raises:
            CheckpointError: Not all of them were written.
        """
        found, stop, covered = torch.empty(length), start + length, 0
        for piece in self._pieces.get(name, ()):
            low, high = max(start, piece.start), min(stop, piece.stop)
            if low < high:
                rows = piece.file.get_slice(f"{part}/{name}")
                found[low - start : high - start] = rows[low - piece.start : high - piece.start]
                covered += high - low
        if covered != length:
            raise CheckpointError(f"{self._folder} holds {covered} of {length} entries of {name}; {_REMEDY}")
        return found

    def whole(self, name: str) -> Tensor:
        """Return a parameter's master in its shape."""
        shape = self.shapes[name]
        return self.read(MASTER, name, 0, torch.Size(shape).numel()).reshape(shape)

    def _unreadable(self) -> CheckpointError:
        older = next((name for name in _OLDER if (self._folder / name).exists()), None)
        if older is None:
            return CheckpointError(f"{self._folder} holds no {_FILES}; {_REMEDY}")
        return CheckpointError(
            f"{self._folder} was written by an earlier version ({older}), in a form that is read no more; continue the "
            "run with the version that wrote it, or begin a new one with initFrom and checkpoint: best, which is whole "
            "weights"
        )


_REMEDY = "copy the run again, or take another checkpoint: take --checkpoint best, which is one file, last or step-N"


@torch.no_grad()
def restore(runs: Iterable[Run], stored: StoredState) -> None:
    """Overwrite what an engine holds. Its moments must be there, unless the checkpoint has none of the parameter.

    Raises:
        CheckpointError: The checkpoint lacks something.
    """
    for run in runs:
        for part, value in run.values.items():
            if part == MASTER or stored.step(run.name):
                value.copy_(stored.read(part, run.name, run.start, run.length))
            else:
                value.zero_()


def adam_state(parameter: Tensor, step: int = 0) -> dict[str, Tensor]:
    """Return the state that `torch.optim.AdamW(fused=True)` makes for a parameter, with moments of zero."""
    count = torch.tensor(float(step), dtype=torch.float32, device=parameter.device)
    return {"step": count, **{name: torch.zeros_like(parameter) for name in MOMENTS}}


def shared_out(runs: Iterable[Run], rank: int, num_ranks: int) -> Iterator[Run]:
    """Of runs that every rank holds, give those that this rank is to write: about as many entries as any other."""
    held = list(runs)
    total, before = sum(run.length for run in held), 0
    for run in held:
        if (before + run.length // 2) * num_ranks // max(total, 1) == rank:
            yield run
        before += run.length
