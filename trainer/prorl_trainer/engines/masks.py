"""Who may attend to whom in a packed sequence, as each kind of layer wants to be told.

Rows and columns are positions of the pack; distances are those of the sequences in it, by position ids, so that a
completion's window reaches back into the shared prompt and no further. Built on the device from three short columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prorl_trainer.algorithm.types import Pack

FULL, SLIDING = "full_attention", "sliding_attention"
"""Names of layers in transformers' `config.layer_types`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskPlan:
    """What masks a model takes."""

    window: int | None = None
    """Positions that a sliding layer sees, its own included; None: no layer slides."""
    by_layer_type: bool = False
    """Whether the model takes one mask for each kind of layer, by name; else all its layers slide, or none."""
    additive_dtype: torch.dtype | None = None
    """None: masks of booleans, as scaled_dot_product_attention takes them. Else numbers to add to the scores."""


Masks = Tensor | dict[str, Tensor]
"""[1, 1, T, T], or one of those for each kind of layer."""


def attention_allowed(pack: Pack, device: torch.device, window: int | None = None) -> Tensor:
    """[T, T] bool, row attends to column: within a group, backwards in the sequence, to the prompt and to one's own
    completion, over fewer than `window` positions if that is given.
    """
    group, branch = torch.from_numpy(pack.group_ids).to(device), torch.from_numpy(pack.branch_ids).to(device)
    order = torch.arange(pack.num_positions, device=device)
    allowed = order[:, None] >= order[None, :]
    allowed &= group[:, None] == group[None, :]
    allowed &= (branch[None, :] == 0) | (branch[:, None] == branch[None, :])
    if window is not None:
        position = torch.from_numpy(pack.position_ids).to(device)
        allowed &= position[:, None] - position[None, :] < window
    return allowed


def pack_masks(pack: Pack, plan: MaskPlan, device: torch.device) -> Masks:
    """Return the masks of a pack as the model takes them."""

    def mask(window: int | None) -> Tensor:
        allowed = attention_allowed(pack, device, window)[None, None]
        if plan.additive_dtype is None:
            return allowed
        lowest = torch.finfo(plan.additive_dtype).min
        return torch.zeros(allowed.shape, dtype=plan.additive_dtype, device=device).masked_fill_(~allowed, lowest)

    if not plan.by_layer_type:
        return mask(plan.window)
    return {FULL: mask(None), SLIDING: mask(plan.window)}


def mask_bytes(pack: Pack, plan: MaskPlan) -> int:
    """Memory of a pack's masks."""
    item = 1 if plan.additive_dtype is None else plan.additive_dtype.itemsize
    return pack.num_positions**2 * item * (2 if plan.by_layer_type else 1)


def as_inputs(pack: Pack, plan: MaskPlan, device: torch.device) -> dict[str, Any]:
    """Return the tensors of a pack, as `PackedPolicy.forward` takes them."""

    def tensor(values: Any) -> Tensor:
        return torch.from_numpy(values).to(device)

    return {
        "input_ids": tensor(pack.input_ids)[None],
        "position_ids": tensor(pack.position_ids)[None],
        "masks": pack_masks(pack, plan, device),
        "predict_from": tensor(pack.predict_from),
        "targets": tensor(pack.targets),
    }
