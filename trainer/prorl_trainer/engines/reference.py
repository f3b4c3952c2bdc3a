"""The reference policy: a frozen model whose log-probabilities the KL is measured to, and where its weights lie.

`resident`: a whole copy beside the policy. `sharded`: each rank holds a part, gathered layer by layer, as the policy's
are under ZeRO-3. `offloaded`: one place further away, and on the device during its pass alone: in host memory where
there is a GPU, else in a file. The numbers are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from prorl_api.spec.roles import LearnerSpec
from prorl_api.spec.values import ReferencePlace
from prorl_trainer.engines.backend import Backend, move_weights
from prorl_trainer.engines.mapped_parameters import map_parameters
from prorl_trainer.engines.packed_policy import PackedPolicy
from prorl_trainer.engines.weight_files import read_weights

Forward = Callable[..., Any]
"""`PackedPolicy.forward`."""


class Reference(Protocol):
    """A frozen policy. Every method is collective."""

    @property
    def module(self) -> PackedPolicy:
        """The policy itself, for hooks: its weights may lie elsewhere."""

    def during_pass(self) -> AbstractContextManager[Forward]:
        """Make the policy ready for the packs of a batch."""

    def read(self, file: Path) -> None:
        """Take over the weights of a safetensors file."""

    def move(self, backend: Backend, share: float = 1.0) -> None:
        """Go a share of the way to a backend's weights; see `move_weights`."""

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Whole parameters by transformers' names, in a fixed order; every rank must iterate it."""


class ResidentReference:
    """A whole copy on the device."""

    def __init__(self, policy: PackedPolicy) -> None:
        self.module = policy.requires_grad_(False)

    def during_pass(self) -> AbstractContextManager[Forward]:
        """See `Reference.during_pass`."""
        return nullcontext(self.module)

    def read(self, file: Path) -> None:
        """See `Reference.read`."""
        read_weights(file, self.module)

    def move(self, backend: Backend, share: float = 1.0) -> None:
        """See `Reference.move`."""
        move_weights(backend, self.module, share)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """See `Reference.weights`."""
        for name, parameter in self.module.model.named_parameters():
            yield name, parameter.detach()


class OffloadedReference(ResidentReference):
    """A whole copy in host memory, and on the device during a batch's pass."""

    def __init__(self, policy: PackedPolicy, device: torch.device) -> None:
        """Take over `policy`, wherever it is."""
        super().__init__(policy.to("cpu"))
        self._device = device
        if torch.cuda.is_available():
            for parameter in policy.parameters():
                parameter.data = parameter.data.pin_memory()

    @contextmanager
    def during_pass(self) -> Iterator[Forward]:
        """See `Reference.during_pass`."""
        held = [*self.module.parameters(), *self.module.buffers()]
        with _copied(held, lambda home: home.to(self._device, non_blocking=True)):
            yield self.module


class MappedReference(ResidentReference):
    """A whole copy in a file without a name, and in memory during a batch's pass."""

    def __init__(self, policy: PackedPolicy) -> None:
        """Take over `policy`, which is on the CPU."""
        super().__init__(policy)
        self._weights = map_parameters(policy)

    @contextmanager
    def during_pass(self) -> Iterator[Forward]:
        """See `Reference.during_pass`.

        The copies lie where activations were and will be, in heap that the C library keeps between two updates: the
        file's own pages would stand beside it.
        """

        def into_heap(home: Tensor) -> Tensor:
            with self._weights.in_memory():
                return home.clone()

        with _copied(list(self.module.parameters()), into_heap):
            yield self.module

    def read(self, file: Path) -> None:
        """See `Reference.read`."""
        with self._weights.in_memory():
            super().read(file)

    def move(self, backend: Backend, share: float = 1.0) -> None:
        """See `Reference.move`."""
        with self._weights.in_memory():
            super().move(backend, share)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """See `Reference.weights`. Copies: they are read after the pages are given back."""
        with self._weights.in_memory():
            for name, weight in super().weights():
                yield name, weight.clone()


class ShardedReference:
    """A part on each rank, by DeepSpeed's ZeRO-3 without an optimizer."""

    def __init__(self, policy: PackedPolicy, device: torch.device) -> None:
        """Shard `policy`, which must be on `device`. Collective; `torch.distributed` must be initialised."""
        from prorl_trainer.engines.deepspeed_backend import frozen_engine, import_deepspeed

        self.module = policy.requires_grad_(False)
        self._zero = import_deepspeed(device).zero
        self._engine = frozen_engine(policy, device)

    def during_pass(self) -> AbstractContextManager[Forward]:
        """See `Reference.during_pass`. Layers are gathered one by one."""
        return nullcontext(self._engine)

    def read(self, file: Path) -> None:
        """See `Reference.read`. One whole parameter at a time."""
        read_weights(file, self.module, self._whole)

    def move(self, backend: Backend, share: float = 1.0) -> None:
        """See `Reference.move`. One whole parameter at a time."""
        move_weights(backend, self.module, share, self._whole)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """See `Reference.weights`. One whole parameter at a time."""
        for name, parameter in self.module.model.named_parameters():
            with self._zero.GatheredParameters([parameter]):
                yield name, parameter.detach()

    def _whole(self, parameter: torch.nn.Parameter) -> AbstractContextManager[object]:
        gathered: AbstractContextManager[object] = self._zero.GatheredParameters([parameter], modifier_rank=0)
        return gathered


@contextmanager
def _copied(held: Sequence[Tensor], copy: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Have tensors hold copies for a while. Nothing is copied back: the weights do not change."""
    at_home = [tensor.data for tensor in held]
    try:
        for tensor in held:
            tensor.data = copy(tensor.data)
        yield
    finally:
        for tensor, home in zip(held, at_home, strict=True):
            tensor.data = home


def make_reference(policy: PackedPolicy, learner: LearnerSpec, device: torch.device) -> Reference:
    """Return `policy`, which is whole and on `device`, as the reference where the manifest wants it.

    Raises:
        OSError: The disk has no room for one that is offloaded to it.
    """
    if learner.reference is ReferencePlace.SHARDED:
        return ShardedReference(policy, device)
    if learner.reference is ReferencePlace.OFFLOADED:
        return MappedReference(policy) if device.type == "cpu" else OffloadedReference(policy, device)
    return ResidentReference(policy)
