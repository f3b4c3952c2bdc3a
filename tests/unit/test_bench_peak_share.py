"""The arithmetic that a step needs, against a real model's matrices and sums by hand."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.bench.learner_step import batch_of
from tests.bench.peak_share import Arithmetic

CONFIG = LlamaConfig(
    vocab_size=64,
    hidden_size=24,
    intermediate_size=40,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    tie_word_embeddings=False,
)


def test_a_position_needs_two_operations_a_weight_of_every_layers_matrices() -> None:
    layers = LlamaForCausalLM(CONFIG).model.layers
    matrices = [one.weight.numel() for one in layers.modules() if isinstance(one, torch.nn.Linear)]
    assert Arithmetic.of(CONFIG).position == 2 * sum(matrices)


def test_attention_needs_a_score_and_a_weighted_value_a_pair_and_the_head_a_product_a_position_that_predicts() -> None:
    found = Arithmetic.of(CONFIG)
    assert found.pair == 3 * 4 * (2 * 8 + 2 * 8)  # layers x heads x (scores and values of 8 numbers)
    assert found.predicting == 2 * 24 * 64


def test_a_step_is_three_forward_passes_and_those_of_reference_and_old_logprobs() -> None:
    """Two minibatches, each of a prompt of 2 tokens with completions of 3 and 1."""
    batch = batch_of([(2, [2, 0]), (2, [2, 0])], minibatch_prompts=1)
    assert [minibatch.num_positions for minibatch in batch.minibatches] == [4, 4]
    pairs = 1 + 2 + 3 + 4
    forward = Arithmetic(position=1e9, pair=1e10, predicting=1e12)
    once = 4 * 1 + pairs * 10 + 3 * 1000  # the prompt's last position predicts two of the 4 loss tokens
    assert forward.gigaflops_of_step(batch) == pytest.approx(once * 4 + once * 5)
