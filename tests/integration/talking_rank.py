"""One rank of two with nothing but their talk: `python -m tests.integration.talking_rank NAME OUT`.

Rank 0 is slower than a collective on tensors may be; then rank 1 cannot write its part of a checkpoint.
"""

from __future__ import annotations

import datetime
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, cast

import torch

from prorl_trainer.engines.engine import TrainingEngine
from prorl_trainer.engines.ranks import RankedEngine, follow, join_ranks

LIMIT = datetime.timedelta(seconds=1)


class Part:
    def write(self, folder: Path) -> None:
        if os.environ["RANK"] == "1":
            raise OSError(28, "No space left on device")
        (folder / "part").touch()


class Engine:
    """Adds up over ranks, and has a part of a checkpoint that does not fit on rank 1's disk."""

    def __init__(self) -> None:
        self.total = torch.zeros(1)

    def clear_optimizer(self) -> None:
        limit(datetime.timedelta(minutes=5))
        self.total = torch.ones(1)
        torch.distributed.all_reduce(self.total)

    def capture(self) -> Part:
        return Part()


def limit(timeout: datetime.timedelta) -> None:
    torch.distributed.distributed_c10d._set_pg_timeout(timeout)


def main() -> None:
    out = Path(sys.argv[2])
    join_ranks(torch.device("cpu"))
    engine: Any = Engine()
    if os.environ["RANK"] == "1":
        limit(LIMIT)
        follow(cast("TrainingEngine", engine))
        return
    ranked = RankedEngine(cast("TrainingEngine", engine))
    time.sleep(3 * LIMIT.total_seconds())  # a sandbox is slow
    ranked.clear_optimizer()
    try:
        ranked.save(out)
    except OSError as error:
        failure = str(error)
    ranked.clear_optimizer()
    ranked.close()
    (out / "sums.json").write_text(json.dumps({"total": engine.total.item(), "failure": failure}))


if __name__ == "__main__":
    main()
    os._exit(0)
