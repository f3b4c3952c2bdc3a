"""A batch's packs as tensors on the device of this rank: each built once where memory allows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from prorl_trainer.algorithm.losses import LossInputs
from prorl_trainer.algorithm.types import Batch, Pack
from prorl_trainer.engines.masks import MaskPlan, as_inputs, mask_bytes
from prorl_trainer.engines.prefix import Link, links

_KEPT_MASK_BYTES = 2**28
"""Masks kept from the reference's pass to the update: they grow with the square of a pack; beyond it they are built
again at each of the three passes."""


class StagedBatch:
    """This rank's packs of one batch."""

    def __init__(self, batch: Batch, rank: int, plan: MaskPlan, device: torch.device) -> None:
        self.temperature = batch.temperature
        self._packs = [minibatch.packs_by_rank[rank] for minibatch in batch.minibatches]
        self._plan, self._device = plan, device
        self._kept: dict[tuple[int, int], dict[str, Any]] = {}
        self._kept_bytes = 0

    @property
    def num_minibatches(self) -> int:
        """Optimizer steps."""
        return len(self._packs)

    def num_packs(self, minibatch: int) -> int:
        """Return the same on every rank."""
        return len(self._packs[minibatch])

    def links(self, minibatch: int) -> Iterator[tuple[int, Link]]:
        """Give the index of each pack, and what it is to a prefix in one pass."""
        return enumerate(links(self._packs[minibatch]))

    def inputs(self, minibatch: int, index: int, link: Link) -> dict[str, Any]:
        """Return what `PackedPolicy.forward` takes of a pack."""
        return {**self._tensors(minibatch, index), "keys_of_layer": link.keys_of_layer}

    def _tensors(self, minibatch: int, index: int) -> dict[str, Any]:
        found = self._kept.get((minibatch, index))
        if found is not None:
            return found
        pack = self._packs[minibatch][index]
        inputs, size = as_inputs(pack, self._plan, self._device), mask_bytes(pack, self._plan)
        if self._kept_bytes + size <= _KEPT_MASK_BYTES:
            self._kept[minibatch, index] = inputs
            self._kept_bytes += size
        return inputs

    def loss_inputs(self, minibatch: int, index: int, old: Tensor | None, ref: Tensor | None) -> LossInputs:
        """Return what the loss of a pack depends on."""
        pack: Pack = self._packs[minibatch][index]
        return LossInputs(
            old_logprobs=old,
            ref_logprobs=ref,
            rollout_logprobs=self._tensor(pack.rollout_logprobs),
            advantages=self._tensor(pack.advantages),
            token_weights=self._tensor(pack.token_weights),
        )

    def _tensor(self, values: object) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=self._device)
