"""A prompt that is computed once for the completions of several packs: its keys and values, layer by layer.

The pack of the prefix goes forward and its graph is kept. Each pack that continues it attends to copies of its keys and
values and leaves their gradients there, summed up in float32 whatever the precision. When the last one has gone
backward, so does the prefix: the chain rule, cut at the keys. Gradients are those of a prompt repeated in every pack.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from prorl_trainer.algorithm.types import Pack
from prorl_trainer.engines.attention.interface import KeysOfLayer


@dataclass(slots=True)
class Prefix:
    """Keys and values of one prefix, of one pass."""

    _kept: dict[nn.Module, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """[1, key heads, S, D] each, as the pass of the prefix made them."""
    _copies: dict[nn.Module, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """The same in float32, cut off its graph, with the gradients so far."""
    _is_kept: bool = False
    """Whether the pass of the prefix is over."""

    def keep(self, layer: nn.Module, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keep a layer's, and give them back. See `KeysOfLayer`.

        A layer that is computed again, in the prefix's own backward pass, is not kept again.

        Raises:
            ValueError: The layer attends twice in one pass.
        """
        if self._is_kept:
            return key, value
        if layer in self._kept:
            raise ValueError(f"{type(layer).__name__} attends twice in one pass: its keys have no one place")
        self._kept[layer] = (key, value)
        return key, value

    def before(self, layer: nn.Module, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Put the prefix's in front of a layer's. See `KeysOfLayer`."""
        if not self._is_kept:
            self._is_kept = True
            self._copies = {kept_layer: _cut_off(*kept) for kept_layer, kept in self._kept.items()}
        first_key, first_value = self._copies[layer]
        return torch.cat([first_key.to(key.dtype), key], 2), torch.cat([first_value.to(value.dtype), value], 2)

    def loss(self) -> Tensor:
        """Scalar float32 whose gradient by the prefix's keys and values is what its continuations have left.

        Nothing is held here any more then.
        """
        pairs = [
            (kept, copy.grad)
            for layer, of_layer in self._kept.items()
            for kept, copy in zip(of_layer, self._copies[layer], strict=True)
        ]
        self._kept, self._copies = {}, {}
        return torch.stack([(kept.float() * grad).sum() for kept, grad in pairs if grad is not None]).sum()


def _cut_off(key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    needs = key.requires_grad
    return key.detach().float().requires_grad_(needs), value.detach().float().requires_grad_(needs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What one pack is to a prefix, in one pass."""

    prefix: Prefix | None
    """That it begins or continues; None: the pack is by itself."""
    begins: bool = False
    """Whether it is the prefix."""
    ends: bool = False
    """Whether it is the last that continues it."""

    @property
    def keys_of_layer(self) -> KeysOfLayer | None:
        """What happens to its keys."""
        if self.prefix is None:
            return None
        return self.prefix.keep if self.begins else self.prefix.before

    def loss_of_prefix(self) -> Tensor:
        """See `Prefix.loss`."""
        assert self.prefix is not None, "only what continues a prefix ends it"
        return self.prefix.loss()


def links(packs: Iterable[Pack]) -> Iterator[Link]:
    """Give what each pack of a rank, in order, is to a prefix in one pass over them."""
    prefix, left = None, 0
    for pack in packs:
        if pack.num_continuations:
            prefix, left = Prefix(), pack.num_continuations
            yield Link(prefix=prefix, begins=True)
        elif pack.prefix_length:
            left -= 1
            yield Link(prefix=prefix, ends=left == 0)
        else:
            prefix = None
            yield Link(prefix=None)
