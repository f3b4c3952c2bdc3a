"""Every published recipe, shortened, with real parts: `python -m tests.bench.bench_recipes [NAME ...]`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from prorl_api.run_folder import RunFolder
from tests.bench.short_recipes import RECIPES, load, shortened


def main() -> None:
    """Run them one after another and print what happened."""
    wanted = sys.argv[1:] or [path.stem for path in RECIPES]
    failed = False
    for path in (path for path in RECIPES if path.stem in wanted):
        with tempfile.TemporaryDirectory() as folder:
            job, run = Path(folder, "job.yaml"), Path(folder, "run")
            job.write_text(yaml.safe_dump(shortened(load(path))))
            started = time.monotonic()
            done = subprocess.run(
                [sys.executable, "-m", "prorl_cli", "run", str(job), "--run-dir", str(run), "--plain"],
                capture_output=True,
                text=True,
                check=False,
            )
            failed |= done.returncode != 0
            print(f"{path.stem}: exit code {done.returncode} after {time.monotonic() - started:.0f} s")
            if done.returncode:
                print(done.stdout[-3000:], done.stderr[-3000:])
                continue
            lines = [json.loads(line) for line in RunFolder(run).metrics.read_text().splitlines()]
            stages = list(dict.fromkeys(line["stage"] for line in lines if line.get("stage")))
            resets = sorted(path.name for path in (run / "resets").glob("*")) if (run / "resets").exists() else []
            print(f"  {len(lines) - 1} steps, stages {stages}, {len(resets)} resets asked for by triggers")
            print("  reward", " ".join(f"{line['reward_mean']:.2f}" for line in lines if "reward_mean" in line))
    sys.exit(failed)


if __name__ == "__main__":
    main()
