"""One rank that goes on from checkpoints: `python -m tests.integration.resharded_rank MODEL OUT FROM TO STAGE...`.

Under each stage the ranks load what was saved last, OUT/FROM first, train on one batch, and save; in the end to OUT/TO.
The batches' seeds count from 3 on.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

from prorl_trainer.engines.engine import Sums
from prorl_trainer.engines.ranks import RankedEngine, follow, join_ranks
from tests.integration.engine_kit import CPU, learner_spec, make_engine, train


def main() -> None:
    model, out, first, last, *stages = sys.argv[1:]
    torch.set_num_threads(1)
    join_ranks(CPU)
    ranks = int(os.environ["WORLD_SIZE"])
    folder, sums = Path(out) / first, list[Sums]()
    for number, stage in enumerate(stages):
        engine = make_engine(Path(model), learner_spec("deepspeed", stage=int(stage), processesPerReplica=ranks))
        if os.environ["RANK"] != "0":
            follow(engine)
            continue
        ranked = RankedEngine(engine)
        ranked.load(folder)
        sums += train(ranked, [3 + number], ranks=ranks)
        folder = Path(out) / (last if number == len(stages) - 1 else f"under-{stage}")
        folder.mkdir()
        finish = ranked.begin_save(folder)
        train(ranked, [99], ranks=ranks)  # it goes on while the checkpoint is written
        finish()
        ranked.close()
    if os.environ["RANK"] == "0":
        (Path(out) / "sums.json").write_text(json.dumps(sums))


if __name__ == "__main__":
    main()
    os._exit(0)
