"""What a learner's step is made of, and its share of the machine's peak: `python -m tests.bench.bench_step_parts`.

The quickstart's model in float32 on two threads, its step of 16 x 8 completions of 6 random tokens after 50, all
different, with `zeroStage: 0` and with DeepSpeed's stage 2 in turn, and steps in packs of more than 4,096 positions.
Medians, each round in processes of their own. The share is that of the arithmetic that a step needs (what is computed
again does not count) in what products of large float32 matrices reach in the same process, the mean over processes.
Exit status 1 where a bound is missed: 0.6 on the quickstart's batches, 0.65 in packs of 4,608.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prorl_api.names import LEARNER_GLIBC_TUNABLES

REPOSITORY = Path(__file__).parents[2]
MODEL = REPOSITORY / ".cache/models/SmolLM2-135M-Instruct"
ENVIRONMENT = {
    "GLIBC_TUNABLES": LEARNER_GLIBC_TUNABLES,
    "OMP_NUM_THREADS": "2",
    "OMP_WAIT_POLICY": "PASSIVE",
    "HF_HUB_OFFLINE": "1",
}
"""A learner's on two cores."""
PARTS = ("reference", "old_logprobs", "forward", "backward", "step", "rest", "whole", "program", "kernel")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A batch, and the bound of its share of the peak."""

    name: str
    groups: int
    group_size: int
    prompt: int
    completion: int
    minibatch: int
    pack: int
    steps: int
    bound: float

    def measured(self, stage: int) -> dict[str, Any]:
        """Run its steps in a process of its own."""
        sizes = [self.groups, self.group_size, self.prompt, self.completion, self.minibatch, self.pack]
        words = [MODEL, "nothing", "resident", stage, self.steps, *sizes]
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.step_parts", *map(str, words)],
            env={**os.environ, **ENVIRONMENT},
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found


QUICKSTART = Work(
    name="the quickstart's batches", groups=16, group_size=8, prompt=50, completion=6, minibatch=8, pack=1024, steps=4,
    bound=0.6,
)  # fmt: skip
LONG = Work(
    name="packs of 4,608", groups=4, group_size=8, prompt=256, completion=257, minibatch=2, pack=4608, steps=2,
    bound=0.65,
)  # fmt: skip


def row(work: Work, stage: int, rounds: list[dict[str, Any]]) -> tuple[str, float]:
    """Return a row of the table, and the share of the peak."""
    steps = [step for found in rounds for step in found["steps"]]
    medians = {part: statistics.median(step[part] for step in steps) for part in (*PARTS, "faults")}
    wholes = [statistics.median(step["whole"] for step in found["steps"]) for found in rounds]
    shares = [found["gigaflops"] / whole / found["peak"] for found, whole in zip(rounds, wholes, strict=True)]
    share, peak = statistics.mean(shares), statistics.mean(found["peak"] for found in rounds)
    cells = [f"{medians[part]:.2f}" for part in PARTS]
    memory = max(found["memory"] for found in rounds) / 2**30
    engine = "DeepSpeed, stage 2" if stage else "`zeroStage: 0`"
    last = [f"{medians['faults']:.0f}", f"{memory:.1f} GiB", f"{share:.2f} of {peak:.0f}"]
    return "| " + " | ".join([f"{work.name}, {engine}", *cells, *last]) + " |", share


def main() -> None:
    """Measure and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2, help="processes of each engine")
    parser.add_argument("--only", choices=("quickstart", "long"))
    options = parser.parse_args()
    works = [work for work, name in ((QUICKSTART, "quickstart"), (LONG, "long")) if options.only in (None, name)]
    names = ["reference", "old log-probabilities", "forward", "backward", "optimizer steps", "rest", "whole"]
    titles = ["seconds of a step", *names, "CPU in the program", "in the kernel", "page faults", "peak memory"]
    print("| " + " | ".join([*titles, "share of the peak, gigaflops"]) + " |")
    print("|---" * (len(titles) + 1) + "|")
    are_met = []
    for work in works:
        stages = (0, 2) if work is QUICKSTART else (0,)
        rounds: dict[int, list[dict[str, Any]]] = {stage: [] for stage in stages}
        for _ in range(options.rounds):
            for stage in stages:
                rounds[stage].append(work.measured(stage))
        for stage in stages:
            line, share = row(work, stage, rounds[stage])
            print(line, flush=True)
            are_met.append(share >= work.bound)
            print(f"  share {share:.2f}, wanted at least {work.bound}: {'met' if are_met[-1] else 'MISSED'}")
    sys.exit(0 if all(are_met) else 1)


if __name__ == "__main__":
    main()
