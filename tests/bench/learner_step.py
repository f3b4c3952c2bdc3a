"""One step's forward and backward pass in a process of its own, whose peak of memory it prints as JSON.

`python -m tests.bench.learner_step MODEL VOCABULARY SEGMENTS`: a pack of so many segments of 512 positions.
"""

from __future__ import annotations

import json
import math
import os
import random
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from prorl_api.spec.values import LossAggregation
from prorl_trainer.algorithm.packing import build_batch
from prorl_trainer.algorithm.types import Batch, Pack, RolloutGroup, ScoredGroup
from prorl_trainer.engines.backend import Backend
from prorl_trainer.engines.build import load_policy
from prorl_trainer.engines.deepspeed_backend import DeepSpeedBackend
from prorl_trainer.engines.head_slices import Slope
from prorl_trainer.engines.masks import as_inputs
from prorl_trainer.engines.plain import PlainBackend
from prorl_trainer.engines.ranks import join_ranks
from tests.integration.engine_kit import CPU, learner_spec
from tests.unit.trainer.trainer_builders import make_group, make_prompt, make_rollout, make_scored, make_segment

HEADS, KEY_HEADS, HEAD_WIDTH = 9, 3, 64
"""SmolLM2-135M's."""


def batch_of(groups: list[tuple[int, list[int]]], minibatch_prompts: int | None = None) -> Batch:
    """Groups of (prompt's positions, completions' positions), each optimizer step in one pack.

    A completion has a token more, from which nothing is predicted.
    """
    scored = []
    for index, (prompt, positions) in enumerate(groups):
        prompt_ids, lengths = tuple(range(1, prompt + 1)), [count + 1 for count in positions]
        group = make_group([1.0] * len(lengths), prompt_ids=prompt_ids, lengths=lengths, index=index)
        scored.append(make_scored(group, tuple(0.5 for _ in lengths)))
    return build_batch(
        scored,
        minibatch_prompts=minibatch_prompts or len(scored),
        microbatch_tokens=2**20,
        num_ranks=1,
        aggregation=LossAggregation.TOKEN_MEAN,
        temperature=1.0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomBatch:
    """Sizes of a batch of random tokens."""

    groups: int
    group_size: int
    prompt: int
    completion: int
    tokens: range
    """That are drawn from."""
    minibatch: int
    """Groups of an optimizer step."""
    microbatch_tokens: int
    copies: int = 1
    """Of each completion in its group."""

    def made(self, *, continue_prefixes: bool = False) -> Batch:
        """Return the batch, always the same one."""
        dice = random.Random(0)

        def tokens(count: int) -> list[int]:
            return [dice.randrange(self.tokens.start, self.tokens.stop) for _ in range(count)]

        def group(index: int) -> ScoredGroup:
            different = [tokens(self.completion) for _ in range(self.group_size // self.copies)]
            logprobs = [-math.log(len(self.tokens))] * self.completion
            rollouts = tuple(make_rollout(make_segment(ids, logprobs=logprobs)) for ids in different * self.copies)
            whole = RolloutGroup(prompt=make_prompt(index, token_ids=tokens(self.prompt)), rollouts=rollouts)
            return make_scored(whole, [dice.uniform(-1.0, 1.0) for _ in rollouts])

        return build_batch(
            [group(index) for index in range(self.groups)],
            minibatch_prompts=self.minibatch,
            microbatch_tokens=self.microbatch_tokens,
            num_ranks=1,
            aggregation=LossAggregation.TOKEN_MEAN,
            temperature=1.0,
            continue_prefixes=continue_prefixes,
        )


def pack_of(groups: list[tuple[int, list[int]]]) -> Pack:
    """Give one pack of them."""
    (pack,) = batch_of(groups).minibatches[0].packs_by_rank[0]
    return pack


def random_llama(folder: Path, vocabulary: int, **shape: int) -> Path:
    """Two layers of SmolLM2-135M's shape, or another shape."""
    from transformers import LlamaConfig, LlamaForCausalLM

    if not folder.exists():
        settings = {
            "hidden_size": HEADS * HEAD_WIDTH,
            "intermediate_size": 1536,
            "num_hidden_layers": 2,
            "num_attention_heads": HEADS,
            "num_key_value_heads": KEY_HEADS,
        }
        config = LlamaConfig(vocab_size=vocabulary, tie_word_embeddings=True, **(settings | shape))
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def memory(name: str) -> int:
    """Return a line of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def sum_of_logprobs(logprobs: torch.Tensor, _: torch.Tensor, names: torch.Tensor) -> Slope:
    return Slope(logprobs.sum(), torch.ones(len(names)), None)


def main() -> None:
    """Print the peak of one pack's forward and backward pass above what was held before it, gradients included."""
    model, vocabulary, segments, kind = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(1)
    if kind == "deepspeed":
        join_ranks(CPU)
    spec = learner_spec(kind)
    policy = load_policy(str(random_llama(model, vocabulary)), spec, CPU)
    backend: Backend = (
        PlainBackend(policy, spec.optimizer, CPU) if kind == "plain" else DeepSpeedBackend(policy, spec, CPU)
    )
    take(backend, pack_of([(1, [1])]))  # an engine's own buffers, and gradients, which are summed from here on
    pack = pack_of([(112, [400])] * segments)
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    take(backend, pack)
    print(json.dumps({"peak": memory("VmHWM") - before}))
    sys.stdout.flush()
    os._exit(0)  # threads of the engines need not be waited for


def take(backend: Backend, pack: Pack) -> None:
    inputs = as_inputs(pack, backend.policy.family.masks, CPU)
    backend.backward(backend.forward(inputs, 1.0, sum_of_logprobs).loss)


if __name__ == "__main__":
    main()
