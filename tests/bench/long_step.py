"""The learner's step over long completions, in a process of its own whose seconds and peak of memory it prints as JSON.

`python -m tests.bench.long_step MODEL PROMPTS GROUP_SIZE PROMPT_TOKENS COMPLETION_TOKENS STEPS`: DeepSpeed, float32,
one optimizer step a batch of random tokens, with reference and KL.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch

from prorl_trainer.engines.ranks import join_ranks
from tests.bench.learner_step import RandomBatch, memory
from tests.integration.engine_kit import ALGORITHM, CPU, learner_spec, make_engine

MICROBATCH_TOKENS = 2048
"""The least that holds a completion with its prompt."""


def main() -> None:
    """Step and print."""
    model, *sizes, steps = sys.argv[1:]
    join_ranks(CPU)
    torch.set_num_threads(2)
    groups, group_size, prompt, completion = map(int, sizes)
    batch = RandomBatch(
        groups=groups,
        group_size=group_size,
        prompt=prompt,
        completion=completion,
        tokens=range(10, 1000),
        minibatch=groups,
        microbatch_tokens=MICROBATCH_TOKENS,
    ).made()
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
