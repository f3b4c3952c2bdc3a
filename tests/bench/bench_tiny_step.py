"""A tiny model's step on a CPU, part by part: `python -m tests.bench.bench_tiny_step [--engines plain deepspeed]`.

A Llama of 17 million random parameters, 12.6 of them the embedding of SmolLM2's 49,152 tokens, and 128 completions of
24 random tokens after 16 prompts of 20, two optimizer steps, KL to a reference: what prolonged runs on two cores are
made of. Least seconds of several steps, each part for itself, next to this machine's peak in products of matrices: with
one thread its CPU seconds, so that other programs on the machine do not count, with more those of the wall clock.
`--copies 4`: each completion was sampled four times, as small models that have learnt something do.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import LlamaConfig

from prorl_trainer.algorithm.types import Batch
from prorl_trainer.engines.engine import TrainingEngine
from prorl_trainer.engines.ranks import join_ranks
from tests.bench.learner_step import RandomBatch, random_llama
from tests.bench.peak_share import Arithmetic, gigaflops
from tests.integration.engine_kit import ALGORITHM, CPU, learner_spec, make_engine

VOCABULARY = 49_152
SHAPE = {
    "hidden_size": 256,
    "intermediate_size": 704,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
}
GROUPS, GROUP_SIZE, PROMPT, COMPLETION, MINIBATCH = 16, 8, 20, 24, 8
ENGINES = {"plain": ("deepspeed", 0), "deepspeed": ("deepspeed", 2)}
"""`spec.learner.engine` and `zeroStage`."""


def batch_of(copies: int, microbatch_tokens: int) -> Batch:
    return RandomBatch(
        groups=GROUPS,
        group_size=GROUP_SIZE,
        prompt=PROMPT,
        completion=COMPLETION,
        tokens=range(VOCABULARY),
        minibatch=MINIBATCH,
        microbatch_tokens=microbatch_tokens,
        copies=copies,
    ).made()


def step(engine: TrainingEngine, batch: Batch, clock: Callable[[], float]) -> dict[str, float]:
    """Seconds of its parts."""
    started = clock()
    engine.prepare(batch, with_reference=False)
    old = clock() - started
    engine.prepare(batch)
    updating = clock()
    both = updating - started - old
    for index in range(len(batch.minibatches)):
        engine.update(index, ALGORITHM, 1e-6)
    updating = clock() - updating
    return {"reference": both - old, "old": old, "updating": updating, "step": both + updating}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--copies", type=int, choices=(1, 2, 4, 8), default=1, help="of each completion in its group")
    parser.add_argument("--microbatch-tokens", type=int, default=16384)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    clock = time.thread_time if options.threads == 1 else time.perf_counter
    torch.set_num_threads(options.threads)
    join_ranks(CPU)
    batch = batch_of(options.copies, options.microbatch_tokens)
    packs = sum(len(packs) for one in batch.minibatches for packs in one.packs_by_rank)
    positions = sum(one.num_positions for one in batch.minibatches)
    operations = Arithmetic.of(LlamaConfig(vocab_size=VOCABULARY, **SHAPE)).gigaflops_of_step(batch)
    print(f"{positions} positions in {packs} packs, {operations:.0f} gigaflops a step; {options.threads} threads")
    print("| engine | reference s | old s | updating s | step s | median | share of the peak |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        model = random_llama(Path(folder, "tiny"), VOCABULARY, **SHAPE)
        for name in options.engines:
            kind, stage = ENGINES[name]
            engine = make_engine(model, learner_spec(kind, stage=stage))
            step(engine, batch, clock)  # the first one also allocates
            seconds = [step(engine, batch, clock) for _ in range(options.repetitions)]
            least = {part: min(one[part] for one in seconds) for part in seconds[0]}
            shown = " | ".join(f"{least[part]:.2f}" for part in ("reference", "old", "updating", "step"))
            median, peak = statistics.median(one["step"] for one in seconds), gigaflops(clock)
            share = operations / least["step"] / peak
            print(f"| {name} | {shown} | {median:.2f} | {share:.2f} of {peak:.0f} |", flush=True)
            del engine
            gc.collect()


if __name__ == "__main__":
    main()
