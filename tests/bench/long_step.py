"""The learner's step over long completions, in a process of its own whose seconds and peak of memory it prints as JSON.

`python -m tests.bench.long_step MODEL PROMPTS GROUP_SIZE PROMPT_TOKENS COMPLETION_TOKENS STEPS`: DeepSpeed, float32,
one optimizer step a batch of random tokens, with reference and KL.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

import torch

from prorl_api.spec.values import LossAggregation
from prorl_trainer.algorithm.packing import build_batch
from prorl_trainer.algorithm.types import Batch, RolloutGroup, ScoredGroup
from prorl_trainer.engines.ranks import join_ranks
from tests.bench.learner_step import memory
from tests.integration.engine_kit import ALGORITHM, CPU, learner_spec, make_engine
from tests.unit.trainer.trainer_builders import make_prompt, make_rollout, make_scored, make_segment

MICROBATCH_TOKENS = 2048
"""The least that holds a completion with its prompt."""


def batch_of(prompts: int, group_size: int, prompt: int, completion: int) -> Batch:
    """Random groups."""
    dice = random.Random(0)

    def tokens(count: int) -> list[int]:
        return [dice.randrange(10, 1000) for _ in range(count)]

    def group(index: int) -> ScoredGroup:
        rollouts = tuple(
            make_rollout(make_segment(tokens(completion), logprobs=[-8.0] * completion)) for _ in range(group_size)
        )
        whole = RolloutGroup(prompt=make_prompt(index, token_ids=tokens(prompt)), rollouts=rollouts)
        return make_scored(whole, [dice.uniform(-1.0, 1.0) for _ in rollouts])

    return build_batch(
        [group(index) for index in range(prompts)],
        minibatch_prompts=prompts,
        microbatch_tokens=MICROBATCH_TOKENS,
        num_ranks=1,
        aggregation=LossAggregation.TOKEN_MEAN,
        temperature=1.0,
    )


def main() -> None:
    """Step and print."""
    model, *sizes, steps = sys.argv[1:]
    join_ranks(CPU)
    torch.set_num_threads(2)
    batch = batch_of(*map(int, sizes))
    engine = make_engine(Path(model), learner_spec("deepspeed", stage=2))
    seconds = []
    for _ in range(int(steps)):
        started = time.perf_counter()
        engine.prepare(batch)
        engine.update(0, ALGORITHM, 1e-6)
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"seconds": seconds, "peak": memory("VmHWM")}))


if __name__ == "__main__":
    main()
