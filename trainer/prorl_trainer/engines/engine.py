"""The algorithm's tensor side: reference and old log-probabilities, optimizer steps, reference changes.

One `TrainingEngine` a rank. Every method is collective: all ranks call it, each with its own packs and otherwise the
same arguments, and the returned sums are those of all ranks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prorl_api.errors import CheckpointError
from prorl_api.spec.algorithm import AlgorithmSpec
from prorl_trainer.algorithm.losses import loss_sums
from prorl_trainer.algorithm.types import Batch
from prorl_trainer.engines.backend import Backend
from prorl_trainer.engines.checkpoint_form import in_checkpoint_form
from prorl_trainer.engines.head_slices import HeadOutput
from prorl_trainer.engines.pack_loss import contagious, slope_of
from prorl_trainer.engines.reference import Forward, Reference
from prorl_trainer.engines.staging import StagedBatch
from prorl_trainer.engines.state_files import Snapshot, StoredState

Sums = dict[str, float]

Pass = Callable[[dict[str, Any], float], HeadOutput]
"""Of a policy, given the inputs of a pack and the temperature."""


class TrainingEngine:
    """A policy that can be trained and a reference that can be replaced."""

    def __init__(self, backend: Backend, reference: Reference | None, build: Callable[[], Reference]) -> None:
        """Own a backend and a reference; without one, `build` makes it, at the base model, if it is asked for."""
        self._backend = backend
        self._reference = reference
        self._build_reference = build
        self._reference_file: Path | None = None
        self.reference_is_unkept = False
        """Whether the reference was moved since a file held it."""
        self._on_progress: Callable[..., None] | None = None
        self._batch: StagedBatch | None = None
        self._ref_logprobs: list[Sequence[Tensor | None]] = []
        self._old_logprobs: list[Sequence[Tensor | None]] = []

    @property
    def continues_prefixes(self) -> bool:
        """Whether a batch's packs may continue a prefix. Of this rank alone: not collective."""
        return self._backend.continues_prefixes and self._backend.policy.family.masks.continues_prefixes

    def prepare(self, batch: Batch, with_reference: bool = True) -> Sums:
        """Take a batch; compute reference and old log-probabilities.

        The first optimizer step needs no old log-probabilities: it is taken by the very policy that they would come
        from, so its own (detached) are the same numbers.

        Args:
            batch: Of other ranks' packs nothing is read.
            with_reference: False: nobody asks for the KL, and `update`'s algorithm has no term of it.

        Returns:
            Seconds of this rank: `seconds_reference`, `seconds_old_logprobs`.
        """
        plan = self._backend.policy.family.masks
        staged = self._batch = StagedBatch(batch, self._backend.rank, plan, self._backend.device)
        started = time.monotonic()
        steps = range(staged.num_minibatches)
        if with_reference:
            with self._asked_reference().during_pass() as forward:
                self._ref_logprobs = [_logprobs(staged, index, _with_inputs(forward)) for index in steps]
        else:
            self._ref_logprobs = [[None] * staged.num_packs(index) for index in steps]
        middle = self._finished()
        self._old_logprobs = [
            _logprobs(staged, index, self._backend.forward) if index else [None] * staged.num_packs(index)
            for index in steps
        ]
        return {"seconds_reference": middle - started, "seconds_old_logprobs": self._finished() - middle}

    def update(self, minibatch: int, algorithm: AlgorithmSpec, learning_rate: float) -> Sums:
        """One optimizer step on one minibatch of the batch given to `prepare`.

        Returns:
            Sums over the loss tokens of all ranks, maxima for names ending in `_max`, and `gradient_norm`. `kl` only
            with a reference. Where the gradient norm is not finite on one rank it is so on all: a loss or a gradient
            was not, weights and optimizer are as before, and the next call may train.
        """
        batch = self._staged()
        sums: dict[str, Tensor] = {}
        for index, link in batch.links(minibatch):
            old, ref = self._old_logprobs[minibatch][index], self._ref_logprobs[minibatch][index]
            inputs = batch.loss_inputs(minibatch, index, old, ref)
            given = batch.inputs(minibatch, index, link)
            output = self._backend.forward(given, batch.temperature, slope_of(algorithm, inputs))
            _merge(sums, loss_sums(algorithm, output.logprobs, inputs, output.entropies))
            if link.begins:  # it goes backward after its continuations
                of_prefix = output.loss
                continue
            self._backend.backward(contagious(output.loss))
            if link.ends:
                # What the continuations have left is scaled already.
                self._backend.backward(of_prefix + link.loss_of_prefix() / self._backend.gradient_scale)
        norm = self._backend.step(learning_rate)
        return {**self._reduced(sums), "gradient_norm": norm}

    def logprobs(self, batch: Batch) -> list[float]:
        """Compute the policy's log-probabilities of the one pack of `batch`, which is the same on every rank."""
        staged = StagedBatch(batch, 0, self._backend.policy.family.masks, self._backend.device)
        (logprobs,) = _logprobs(staged, 0, self._backend.forward)
        values: list[float] = logprobs.tolist()
        return values

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Whole policy parameters by name, in a fixed order."""
        return self._backend.weights()

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the whole parameters by name. Of this rank alone: not collective."""
        named = self._backend.policy.model.named_parameters()
        return {name: tuple(getattr(parameter, "ds_shape", parameter.shape)) for name, parameter in named}

    def served_weights(self, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
        """Give the whole policy as a checkpoint of it names and shapes it, persistent buffers included."""
        return in_checkpoint_form(self._backend.policy.model, self._backend.weights(), dtype)

    def export_weights(self) -> None:
        """Return what ranks other than 0 do while rank 0 iterates `weights` or `served_weights`."""
        for _ in self._backend.weights():
            pass

    def reference_from_policy(self) -> None:
        """Set reference := policy."""
        self._asked_reference().move(self._backend)
        self.reference_is_unkept = True

    def average_reference(self, decay: float) -> None:
        """Set reference := decay x reference + (1 - decay) x policy."""
        self._asked_reference().move(self._backend, 1 - decay)
        self.reference_is_unkept = True

    def reference_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Whole parameters of the reference by name, in a fixed order."""
        return self._asked_reference().weights()

    def export_reference(self) -> None:
        """Return what ranks other than 0 do while rank 0 iterates `reference_weights`."""
        for _ in self.reference_weights():
            pass

    def reference_is_kept_in(self, file: Path) -> None:
        """Note that a file holds the reference as it is now. Of this rank alone: not collective."""
        self._reference_file, self.reference_is_unkept = file, False

    def reference_from_file(self, file: Path) -> None:
        """Set reference := the weights of a safetensors file; while nobody asks for it, only the file is remembered."""
        self._reference_file, self.reference_is_unkept = file, False
        if self._reference is not None:
            self._reference.read(file)

    def clear_optimizer(self) -> None:
        """Make the optimizer's state that of a new one."""
        self._backend.clear_optimizer()

    def capture(self) -> Snapshot:
        """Copy what this rank puts into a checkpoint to host memory."""
        return Snapshot(self._backend.runs(), self._backend.rank, self._backend.num_ranks)

    def save(self, folder: Path) -> None:
        """Write this rank's part of a checkpoint into an existing folder."""
        self.capture().write(folder)

    def load(self, folder: Path) -> None:
        """Take over policy and optimizer state that any number of ranks has saved, under any ZeRO stage.

        Raises:
            CheckpointError: They are not whole, or of another model; nothing is promised about the engine then.
        """
        stored = StoredState(folder)
        named = self._backend.policy.model.named_parameters()
        trained = {name for name, parameter in named if parameter.requires_grad}
        if stored.shapes != {name: shape for name, shape in self.shapes().items() if name in trained}:
            raise CheckpointError(f"{folder} holds the parameters of another model; name the one the run began with")
        self._backend.restore(stored)

    def on_progress(self, action: Callable[[], object]) -> None:
        """Have `action` called whenever policy or reference has passed a pack forward."""

        def hook(*_: object) -> None:
            action()

        self._on_progress = hook
        self._backend.policy.register_forward_hook(hook)
        if self._reference is not None:
            self._reference.module.register_forward_hook(hook)

    def _staged(self) -> StagedBatch:
        assert self._batch is not None, "prepare comes before update"
        return self._batch

    def _finished(self) -> float:
        """Return the time, once what was asked of a GPU is done: it works behind the program's back."""
        if self._backend.device.type == "cuda":
            torch.cuda.synchronize(self._backend.device)
        return time.monotonic()

    def _asked_reference(self) -> Reference:
        """Return the reference; it is built when an edit of the manifest is the first to ask for it."""
        if self._reference is None:
            self._reference = self._build_reference()
            if self._reference_file is not None:
                self._reference.read(self._reference_file)
            if self._on_progress is not None:
                self._reference.module.register_forward_hook(self._on_progress)
        return self._reference

    def _reduced(self, sums: dict[str, Tensor]) -> Sums:
        """Over all ranks, in two collectives and one copy off the device."""
        names = sorted(sums, key=lambda name: (name.endswith("_max"), name))
        num_sums = sum(not name.endswith("_max") for name in names)
        values = torch.stack([sums[name] for name in names])
        if self._backend.num_ranks > 1:
            torch.distributed.all_reduce(values[:num_sums], op=torch.distributed.ReduceOp.SUM)
            torch.distributed.all_reduce(values[num_sums:], op=torch.distributed.ReduceOp.MAX)
        return dict(zip(names, values.tolist(), strict=True))


@torch.no_grad()
def _logprobs(batch: StagedBatch, minibatch: int, forward: Pass) -> list[Tensor]:
    """Return the log-probabilities of a minibatch's loss tokens, pack by pack."""
    return [
        forward(batch.inputs(minibatch, index, link), batch.temperature).logprobs
        for index, link in batch.links(minibatch)
    ]


def _with_inputs(forward: Forward) -> Pass:
    """Return a policy's own forward pass as a backend's is called."""
    return lambda inputs, temperature: forward(**inputs, temperature=temperature)


def _merge(total: dict[str, Tensor], part: dict[str, Tensor]) -> None:
    for name, value in part.items():
        if name not in total:
            total[name] = value
        else:
            total[name] = torch.maximum(total[name], value) if name.endswith("_max") else total[name] + value
