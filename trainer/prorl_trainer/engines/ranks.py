"""Several ranks behind one engine: rank 0 runs the loop, the others repeat its engine calls.

Rank 0 broadcasts the name and arguments of each call before making it; the others sit in `follow`. With one rank
there is nothing to broadcast.

Three process groups. The first moves tensors, between ranks that are all in the same call. In `control` the others
wait for rank 0, however long it samples or waits for a sandbox. In `saving` the threads that write a checkpoint say how
it went, while the first two go on.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prorl_api.spec.algorithm import AlgorithmSpec
from prorl_trainer.algorithm.types import Batch
from prorl_trainer.engines.engine import Sums, TrainingEngine
from prorl_trainer.engines.state_files import Snapshot

_PREPARE = "prepare"
_BEGIN_SAVE = "begin_save"
_COLLECTIVE_TIMEOUT = datetime.timedelta(hours=2)
"""Of a collective on tensors, which all ranks are about to join."""
_PATIENCE = datetime.timedelta(days=20)
"""Of the others with rank 0: hangs are the watchdog's business. In milliseconds it must fit into 31 bits."""


def join_ranks(device: torch.device, timeout: datetime.timedelta = _COLLECTIVE_TIMEOUT) -> None:
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
        "cuda:nccl,cpu:gloo" if own_gpu else "gloo", timeout=timeout, device_id=own_gpu
    )


class Channels:
    """What ranks tell each other beside tensors. Every rank must make one, at the same point."""

    def __init__(self) -> None:
        """Open the two groups. Collective."""
        self._control, self._saving = (torch.distributed.new_group(backend="gloo", timeout=_PATIENCE) for _ in range(2))

    def announce(self, message: Any = None) -> Any:
        """Return rank 0's message on every rank."""
        received = [message]
        torch.distributed.broadcast_object_list(received, src=0, group=self._control)
        return received[0]

    def scatter(self, batches: list[Batch] | None) -> Batch:
        """Return the batch of this rank of those that rank 0 gives; None on the others."""
        received: list[Any] = [None]
        torch.distributed.scatter_object_list(received, batches, src=0, group=self._control)
        batch: Batch = received[0]
        return batch

    def write(self, snapshot: Snapshot, folder: Path) -> None:
        """Write this rank's part of a checkpoint; return when every rank has. In a thread of its own.

        Raises:
            OSError: On rank 0, if any rank could not.
        """
        failure = ""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            snapshot.write(folder)
        except OSError as error:
            failure = f"rank {torch.distributed.get_rank()}: {error}"
        answers: list[Any] | None = [None] * torch.distributed.get_world_size() if _is_first() else None
        torch.distributed.gather_object(failure, answers, dst=0, group=self._saving)
        if failures := [answer for answer in answers or () if answer]:
            raise OSError("; ".join(failures))


class RankedEngine:
    """Rank 0's view of the engine of all ranks."""

    def __init__(self, engine: TrainingEngine) -> None:
        """Speak for `engine` and the same engine on every other rank."""
        self._engine = engine
        alone = not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1
        self._channels = None if alone else Channels()

    @property
    def continues_prefixes(self) -> bool:
        """See `TrainingEngine.continues_prefixes`: the same on every rank."""
        return self._engine.continues_prefixes

    def prepare(self, batch: Batch, with_reference: bool = True) -> Sums:
        """See `TrainingEngine.prepare`. Each rank is sent its own packs."""
        if self._channels is not None:
            self._announce(_PREPARE, with_reference)
            self._channels.scatter([batch.of_rank(rank) for rank in range(torch.distributed.get_world_size())])
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

    @property
    def reference_is_unkept(self) -> bool:
        """See `TrainingEngine.reference_is_unkept`."""
        return self._engine.reference_is_unkept

    def reference_is_kept_in(self, file: Path) -> None:
        """See `TrainingEngine.reference_is_kept_in`."""
        self._engine.reference_is_kept_in(file)

    def average_reference(self, decay: float) -> None:
        """See `TrainingEngine.average_reference`."""
        self._announce("average_reference", decay)
        self._engine.average_reference(decay)

    def reference_weights(self) -> Iterator[tuple[str, Tensor]]:
        """See `TrainingEngine.reference_weights`; must be iterated to the end."""
        self._announce("export_reference")
        return self._engine.reference_weights()

    def clear_optimizer(self) -> None:
        """See `TrainingEngine.clear_optimizer`."""
        self._announce("clear_optimizer")
        self._engine.clear_optimizer()

    def begin_save(self, folder: Path) -> Callable[[], None]:
        """Copy what a checkpoint holds to host memory, on every rank.

        Returns:
            What writes it into the existing `folder`, from any thread, while training goes on. It raises OSError if a
            rank could not write. It must have returned before the next checkpoint begins.
        """
        self._announce(_BEGIN_SAVE, folder)
        snapshot = self._engine.capture()
        if self._channels is None:
            return partial(snapshot.write, folder)
        return partial(self._channels.write, snapshot, folder)

    def save(self, folder: Path) -> None:
        """Write policy and optimizer state into an existing folder."""
        self.begin_save(folder)()

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
        if self._channels is not None:
            self._channels.announce((name, arguments))


def follow(engine: TrainingEngine) -> None:
    """Return what a rank other than 0 does: repeat rank 0's calls until it lets go."""
    channels = Channels()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint") as writer:
        while True:
            name, arguments = channels.announce()
            if name is None:
                return
            if name == _BEGIN_SAVE:
                writer.submit(channels.write, engine.capture(), *arguments)
                continue
            if name == _PREPARE:
                arguments = (channels.scatter(None), *arguments)
            getattr(engine, name)(*arguments)


def _is_first() -> bool:
    return torch.distributed.get_rank() == 0
