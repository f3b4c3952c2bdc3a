"""One rank of a world, through what a recipe does: `python -m tests.integration.recipe_rank MODEL OUT STAGE`.

A rate that warms up, gradients that are clipped, and a reference reset that clears the optimizer: it warms up again.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

from prorl_api.spec.roles import OptimizerSpec
from prorl_trainer.algorithm.learning_rate import learning_rate
from prorl_trainer.engines.engine import Sums
from prorl_trainer.engines.ranks import RankedEngine, follow, join_ranks
from tests.integration.engine_kit import ALGORITHM, CPU, Engine, learner_spec, make_batch, make_engine

OPTIMIZER = OptimizerSpec(learning_rate=2e-3, warmup_steps=3, gradient_clip=0.05, weight_decay=0.01)
RESET_AFTER = 2
"""Batches."""


def train_by_recipe(engine: Engine, ranks: int) -> list[Sums]:
    """Eight optimizer steps on four batches, the same ones whatever the number of ranks; what each step returned."""
    results, steps = list[Sums](), 0
    for number in range(4):
        if number == RESET_AFTER:
            engine.reference_from_policy()
            engine.clear_optimizer()
            steps = 0
        batch = make_batch(number, ranks=ranks, count=8, minibatch=4)
        engine.prepare(batch)
        for index in range(len(batch.minibatches)):
            rate = learning_rate(OPTIMIZER, steps)
            results.append({**engine.update(index, ALGORITHM, rate), "rate": rate})
            steps += 1
    return results


def main() -> None:
    model, out, stage = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    join_ranks(CPU)
    ranks = int(os.environ["WORLD_SIZE"])
    spec = learner_spec("deepspeed", stage=stage, processesPerReplica=ranks).model_copy(update={"optimizer": OPTIMIZER})
    engine = make_engine(model, spec)
    if os.environ["RANK"] != "0":
        follow(engine)
        return
    ranked = RankedEngine(engine)
    sums = train_by_recipe(ranked, ranks)
    ranked.close()
    (out / "sums.json").write_text(json.dumps(sums))


if __name__ == "__main__":
    main()
    os._exit(0)
