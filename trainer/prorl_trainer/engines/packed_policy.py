"""One forward pass over a packed sequence: log-probability and entropy of each loss token, and their loss.

The module wraps a causal language model of transformers, so that every engine (plain, DeepSpeed) wraps and shards
the same thing. The head runs on the rows that predict a loss token only.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from prorl_trainer.engines.attention.interface import NAME, KeysOfLayer, register
from prorl_trainer.engines.families import Family
from prorl_trainer.engines.fused_head import HeadRequest, fuse_head
from prorl_trainer.engines.gated_blocks import GatedLinear, keep_products_alone
from prorl_trainer.engines.head_slices import HeadOutput, SlopeOfLoss
from prorl_trainer.engines.loss_tokens import LossTokens
from prorl_trainer.engines.masks import Masks, Way, of_prefix_pack
from prorl_trainer.engines.recomputation import keeping_products
from prorl_trainer.engines.summed_gradients import GradientSum, sum_embedding_gradients, sum_linear_gradients


class PackedPolicy(nn.Module):
    """A language model that answers with log-probabilities of given tokens."""

    def __init__(self, model: Any, family: Family, *, head_in_float32: bool = True) -> None:
        """Wrap `model`, a transformers causal language model with a decoder and a linear head, of that family.

        Nothing random is left in its forward pass: dropout is off, in training too, because the clip and the KL
        compare probabilities of one and the same policy.
        """
        super().__init__()
        self.model = model
        self.family = family
        self._head_in_float32 = head_in_float32
        self._use_attention(self._packed_attention)
        fuse_head(model.get_output_embeddings())
        self._gated: list[Any] = keep_products_alone(model)
        self._recomputes_layers = False
        self.eval()

    def forward(
        self, input_ids: Tensor, position_ids: Tensor, masks: Masks, tokens: LossTokens, temperature: float,
        slope: SlopeOfLoss | None = None, keys_of_layer: KeysOfLayer | None = None,
    ) -> HeadOutput:  # fmt: skip
        """Log-probabilities of tokens under softmax(logits / temperature), that distribution's entropy, and a loss.

        Args:
            input_ids: [1, T] int64.
            position_ids: [1, T] int64.
            masks: Who attends to whom, as `family.masks` plans it.
            tokens: The L loss tokens, and the positions whose output predicts them.
            temperature: Above 0.
            slope: The loss of some of the tokens and its gradient; None: log-probabilities alone are wanted.
            keys_of_layer: Of a pack that begins or continues a prefix.
        """
        if keys_of_layer is not None:
            masks = of_prefix_pack(masks, keys_of_layer)
        decoder = self.model.get_decoder()
        output = decoder(input_ids=input_ids, position_ids=position_ids, attention_mask=masks, use_cache=False)
        request = HeadRequest(
            tokens=tokens,
            temperature=temperature,
            treatment=self.family.logits,
            in_float32=self._head_in_float32,
            slope=slope,
        )
        answer: HeadOutput = self.model.get_output_embeddings()(
            output.last_hidden_state[0].index_select(0, tokens.predict_from), request
        )
        return answer

    @torch.no_grad()
    def plain_logprobs(self, ids: Tensor, temperature: float) -> Tensor:
        """Log-probabilities [T - 1] float32 of all tokens but the first of one sequence [T], as the model has them.

        The model's own forward pass from its own entry: no mask, no positions, no layer, no head and no treatment of
        ours.
        """
        self._use_attention(self.family.attention)
        self._have_blocks_keep_all(True)
        try:
            logits = self.model(input_ids=ids[None], use_cache=False).logits[0, :-1].float() / temperature
        finally:
            self._use_attention(self._packed_attention)
            self._have_blocks_keep_all(self._recomputes_layers)
        logprobs: Tensor = logits.log_softmax(-1).gather(-1, ids[1:, None]).squeeze(-1)
        return logprobs

    def attend_densely(self) -> None:
        """Take masks with an entry for each pair of positions from here on."""
        self.family = replace(self.family, masks=replace(self.family.masks, way=Way.DENSE))
        self._use_attention(self._packed_attention)

    def repeat_prompts(self) -> None:
        """Have no pack continue a prefix from here on."""
        self.family = replace(self.family, masks=replace(self.family.masks, repeats_prompts=True))

    @property
    def _packed_attention(self) -> str:
        """transformers' name of what packed passes use."""
        return self.family.attention if self.family.masks.way is Way.DENSE else NAME

    def _use_attention(self, name: str) -> None:
        register()
        if self.model.config._attn_implementation != name:
            self.model.set_attn_implementation(name)

    def _have_blocks_keep_all(self, keeps_all: bool) -> None:
        """Have gated blocks do as the model's own, or no longer."""
        for block in self._gated:
            block.keeps_all = keeps_all

    def sum_gradients(self, gradient_sum: GradientSum) -> None:
        """Have gradients of embedding, head and (in float32) linear layers added where packs' are summed up."""
        sum_embedding_gradients(self.model.get_input_embeddings(), gradient_sum)
        sum_linear_gradients(self.model, gradient_sum)
        self.model.get_output_embeddings().gradient_sum = gradient_sum
        for module in self.model.modules():
            if isinstance(module, GatedLinear) and module.weight.dtype == torch.float32:
                module.gradient_sum = gradient_sum

    def recompute_activations(self, *, offload: bool = False, keep_products: bool = False) -> None:
        """Gradient checkpointing: less memory, more time, the same numbers.

        With `offload`, each layer's input [1, T, hidden] lies in pinned host memory; with `keep_products`, what costs
        most is kept besides (`recomputation`).
        """
        from transformers.modeling_layers import GradientCheckpointingLayer

        how: dict[str, Any] = {"use_reentrant": False}
        if keep_products:
            how["context_fn"] = keeping_products
        # A layer that is computed again as a whole ends with what its last product needs, unless a function of ours
        # makes it: that one would compute the product, too.
        self._recomputes_layers = not keep_products
        self._have_blocks_keep_all(self._recomputes_layers)
        self.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=how, offload=offload)
        for module in self.model.modules():
            if isinstance(module, GradientCheckpointingLayer):
                module.training = True  # of the layer alone: that is what it asks before it recomputes
                for name, value in vars(module).items():
                    if "drop" in name and isinstance(value, float):
                        setattr(module, name, 0.0)
