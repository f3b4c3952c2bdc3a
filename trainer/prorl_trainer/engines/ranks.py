"""Several ranks behind one engine: rank 0 runs the loop, the others repeat its engine calls.

Rank 0 broadcasts the name and arguments of each call before making it; the others sit in `follow`. With one rank
there is nothing to broadcast.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prorl_api.spec.algorithm import AlgorithmSpec
from prorl_trainer.algorithm.types import Batch
from prorl_trainer.engines.engine import Sums, TrainingEngine

_PREPARE = "prepare"
_COLLECTIVE_TIMEOUT = datetime.timedelta(hours=2)
"""Followers wait in a broadcast while rank 0 samples, which may take an hour; hangs are the watchdog's business."""


def join_ranks(device: torch.device) -> None:
    """Initialise `torch.distributed` from the usual variables; a process without them is a world of one."""
    own_gpu = device if device.type == "cuda" else None
    if "RANK" not in os.environ:
        store = torch.distributed.HashStore()  # type: ignore[attr-defined]
        torch.distributed.init_process_group(
            "nccl" if own_gpu else "gloo", store=store, rank=0, world_size=1, device_id=own_gpu
        )
        os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
        return
    torch.distributed.init_process_group(
        "cuda:nccl,cpu:gloo" if own_gpu else "gloo", timeout=_COLLECTIVE_TIMEOUT, device_id=own_gpu
    )


class RankedEngine:
    """Rank 0's view of the engine of all ranks."""

    def __init__(self, engine: TrainingEngine) -> None:
        """Speak for `engine` and the same engine on every other rank."""
        self._engine = engine
        self._alone = not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1

    def prepare(self, batch: Batch, with_reference: bool = True) -> Sums:
        """See `TrainingEngine.prepare`. Each rank is sent its own packs."""
        if not self._alone:
            self._announce(_PREPARE, with_reference)
            _scatter([batch.of_rank(rank) for rank in range(torch.distributed.get_world_size())])
        return self._engine.prepare(batch, with_reference)

    def update(self, minibatch: int, algorithm: AlgorithmSpec, learning_rate: float) -> Sums:
        """See `TrainingEngine.update`."""
        self._announce("update", minibatch, algorithm, learning_rate)
        return self._engine.update(minibatch, algorithm, learning_rate)

    def logprobs(self, batch: Batch) -> list[float]:
        """See `TrainingEngine.logprobs`."""
        self._announce("logprobs", batch)
        return self._engine.logprobs(batch)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """See `TrainingEngine.weights`; must be iterated to the end."""
        self._announce("export_weights")
        return self._engine.weights()

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """See `TrainingEngine.shapes`."""
        return self._engine.shapes()

    def served_weights(self, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
        """See `TrainingEngine.served_weights`; must be iterated to the end."""
        self._announce("export_weights")
        return self._engine.served_weights(dtype)

    def reference_from_policy(self) -> None:
        """See `TrainingEngine.reference_from_policy`."""
        self._announce("reference_from_policy")
        self._engine.reference_from_policy()

    def reference_from_file(self, file: Path) -> None:
        """See `TrainingEngine.reference_from_file`."""
        self._announce("reference_from_file", file)
        self._engine.reference_from_file(file)

    def clear_optimizer(self) -> None:
        """See `TrainingEngine.clear_optimizer`."""
        self._announce("clear_optimizer")
        self._engine.clear_optimizer()

    def save(self, folder: Path) -> None:
        """See `TrainingEngine.save`."""
        self._announce("save", folder)
        self._engine.save(folder)

    def load(self, folder: Path) -> None:
        """See `TrainingEngine.load`."""
        self._announce("load", folder)
        self._engine.load(folder)

    def on_progress(self, action: Callable[[], object]) -> None:
        """See `TrainingEngine.on_progress`; of this rank."""
        self._engine.on_progress(action)

    def close(self) -> None:
        """Let the other ranks go."""
        self._announce(None)

    def _announce(self, name: str | None, *arguments: Any) -> None:
        if not self._alone:
            torch.distributed.broadcast_object_list([(name, arguments)], src=0)


def follow(engine: TrainingEngine) -> None:
    """Return what a rank other than 0 does: repeat rank 0's calls until it lets go."""
    while True:
        message: list[Any] = [None]
        torch.distributed.broadcast_object_list(message, src=0)
        name, arguments = message[0]
        if name is None:
            return
        if name == _PREPARE:
            arguments = (_scatter(None), *arguments)
        getattr(engine, name)(*arguments)


def _scatter(batches: list[Batch] | None) -> Batch:
    """Return the batch of this rank of those that rank 0 gives; None on the others."""
    received: list[Any] = [None]
    torch.distributed.scatter_object_list(received, batches, src=0)
    batch: Batch = received[0]
    return batch
