"""One rank of a world of processes: `python -m tests.integration.served_policy_rank MODEL OUT STAGE`.

Rank 0 writes what it would serve and the probe that goes with it; the others follow.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from prorl_trainer.engine_mismatch import make_probe
from prorl_trainer.engines.ranks import RankedEngine, follow, join_ranks
from tests.integration.engine_kit import ALGORITHM, CPU, learner_spec, make_engine, train

TOKENS = (5, 9, 20, 31, 17, 4, 90, 77)


def main() -> None:
    model, out, stage = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    join_ranks(CPU)
    engine = make_engine(model, learner_spec("deepspeed", stage=stage))
    if os.environ["RANK"] != "0":
        follow(engine)
        return
    ranked = RankedEngine(engine)
    beats: list[int] = []
    ranked.on_progress(lambda: beats.append(1))
    train(ranked, [1], ranks=2)
    trained = len(beats)
    probe = make_probe(ranked, TOKENS, ALGORITHM, 1)
    served = {name: tensor.clone() for name, tensor in ranked.served_weights(torch.float32)}
    train(ranked, [2], ranks=2)  # the ranks are still in step with each other
    ranked.close()
    save_file(served, out / "model.safetensors")
    (out / "probe.json").write_text(json.dumps({"logprobs": probe.logprobs, "beats": trained}))


if __name__ == "__main__":
    main()
    os._exit(0)
