"""Our attention behind transformers' interface: models call it by its name, with a layout where a mask would be.

A model hands its mask on to every layer untouched. So the layout travels as a tensor of four dimensions and no
entries, and reaches a layer that is recomputed in the backward pass, too.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from prorl_trainer.engines.attention.segments import Scores

NAME = "prorl_packed"
"""Of the attention implementation."""


class Layout(Protocol):
    """How the attention of one pack is computed."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scores: Scores) -> Tensor:
        """[1, heads, T, D] queries, [1, key heads, S + T, D] keys and values -> [1, T, heads, D]."""


class KeysOfLayer(Protocol):
    """What a prefix of S positions does to each layer's keys and values: keep them, or put its own in front."""

    def __call__(self, layer: nn.Module, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """[1, key heads, T, D] keys and values of a layer -> those that are attended to."""


class LayoutMask(Tensor):
    """A layout in the place of a mask. Whatever is computed from it is a plain tensor, without a layout."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]
    pack_layout: Layout
    keys_of_layer: KeysOfLayer | None


def as_mask(
    layout: Layout, num_positions: int, device: torch.device, keys_of_layer: KeysOfLayer | None = None
) -> LayoutMask:
    """Give a layout the form of a mask, [1, 1, T, 0]."""
    nothing = torch.empty((1, 1, num_positions, 0), device=device)
    mask: LayoutMask = torch.Tensor._make_subclass(LayoutMask, nothing)
    mask.pack_layout, mask.keys_of_layer = layout, keys_of_layer
    return mask


def of_prefix(mask: Tensor, keys_of_layer: KeysOfLayer) -> LayoutMask:
    """Return a mask as it is for one pass of a pack that begins or continues a prefix.

    Raises:
        TypeError: It is no layout: under dense masks nothing is continued.
    """
    if not isinstance(mask, LayoutMask):
        raise TypeError("a prefix is continued by a layout, not under a dense mask")
    return as_mask(mask.pack_layout, mask.shape[2], mask.device, keys_of_layer)


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend as the mask's layout says; the arguments are those of transformers' `AttentionInterface`.

    Windows are the layout's, by the configuration; dropout is off.

    Raises:
        TypeError: There is no layout: the model makes masks of its own.
    """
    if not isinstance(attention_mask, LayoutMask):
        raise TypeError(f"{type(module).__name__} takes no layout of a pack: it makes masks of its own")
    if attention_mask.keys_of_layer is not None:
        key, value = attention_mask.keys_of_layer(module, key, value)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = Scores(scale=scale, cap=softcap, sinks=s_aux)
    return attention_mask.pack_layout.attend(query, key, value, scores), None


def register() -> None:
    """Make the name known to transformers."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, packed_attention)
