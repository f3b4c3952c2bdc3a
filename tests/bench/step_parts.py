"""The parts of a learner's steps, in a process of its own that prints them as JSON.

`python -m tests.bench.step_parts MODEL RECOMPUTED REFERENCE STAGE STEPS`, and GROUPS GROUP_SIZE PROMPT COMPLETION
MINIBATCH PACK: float32 on two threads, ZeRO stage STAGE on one rank, batches of random tokens with reference and KL;
RECOMPUTED is nothing, selective or full, REFERENCE resident or offloaded. The first step also allocates and is left
out.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from prorl_trainer.algorithm.types import Batch
from prorl_trainer.engines.engine import TrainingEngine
from prorl_trainer.engines.ranks import join_ranks
from tests.bench.learner_step import RandomBatch, memory
from tests.bench.peak_share import Arithmetic, gigaflops
from tests.integration.engine_kit import ALGORITHM, CPU, learner_spec, make_engine


def timed(action: Callable[..., Any], name: str, seconds: dict[str, float]) -> Callable[..., Any]:
    """Return the action with its seconds added up."""

    def measured(*args: Any, **options: Any) -> Any:
        started = time.perf_counter()
        try:
            return action(*args, **options)
        finally:
            seconds[name] += time.perf_counter() - started

    return measured


def step(engine: TrainingEngine, batch: Batch, seconds: dict[str, float]) -> dict[str, float]:
    """Train on the batch; seconds of its parts, of the processor, and the page faults."""
    used, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    prepared = engine.prepare(batch)
    seconds.clear()  # forward passes so far were those of the old log-probabilities
    for index in range(len(batch.minibatches)):
        engine.update(index, ALGORITHM, 1e-6)
    whole, now = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    parts = {name.removeprefix("seconds_"): value for name, value in prepared.items()} | seconds
    return {
        **parts,
        "rest": whole - sum(parts.values()),
        "whole": whole,
        "program": now.ru_utime - used.ru_utime,
        "kernel": now.ru_stime - used.ru_stime,
        "faults": now.ru_minflt - used.ru_minflt,
    }


def main() -> None:
    """Step and print."""
    model, recomputed, reference, *numbers = sys.argv[1:]
    stage, steps, groups, group_size, prompt, completion, minibatch, pack = map(int, numbers)
    join_ranks(CPU)
    torch.set_num_threads(2)
    how = {} if recomputed == "nothing" else {"gradientCheckpointing": True, "recomputeGranularity": recomputed}
    engine = make_engine(Path(model), learner_spec("deepspeed", stage=stage, reference=reference, **how))
    batch = RandomBatch(
        groups=groups,
        group_size=group_size,
        prompt=prompt,
        completion=completion,
        tokens=range(10, 1000),
        minibatch=minibatch,
        microbatch_tokens=pack,
    ).made(continue_prefixes=engine.continues_prefixes)
    seconds: dict[str, float] = defaultdict(float)
    backend = engine._backend
    for name in ("forward", "backward", "step"):
        setattr(backend, name, timed(getattr(backend, name), name, seconds))
    step(engine, batch, seconds)
    before = gigaflops(time.perf_counter)
    measured = [step(engine, batch, seconds) for _ in range(steps)]
    peak = max(before, gigaflops(time.perf_counter))
    needed = Arithmetic.of(AutoConfig.from_pretrained(model)).gigaflops_of_step(batch)
    packs = [one.num_positions for one in batch.minibatches[0].packs_by_rank[0]]
    found = {"steps": measured, "gigaflops": needed, "peak": peak, "packs": packs, "memory": memory("VmHWM")}
    print(json.dumps(found), flush=True)
    os._exit(0)  # as a learner ends: gloo's threads may hold tensors of Python's, and abort where they outlive it


if __name__ == "__main__":
    main()
