"""What the operator costs, against a bare script that writes the same objects, in one run on a real API server.

    make bench-operator            # 500 jobs of five pods each, about twenty minutes on two cores
    make bench-operator JOBS=50    # about four
    python -m tests.bench.bench_operator --signals    # only what the source of signals costs

The control plane shares the machine with what is measured, so times are ratios to the bare script, which runs before
and after. kwok plays nodes; one process plays the API of every learner. Phases: bare script, operator brings the
same jobs up, a minute of training, another on a Prometheus (played by the learners' process), suspension, half a
minute of rest, failed learners, failover, bare script again.
Prints one table and always exits with 0 if it could measure; a missed target is marked.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench.bench_operator_phases import NAMESPACE, Bench
from tests.bench.bench_operator_world import make_world


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure the operator.")
    parser.add_argument("--jobs", type=int, default=500, help="how many jobs at once (default: 500)")
    parser.add_argument("--signals", action="store_true", help="only training, on the learner's series and Prometheus")
    given = parser.parse_args(arguments)
    jobs = given.jobs
    load = os.getloadavg()[0]
    print(f"{jobs} jobs; {os.cpu_count()} cores, load {load:.1f} before the run", flush=True)
    with tempfile.TemporaryDirectory() as folder, make_world(Path(folder) / "cluster", jobs) as world:
        bench = Bench(world, jobs)
        if not given.signals:
            bench.bare()
        operator = world.operator("bench-a", NAMESPACE)
        operator.start()
        bench.bring_up(operator)
        bench.train(operator)
        bench.train_on_prometheus(operator)
        if not given.signals:
            bench.rest(operator)
            bench.break_things(operator)
            bench.bare()
            bench.compare()
    print(f"\n{bench.report.table()}")


if __name__ == "__main__":
    main()
