"""Who may attend to whom in a packed sequence, as each kind of layer wants to be told.

Rows are positions of the pack, columns those of the prefix that it continues and then its own. Distances are those of
the sequences in it, by position ids, so that a completion's window reaches back into the shared prompt and no further.
A model that calls attention by transformers' interface is given a layout, whose memory grows with the pack; others a
dense mask, which grows with its square.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor

from prorl_trainer.algorithm.types import Pack
from prorl_trainer.engines.attention.blocks import CALL_COST, Block, Kind
from prorl_trainer.engines.attention.interface import KeysOfLayer, as_mask, of_prefix
from prorl_trainer.engines.attention.segments import KEPT_MASK_ENTRIES, allowed_pairs, lay_out
from prorl_trainer.engines.attention.varlen import lay_out_varlen
from prorl_trainer.engines.loss_tokens import by_position

FULL, SLIDING = "full_attention", "sliding_attention"
"""Names of layers in transformers' `config.layer_types`."""


class Way(Enum):
    """How attention is computed."""

    DENSE = "dense"
    """By transformers, under a mask with an entry for each pair of positions."""
    SEGMENTS = "segments"
    """Block by block; any device."""
    VARLEN = "varlen"
    """By PyTorch's variable-length kernel: a GPU, half precision, no caps and no sinks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskPlan:
    """What masks a model takes."""

    way: Way = Way.DENSE
    window: int | None = None
    """Positions that a sliding layer sees, its own included; None: no layer slides."""
    by_layer_type: bool = False
    """Whether the model takes one mask for each kind of layer, by name; else all its layers slide, or none."""
    additive_dtype: torch.dtype | None = None
    """None: masks of booleans, as scaled_dot_product_attention takes them. Else numbers to add to the scores."""
    call_cost: int = CALL_COST
    """See `plan_blocks`."""
    repeats_prompts: bool = False
    """Whether the model was found unable to have packs continue a prefix."""

    @property
    def continues_prefixes(self) -> bool:
        """Whether packs may continue a prefix: under dense masks attention is the model's own, and knows of none."""
        return self.way is not Way.DENSE and not self.repeats_prompts


Masks = Tensor | dict[str, Tensor]
"""[1, 1, T, T] or a layout, or one of those for each kind of layer."""


def attention_allowed(pack: Pack, device: torch.device, window: int | None = None) -> Tensor:
    """[T, S + T] bool, row attends to column: see `allowed_pairs`."""
    group, branch, position = (torch.from_numpy(column).to(device) for column in pack.seen)
    everything = Block(pack.prefix_length, len(group), 0, len(group), Kind.MASKED)
    return allowed_pairs(everything, (group, branch, position), window)


def pack_masks(pack: Pack, plan: MaskPlan, device: torch.device) -> Masks:
    """Return the masks of a pack as the model takes them."""

    def mask(window: int | None) -> Tensor:
        if plan.way is Way.SEGMENTS:
            return as_mask(lay_out(pack, window, device, plan.call_cost), pack.num_positions, device)
        if plan.way is Way.VARLEN:
            return as_mask(lay_out_varlen(pack, window, device), pack.num_positions, device)
        allowed = attention_allowed(pack, device, window)[None, None]
        if plan.additive_dtype is None:
            return allowed
        lowest = torch.finfo(plan.additive_dtype).min
        return torch.zeros(allowed.shape, dtype=plan.additive_dtype, device=device).masked_fill_(~allowed, lowest)

    if not plan.by_layer_type:
        return mask(plan.window)
    return {FULL: mask(None), SLIDING: mask(plan.window)}


def of_prefix_pack(masks: Masks, keys_of_layer: KeysOfLayer) -> Masks:
    """Return the masks of a pack that begins or continues a prefix, for one pass."""
    if isinstance(masks, dict):
        return {kind: of_prefix(mask, keys_of_layer) for kind, mask in masks.items()}
    return of_prefix(masks, keys_of_layer)


def mask_bytes(pack: Pack, plan: MaskPlan) -> int:
    """Memory of a pack's masks; of a layout, what its small masks may take."""
    kinds = 2 if plan.by_layer_type else 1
    if plan.way is not Way.DENSE:
        return kinds * 4 * min(pack.num_positions * (pack.prefix_length + pack.num_positions), KEPT_MASK_ENTRIES)
    item = 1 if plan.additive_dtype is None else plan.additive_dtype.itemsize
    return kinds * item * pack.num_positions**2


def as_inputs(pack: Pack, plan: MaskPlan, device: torch.device) -> dict[str, Any]:
    """Return the tensors of a pack, as `PackedPolicy.forward` takes them."""

    def tensor(values: Any) -> Tensor:
        return torch.from_numpy(values).to(device)

    return {
        "input_ids": tensor(pack.input_ids)[None],
        "position_ids": tensor(pack.position_ids)[None],
        "masks": pack_masks(pack, plan, device),
        "tokens": by_position(pack.predict_from, pack.targets, device),
    }
