"""The learner's step over long completions, in a process of its own whose seconds and peak of memory it prints as JSON.

`python -m tests.bench.long_step MODEL PROMPTS GROUP_SIZE PROMPT_TOKENS COMPLETION_TOKENS STEPS PACK RECOMPUTED`:
float32, `zeroStage: 0`, one optimizer step a batch of random tokens, with reference and KL; packs of PACK positions;
RECOMPUTED is nothing, selective or full.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import torch

from prorl_trainer.engines.ranks import join_ranks
from tests.bench.learner_step import RandomBatch, memory
from tests.integration.engine_kit import ALGORITHM, CPU, learner_spec, make_engine


def main() -> None:
    """Step and print."""
    model, *sizes, steps, pack, recomputed = sys.argv[1:]
    join_ranks(CPU)
    torch.set_num_threads(2)
    groups, group_size, prompt, completion = map(int, sizes)
    how = {} if recomputed == "nothing" else {"gradientCheckpointing": True, "recomputeGranularity": recomputed}
    engine = make_engine(Path(model), learner_spec("deepspeed", stage=0, **how))
    batch = RandomBatch(
        groups=groups,
        group_size=group_size,
        prompt=prompt,
        completion=completion,
        tokens=range(10, 1000),
        minibatch=groups,
        microbatch_tokens=int(pack),
    ).made(continue_prefixes=engine.continues_prefixes)
    seconds = []
    for _ in range(int(steps)):
        started = time.perf_counter()
        engine.prepare(batch)
        engine.update(0, ALGORITHM, 1e-6)
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"seconds": seconds, "peak": memory("VmHWM")}), flush=True)
    os._exit(0)  # as a learner ends: gloo's threads may hold tensors of Python's, and abort where they outlive it


if __name__ == "__main__":
    main()
