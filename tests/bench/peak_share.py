"""How much arithmetic a step needs, and how fast this machine multiplies: what a share of the peak is the ratio of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from transformers import LlamaConfig

from prorl_trainer.algorithm.types import Batch


def gigaflops(clock: Callable[[], float]) -> float:
    """What a large product of float32 matrices reaches here, in 10^9 operations a second."""
    matrix, seconds = torch.randn(2048, 2048), []
    for _ in range(5):
        started = clock()
        torch.mm(matrix, matrix)
        seconds.append(clock() - started)
    return float(2 * 2048**3 / min(seconds) / 1e9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """Multiplications and additions of a Llama's forward pass."""

    position: float
    """Of the layers' matrices, a position."""
    pair: float
    """Of attention, a position and each that it attends to: scores and weighted values."""
    predicting: float
    """Of the head, a position that predicts."""

    @classmethod
    def of(cls, config: LlamaConfig) -> Arithmetic:
        """Count them by the shapes of the matrices."""
        hidden, layers = config.hidden_size, config.num_hidden_layers
        width = config.head_dim * config.num_attention_heads
        keys = config.head_dim * config.num_key_value_heads
        matrices = 2 * hidden * width + 2 * hidden * keys + 3 * hidden * config.intermediate_size
        return cls(position=2 * layers * matrices, pair=4 * layers * width, predicting=2 * hidden * config.vocab_size)

    def gigaflops_of_step(self, batch: Batch) -> float:
        """Return those of a training step: reference, old log-probabilities from the second minibatch on, update.

        A backward pass counts twice its forward pass. What is computed again counts once, what needs not be computed
        not at all: a position attends to those before it in its own sequence, and only a position that predicts loss
        tokens has logits, once for all of them.
        """
        total = 0.0
        for index, minibatch in enumerate(batch.minibatches):
            packs = [pack for packs in minibatch.packs_by_rank for pack in packs]
            pairs = sum(int((pack.position_ids[pack.group_ids >= 0] + 1).sum()) for pack in packs)
            predicting = sum(len(np.unique(pack.predict_from)) for pack in packs)
            forward = self.position * minibatch.num_positions + self.pair * pairs + self.predicting * predicting
            total += forward * (5 if index else 4)
        return total / 1e9
