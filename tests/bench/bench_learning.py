"""What the quickstart has learnt after a fixed time of training: `make bench-learning`.

Each setting changes precision or the shape of a batch of examples/quickstart.yaml and runs it with every real part, one
run at a time, settings in turn within a seed, so that a machine that drifts slows all of them. Of a run counts the time
of its steps alone: neither start nor validation. Held-out accuracy at a moment lies on the line between the validations
before and after it. What is done is kept in a file; started again, the bench goes on there and prints the table of all.
The file is of one state of the code: remove it after changing any that trains.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from prorl_api.run_folder import RunFolder
from prorl_cli.local.files import METRICS_KEYS, read_lines

REPOSITORY = Path(__file__).parents[2]
QUICKSTART = REPOSITORY / "examples/quickstart.yaml"
HELD_OUT_PROMPTS_EACH = 64
"""Prompts that a run trains on between two validations, whatever the shape of its batches."""
MOST_STEPS = 1000
POLL_SECONDS = 0.5
STOP_SECONDS = 120.0
"""That a run may take to stop in good order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One way to train, and what is asked for in a step."""

    name: str
    stage: int = 0
    precision: str = "float32"
    head: str = "float32"
    dtype: str = "float32"
    prompts: int = 16
    group_size: int = 8
    minibatch: int = 8

    def changes(self, seed: int) -> list[str]:
        """Fields of the manifest."""
        every = max(1, HELD_OUT_PROMPTS_EACH // self.prompts)
        return [
            f"seed={seed}",
            f"learner.deepspeed.zeroStage={self.stage}",
            f"learner.precision={self.precision}",
            f"learner.headPrecision={self.head}",
            f"rollout.dtype={self.dtype}",
            f"learner.promptsPerStep={self.prompts}",
            f"learner.groupSize={self.group_size}",
            f"learner.minibatchPrompts={self.minibatch}",
            f"schedule.totalSteps={MOST_STEPS}",
            f"validation.everySteps={every}",
            f"checkpoint.everySteps={MOST_STEPS}",
        ]


SETTINGS = (
    Setting(name="DeepSpeed's stage 2", stage=2),
    Setting(name="zeroStage 0"),
    Setting(name="learner in bfloat16", precision="bfloat16"),
    Setting(name="learner, head and server in bfloat16", precision="bfloat16", head="bfloat16", dtype="bfloat16"),
    Setting(name="four optimizer steps of 4 prompts", minibatch=4),
    Setting(name="one optimizer step of 16 prompts", minibatch=16),
    Setting(name="32 prompts x 4, two of 16", prompts=32, group_size=4, minibatch=16),
    Setting(name="8 prompts x 16, two of 4", prompts=8, group_size=16, minibatch=4),
    Setting(name="8 prompts x 8, two of 4", prompts=8, minibatch=4),
)
"""All but the first without DeepSpeed, which costs one rank time and changes no number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """What a run came to."""

    setting: str
    seed: int
    seconds: list[float]
    """Of training before each validation."""
    accuracy: list[float]
    """Held out, greedy."""
    step: float
    """Median seconds of a step, the first left out."""
    changes: list[str]
    """What the run was told, the seed among it."""

    def at(self, moment: float) -> float:
        """Return the held-out accuracy after so many seconds of training, of which it has had as many."""
        assert moment <= self.seconds[-1]
        return float(np.interp(moment, self.seconds, self.accuracy))

    def is_of(self, setting: Setting, seeds: list[int], moment: float) -> bool:
        """Whether it is a run of the setting, with one of the seeds, that was trained so long."""
        return any(self.changes == setting.changes(seed) for seed in seeds) and self.seconds[-1] >= moment


class EndedError(Exception):
    """A run ended by itself."""


def run(setting: Setting, seed: int, moment: float) -> Learnt:
    """Train until a validation has come after `moment`; then stop in good order."""
    spec = json.dumps(tasks_with(seed))
    sets = [f"--set={change}" for change in [*setting.changes(seed), f"data.sources={spec}"]]
    with tempfile.TemporaryDirectory() as folder, Path(folder, "log").open("w") as log:
        place = RunFolder(Path(folder, "run"))
        command = [sys.executable, "-m", "prorl_cli", "run", str(QUICKSTART), "--run-dir", str(place.path), "--plain"]
        process = subprocess.Popen([*command, *sets], stdout=log, stderr=subprocess.STDOUT)
        try:
            while not (lines := read_lines(place.metrics, *METRICS_KEYS)) or first_judged_after(lines, moment) is None:
                if process.poll() is not None:
                    raise EndedError(f"it ended with {process.returncode}:\n{Path(log.name).read_text()[-4000:]}")
                time.sleep(POLL_SECONDS)
        finally:
            stop(process)
    times = trained(lines)
    points = [(at, line["validation_accuracy"]) for at, line in zip(times, lines, strict=True) if judged(line)]
    steps = np.diff(times)[1:]
    return Learnt(
        setting=setting.name,
        seed=seed,
        seconds=[at for at, _ in points],
        accuracy=[accuracy for _, accuracy in points],
        step=float(np.median(steps)),
        changes=setting.changes(seed),
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a run in good order, or else by force."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def tasks_with(seed: int) -> list[dict[str, Any]]:
    """Return the quickstart's sources, with items of this seed."""
    sources: list[dict[str, Any]] = yaml.safe_load(QUICKSTART.read_text())["spec"]["data"]["sources"]
    for source in sources:
        source["reasoningGym"]["seed"] = seed
    return sources


def judged(line: dict[str, Any]) -> bool:
    """Whether a validation ran in this step."""
    return "validation_accuracy" in line


def trained(lines: list[dict[str, Any]]) -> list[float]:
    """Seconds of training until the end of each line's step: no start, no validation, no checkpoint."""
    own = [
        line["seconds_total"] - line.get("seconds_validating", 0.0) - line.get("seconds_checkpointing", 0.0)
        for line in lines
    ]
    return [sum(own[1 : index + 1]) for index in range(len(own))]


def first_judged_after(lines: list[dict[str, Any]], moment: float) -> int | None:
    """Return the first validation at or after a moment of training, if there is one."""
    found = (index for index, at in enumerate(trained(lines)) if at >= moment and judged(lines[index]))
    return next(found, None)


def table(found: list[Learnt], seeds: list[int], moments: list[float]) -> list[str]:
    """Return the means over seeds, with the least and the most."""
    lines = ["| setting | seeds | a step | " + " | ".join(f"after {moment:.0f} s" for moment in moments) + " |"]
    lines.append("|---|---|---|" + "---|" * len(moments))
    for setting in SETTINGS:
        runs = [learnt for learnt in found if learnt.is_of(setting, seeds, max(moments))]
        if not runs:
            continue
        cells = []
        for moment in moments:
            values = [learnt.at(moment) for learnt in runs]
            cells.append(f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})")
        step = statistics.mean(learnt.step for learnt in runs)
        lines.append(f"| {setting.name} | {len(runs)} | {step:.1f} s | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    """Run what is not done yet; print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=REPOSITORY / "runs/learning.jsonl")
    parser.add_argument("--moments", type=float, nargs="+", default=[80.0, 160.0], help="seconds of training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--settings", type=int, nargs="+", default=list(range(len(SETTINGS))), help="by number")
    options = parser.parse_args()
    options.results.parent.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # the run that is going on is stopped, too
    found, longest, failed = [Learnt(**line) for line in read_lines(options.results)], max(options.moments), False
    for seed in options.seeds:
        for setting in (SETTINGS[number] for number in options.settings):
            if any(learnt.is_of(setting, [seed], longest) for learnt in found):
                continue
            try:
                learnt = run(setting, seed, longest)
            except EndedError as error:
                print(f"seed {seed}, {setting.name}: {error}", flush=True)
                failed = True
                continue
            found.append(learnt)
            with options.results.open("a") as file:
                file.write(json.dumps(asdict(learnt)) + "\n")
            print(f"seed {seed}, {setting.name}: {learnt.at(longest):.3f}", flush=True)
    print("\n".join(table(found, options.seeds, options.moments)))
    sys.exit(failed)


if __name__ == "__main__":
    main()
