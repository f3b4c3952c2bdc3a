"""One forward pass over a packed sequence: log-probability and entropy of each loss token.

The module wraps a causal language model of transformers, so that every engine (plain, DeepSpeed) wraps and shards
the same thing. The head runs on the rows that predict a loss token only, in slices, since logits of a whole long
pack would not fit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from prorl_trainer.algorithm.packing import attention_allowed
from prorl_trainer.algorithm.types import Pack

_HEAD_ROWS = 1024
"""Rows of logits alive at once: 1024 x 150 000 entries in float32 are 600 MB."""


class PackedPolicy(nn.Module):
    """A language model that answers with log-probabilities of given tokens."""

    def __init__(self, model: Any) -> None:
        """Wrap `model`, a transformers causal language model with a decoder and an output head."""
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, position_ids: Tensor, allowed: Tensor, predict_from: Tensor, targets: Tensor,
        temperature: float,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Log-probabilities of `targets` under softmax(logits / temperature), and that distribution's entropy.

        Args:
            input_ids: [1, T] int64.
            position_ids: [1, T] int64.
            allowed: [1, 1, T, T] bool, row may attend to column.
            predict_from: [L] int64, the position whose output predicts each target.
            targets: [L] int64.
            temperature: Above 0.

        Returns:
            Two tensors [L] float32, in nats.
        """
        decoder = self.model.get_decoder()
        output = decoder(input_ids=input_ids, position_ids=position_ids, attention_mask=allowed, use_cache=False)
        rows = output.last_hidden_state[0].index_select(0, predict_from)
        pieces = []
        for start in range(0, len(targets), _HEAD_ROWS):
            hidden, wanted = rows[start : start + _HEAD_ROWS], targets[start : start + _HEAD_ROWS]
            if torch.is_grad_enabled() and len(targets) > _HEAD_ROWS:
                pieces.append(checkpoint(self._head, hidden, wanted, temperature, use_reentrant=False))
            else:
                pieces.append(self._head(hidden, wanted, temperature))
        if not pieces:  # an empty pack must still touch every parameter, or sharded engines wait for ever
            zero = rows.sum() + 0.0 * self.model.get_output_embeddings()(output.last_hidden_state[0, :1]).sum()
            return zero.float().expand(1)[:0], zero.float().expand(1)[:0]
        logprobs, entropies = zip(*pieces, strict=True)
        return torch.cat(logprobs), torch.cat(entropies)

    def _head(self, hidden: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        logits = self.model.get_output_embeddings()(hidden).float() / temperature
        log_normaliser = torch.logsumexp(logits, dim=-1)
        logprobs = logits.gather(-1, targets[:, None]).squeeze(-1) - log_normaliser
        with torch.no_grad():
            probabilities = torch.exp(logits - log_normaliser[:, None])
            entropy = log_normaliser - (probabilities * logits).sum(-1)
        return logprobs, entropy


def pack_inputs(pack: Pack, device: torch.device) -> dict[str, Tensor]:
    """The tensors of a pack, as `PackedPolicy.forward` takes them."""
    allowed = torch.from_numpy(attention_allowed(pack))
    return {
        "input_ids": torch.from_numpy(pack.input_ids)[None].to(device),
        "position_ids": torch.from_numpy(pack.position_ids)[None].to(device),
        "allowed": allowed[None, None].to(device),
        "predict_from": torch.from_numpy(pack.predict_from).to(device),
        "targets": torch.from_numpy(pack.targets).to(device),
    }
