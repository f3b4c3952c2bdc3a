"""A long run in which single events happen that must not end it: `python -m tests.bench.bench_events [STEPS]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.integration.events.eventful_run import run

SHOWN = ("prompts_passed_over", "samplings_empty", "rollouts_masked", "minibatches_skipped", "groups_sampled")


def main() -> None:
    """Run it and print what happened."""
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    with tempfile.TemporaryDirectory() as folder:
        seen = run(Path(folder), steps, timeout_seconds=7200)
    attempts = {line["attempt"] for line in seen.lines}
    print(f"exit code {seen.exit_code}, {len(seen.lines) - 1} steps in attempts {sorted(attempts)}")
    print(f"{seen.training_seconds / max(1, len(seen.lines) - 2):.3f} s a step, {seen.training_seconds:.0f} s in all")
    for name in SHOWN:
        print(f"{name:22} {seen.total(name):8.0f}")
    print(f"completions of at most {seen.effective_length} tokens at the end")


if __name__ == "__main__":
    main()
