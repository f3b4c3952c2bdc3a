"""`make fuzz-http`: ten minutes of requests that no client would send, to all three services of a run."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.http_fuzz import Fuzzer
from tests.bench.http_fuzz_servers import TOKENS, services

_WARM = 2000
"""Requests after which memory is looked at first: caches fill before."""


def main() -> int:
    """Print what was found; 1 if anything was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, services(Path(folder)) as running:
        fuzzer = Fuzzer(running.addresses, TOKENS, arguments.seed)
        end, warm = time.monotonic() + 60 * arguments.minutes, 0
        while time.monotonic() < end and running.are_alive:
            fuzzer.step()
            if fuzzer.findings.requests == _WARM:
                warm = running.resident_bytes
        found = fuzzer.findings
        grown = (running.resident_bytes - warm) / 2**20 if warm else 0.0
        alive, traceback = running.are_alive, running.tracebacks
    print(f"{found.requests} requests in {arguments.minutes:g} min, seed {arguments.seed}")
    print("answers  " + "  ".join(f"{status}: {count}" for status, count in sorted(found.statuses.items())))
    print(f"slowest {found.slowest_seconds:.1f} s; memory since request {_WARM}: {grown:+.0f} MiB")
    print(f"servers alive: {alive}; faults: {len(found.faults)}; traceback: {bool(traceback)}")
    for fault in found.faults[:20]:
        print("  " + fault)
    if traceback:
        print(traceback)
    return int(bool(found.faults or traceback or not alive or grown > 64))


if __name__ == "__main__":
    sys.exit(main())
