"""One rank of a world of processes: `python -m tests.integration.engine_rank MODEL OUT STAGE PRECISION [REFERENCE]`.

Rank 0 trains through `RankedEngine`, saves and loads in between, and writes what it saw; the others follow.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from prorl_trainer.engines import head_slices
from prorl_trainer.engines.ranks import RankedEngine, follow, join_ranks
from tests.integration.engine_kit import CPU, WIDE, learner_spec, make_engine, reference_of, train, weights_of

CUT = 30
"""Largest number of positions in a pack with which groups are cut, and continue a prefix below ZeRO-3."""


def main() -> None:
    model, out, stage, precision = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(1)
    slice_ = 4 * WIDE["vocab_size"]  # slices of four rows: no two packs have the same number of them
    vars(head_slices)["logits_alive"] = lambda *, on_gpu: slice_
    join_ranks(CPU)
    ranks, place = int(os.environ["WORLD_SIZE"]), sys.argv[5] if len(sys.argv) > 5 else "resident"
    spec = learner_spec("deepspeed", stage=stage, precision=precision, reference=place, processesPerReplica=ranks)
    engine = make_engine(model, spec)
    if os.environ["RANK"] != "0":
        follow(engine)
        return
    ranked = RankedEngine(engine)
    sums = train(ranked, [1, 2], ranks=ranks, limit=CUT)
    ranked.save(out / "saved")
    save_file(weights_of(ranked), out / "as_saved.safetensors")
    after_save = train(ranked, [3], ranks=ranks, count=1)  # one group: a rank has nothing but an empty pack
    save_file(weights_of(ranked), out / "weights.safetensors")
    ranked.load(out / "saved")
    again = train(ranked, [3], ranks=ranks, count=1)
    save_file(weights_of(ranked), out / "again.safetensors")
    ranked.reference_from_policy()
    ranked.clear_optimizer()
    reset = train(ranked, [4], ranks=ranks, limit=CUT)
    ranked.average_reference(0.25)
    save_file(reference_of(ranked), out / "averaged.safetensors")
    averaged = train(ranked, [5], ranks=ranks)
    ranked.close()
    found = {"sums": sums + after_save, "again": again, "reset": reset, "averaged": averaged}
    (out / "sums.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
    os._exit(0)
