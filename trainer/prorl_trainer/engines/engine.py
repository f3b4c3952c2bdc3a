"""The algorithm's tensor side: reference and old log-probabilities, optimizer steps, reference changes.

One `TrainingEngine` a rank. Every method is collective: all ranks call it with the same arguments, each works on
its own packs, and the returned sums are those of all ranks.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from prorl_api.spec.algorithm import AlgorithmSpec
from prorl_trainer.algorithm.losses import pack_loss
from prorl_trainer.algorithm.types import Batch, Pack
from prorl_trainer.engines.backend import Backend, copy_weights
from prorl_trainer.engines.packed_policy import PackedPolicy, pack_inputs
from prorl_trainer.engines.weight_files import read_weights

Sums = dict[str, float]


class TrainingEngine:
    """A policy that can be trained and a reference that can be replaced."""

    def __init__(self, backend: Backend, reference: PackedPolicy) -> None:
        """Own a backend, and a whole copy of the model on the same device as the reference."""
        self._backend = backend
        self._reference = reference.eval().requires_grad_(False)
        self._batch: Batch | None = None
        self._ref_logprobs: list[list[Tensor]] = []
        self._old_logprobs: list[list[Tensor | None]] = []

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0."""
        return self._backend.rank == 0

    def prepare(self, batch: Batch) -> Sums:
        """Take a batch; compute reference and old log-probabilities.

        The first optimizer step needs no old log-probabilities: it is taken by the very policy that they would come
        from, so its own (detached) are the same numbers.

        Returns:
            Seconds of this rank: `seconds_reference`, `seconds_old_logprobs`.
        """
        self._batch = batch
        started = time.monotonic()
        self._ref_logprobs = [
            [self._no_grad(self._reference, pack, batch.temperature) for pack in self._packs(index)]
            for index in range(len(batch.minibatches))
        ]
        middle = self._finished()
        self._old_logprobs = [
            [None if index == 0 else self._no_grad(None, pack, batch.temperature) for pack in self._packs(index)]
            for index in range(len(batch.minibatches))
        ]
        return {"seconds_reference": middle - started, "seconds_old_logprobs": self._finished() - middle}

    def update(self, minibatch: int, algorithm: AlgorithmSpec, learning_rate: float, step: int) -> Sums:
        """One optimizer step on one minibatch of the batch given to `prepare`.

        Returns:
            Sums over the loss tokens of all ranks, maxima for names ending in `_max`, and `gradient_norm`. Where that
            is not finite on one rank it is so on all: nothing was updated, and the sums mean nothing.
        """
        batch = self._require_batch()
        sums: Sums = {}
        for index, pack in enumerate(self._packs(minibatch)):
            inputs = pack_inputs(pack, self._backend.device)
            logprobs, entropy = self._backend.forward(inputs, batch.temperature)
            old = self._old_logprobs[minibatch][index]
            result = pack_loss(
                algorithm,
                policy_logprobs=logprobs,
                old_logprobs=logprobs.detach() if old is None else old,
                ref_logprobs=self._ref_logprobs[minibatch][index],
                rollout_logprobs=self._tensor(pack.rollout_logprobs),
                advantages=self._tensor(pack.advantages),
                token_weights=self._tensor(pack.token_weights),
                entropy=entropy,
            )
            _merge(sums, result.sums)
            # A loss that is not finite may have a finite gradient: it makes every gradient NaN, so that no rank steps.
            poison = torch.where(torch.isfinite(result.loss.detach()), 1.0, math.nan)
            self._backend.backward(result.loss * poison)
        norm = self._backend.step(learning_rate)
        return {**self._reduced(sums), "gradient_norm": norm}

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Whole policy parameters by name, in a fixed order."""
        return self._backend.weights()

    def export_weights(self) -> None:
        """What ranks other than 0 do while rank 0 iterates `weights`."""
        for _ in self._backend.weights():
            pass

    def reference_from_policy(self) -> None:
        """Reference := policy."""
        copy_weights(self._backend, self._reference)

    def reference_from_file(self, file: Path) -> None:
        """Reference := the weights of a safetensors file."""
        read_weights(file, self._reference)

    def clear_optimizer(self) -> None:
        """Make the optimizer's state that of a new one."""
        self._backend.clear_optimizer()

    def save(self, folder: Path) -> None:
        """Write policy and optimizer state."""
        self._backend.save(folder)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        self._backend.load(folder)

    def _require_batch(self) -> Batch:
        assert self._batch is not None, "prepare comes before update"
        return self._batch

    def _packs(self, minibatch: int) -> tuple[Pack, ...]:
        return self._require_batch().minibatches[minibatch].packs_by_rank[self._backend.rank]

    def _finished(self) -> float:
        """The time, once what was asked of a GPU is done: it works behind the program's back."""
        if self._backend.device.type == "cuda":
            torch.cuda.synchronize(self._backend.device)
        return time.monotonic()

    def _tensor(self, values: object) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=self._backend.device)

    @torch.no_grad()
    def _no_grad(self, model: PackedPolicy | None, pack: Pack, temperature: float) -> Tensor:
        inputs = pack_inputs(pack, self._backend.device)
        if model is None:
            return self._backend.forward(inputs, temperature)[0]
        logprobs: Tensor = model(**inputs, temperature=temperature)[0]
        return logprobs

    def _reduced(self, sums: Sums) -> Sums:
        if self._backend.num_ranks == 1:
            return sums
        reduced: Sums = {}
        for is_max, operation in ((False, torch.distributed.ReduceOp.SUM), (True, torch.distributed.ReduceOp.MAX)):
            names = sorted(name for name in sums if name.endswith("_max") is is_max)
            values = torch.tensor([sums[name] for name in names], dtype=torch.float64, device=self._backend.device)
            torch.distributed.all_reduce(values, op=operation)
            reduced |= dict(zip(names, values.tolist(), strict=True))
        return reduced


def _merge(total: Sums, part: Sums) -> None:
    for name, value in part.items():
        total[name] = max(total.get(name, 0.0), value) if name.endswith("_max") else total.get(name, 0.0) + value
