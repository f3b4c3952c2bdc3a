"""Our step beside that of TRL's GRPOTrainer: `make bench-end-to-end`. Exit status 1 where a bound is missed.

TRL has an environment of its own (`make trl`, requirements/trl.lock: its newest version with our versions of torch and
transformers), generates by transformers, and has its best batch setting of those tried. Both have the same model,
prompts, group size, lengths, optimizer steps a batch, KL term, float32, two threads and the learner's allocator
settings; all groups are trained. Every bound is a ratio of medians of this run; the first batch, which also
allocates, is left out.

- The quickstart's steps, ours by `prorl run` with every real part, with DeepSpeed as the manifest has it and with
  `zeroStage: 0`: reference and training (all that is neither generating nor publishing) at least 5 times faster, the
  whole step at least 4 times, each of the two.
- Long completions, 512 tokens of prompt and 1,024 of completion: reference and training at least 1.5 times faster with
  at most 0.6 times the peak memory, in one of our settings. Ours are random tokens in the engine by itself; TRL's
  generator is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from prorl_api.names import LEARNER_GLIBC_TUNABLES
from prorl_api.run_folder import RunFolder
from tests.bench.peak_share import gigaflops

REPOSITORY = Path(__file__).parents[2]
MODEL = REPOSITORY / ".cache/models/SmolLM2-135M-Instruct"
QUICKSTART = REPOSITORY / "examples/quickstart.yaml"
TRL = REPOSITORY / ".venv-trl/bin/python"
THREADS = 2
TUNED = {"GLIBC_TUNABLES": LEARNER_GLIBC_TUNABLES, "OMP_NUM_THREADS": str(THREADS), "HF_HUB_OFFLINE": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a batch is made of."""

    prompts_per_step: int
    group_size: int
    minibatch_prompts: int
    completion: int
    is_full_length: bool
    batches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Medians of one trainer, in seconds and bytes."""

    training: float
    """Reference, old log-probabilities and updating."""
    whole: float
    peak: int


def shown(done: subprocess.CompletedProcess[str]) -> str:
    """What a process that failed said last."""
    return f"{done.args[0]} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def trl(shape: Shape, prompts: list[dict[str, str]], kl: float, microbatches: list[int]) -> tuple[Measured, int]:
    """TRL's fastest, and the micro-batch that it had."""
    found = {}
    for size in microbatches:
        with tempfile.TemporaryDirectory() as folder:
            settings = Path(folder, "settings.json")
            given = {**asdict(shape), "prompts": prompts, "kl": kl, "microbatch": size, "model": str(MODEL)}
            settings.write_text(json.dumps({**given, "threads": THREADS}))
            command = [str(TRL), str(Path(__file__).with_name("trl_run.py")), str(settings)]
            done = subprocess.run(command, env={**os.environ, **TUNED}, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(shown(done))
        said = json.loads(done.stdout.splitlines()[-1])
        whole, generating = said["whole"][1:], said["generating"][1:]
        training = [all_ - part for all_, part in zip(whole, generating, strict=True)]
        found[size] = Measured(training=statistics.median(training), whole=statistics.median(whole), peak=said["peak"])
        print(f"  TRL, micro-batches of {size}: {found[size]}", flush=True)
    best = min(found, key=lambda size: found[size].training)
    return found[best], best


@dataclass(frozen=True, slots=True, kw_only=True)
class LongSetting:
    """How ours is told to compute long completions."""

    name: str
    pack: int
    """Positions."""
    recomputed: str = "nothing"
    """By gradient checkpointing: nothing, selective or full."""
    reference: str = "resident"
    """Or offloaded."""


LONG_SETTINGS = (
    LongSetting(name="a completion a pack, reference offloaded", pack=2048, reference="offloaded"),
    LongSetting(name="the same, recomputed selectively", pack=2048, reference="offloaded", recomputed="selective"),
    LongSetting(name="the same, recomputed", pack=2048, reference="offloaded", recomputed="full"),
    LongSetting(name="all in one pack", pack=9216),
)
"""The packs of a setting continue one prefix where there are several."""


def our_run(shape: Shape, stage: int) -> tuple[Measured, list[dict[str, str]], float]:
    """The quickstart's steps with all groups trained; with its prompts and its KL coefficient."""
    spec = yaml.safe_load(QUICKSTART.read_text())["spec"]
    learner = spec["learner"]
    assert (learner["promptsPerStep"], learner["groupSize"]) == (shape.prompts_per_step, shape.group_size)
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder, "run"))
        changes = [
            f"learner.deepspeed.zeroStage={stage}",
            "algorithm.dynamicSampling.enabled=false",
            f"schedule.totalSteps={shape.batches}",
            "referenceReset.mode=disabled",
            "validation.sources=[{name: addition, size: 1}]",
            f"validation.everySteps={shape.batches}",
            f"checkpoint.everySteps={shape.batches}",
        ]
        sets = [f"--set={change}" for change in changes]
        command = [sys.executable, "-m", "prorl_cli", "run", str(QUICKSTART), "--run-dir", str(run.path), "--plain"]
        done = subprocess.run([*command, *sets], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(shown(done))
        lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
        prompts = _prompts(run)
    steps = [line for line in lines if "seconds_updating" in line][1:]
    assert all(line["groups_trained"] == shape.prompts_per_step for line in steps)
    parts = ("seconds_reference", "seconds_old_logprobs", "seconds_updating")
    print(
        f"  ours, zeroStage {stage}: " + _parts(steps, (*parts, "seconds_sampling", "seconds_publishing")), flush=True
    )
    measured = Measured(
        training=statistics.median(sum(line[part] for part in parts) for line in steps),
        whole=statistics.median(line["seconds_total"] for line in steps),
        peak=0,
    )
    return measured, prompts, spec["algorithm"]["kl"]["coefficient"]


def _parts(steps: list[dict[str, Any]], names: tuple[str, ...]) -> str:
    medians = ((name.removeprefix("seconds_"), statistics.median(line[name] for line in steps)) for name in names)
    return ", ".join(f"{name} {seconds:.2f} s" for name, seconds in medians)


def _prompts(run: RunFolder) -> list[dict[str, str]]:
    """Prompts and answers in the order in which the run trained on them."""
    found: dict[int, dict[str, str]] = {}
    for path in run.samples.glob("train-*.jsonl"):
        for line in map(json.loads, path.read_text().splitlines()):
            found.setdefault(line["prompt_index"], {"prompt": line["prompt"], "answer": line["expected"]})
    return [found[index] for index in sorted(found)]


def our_long(shape: Shape, prompt: int, setting: LongSetting) -> Measured:
    """The engine over long completions, in a process of its own."""
    batch = [shape.prompts_per_step, shape.group_size, prompt, shape.completion, shape.minibatch_prompts, setting.pack]
    words = ["-m", "tests.bench.step_parts", MODEL, setting.recomputed, setting.reference, 0, shape.batches - 1, *batch]
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(
        command, env={**os.environ, **TUNED}, cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(shown(done))
    said = json.loads(done.stdout.splitlines()[-1])
    seconds = statistics.median(step["whole"] for step in said["steps"])
    return Measured(training=seconds, whole=seconds, peak=said["memory"])


def random_prompts(count: int, length: int) -> list[dict[str, str]]:
    """Texts of so many tokens: digits, of which each is one in SmolLM2's vocabulary."""
    dice = random.Random(0)
    return [{"prompt": "".join(dice.choice("0123456789") for _ in range(length)), "answer": "0"} for _ in range(count)]


def judged(what: str, ratio: float, bound: float, *, is_upper: bool = False) -> bool:
    """Print a ratio beside its bound; whether it holds."""
    holds = ratio <= bound if is_upper else ratio >= bound
    print(f"{what}: {ratio:.2f}, wanted at {'most' if is_upper else 'least'} {bound}: {'met' if holds else 'MISSED'}")
    return holds


def quickstart(microbatches: list[int], batches: int) -> list[bool]:
    """The quickstart's steps."""
    shape = Shape(
        prompts_per_step=16, group_size=8, minibatch_prompts=8, completion=6, is_full_length=False, batches=batches
    )
    runs = {stage: our_run(shape, stage) for stage in (2, 0)}
    _, prompts, kl = runs[2]
    theirs, size = trl(shape, prompts, kl, microbatches)
    print(f"quickstart: TRL's training {theirs.training:.1f} s (micro-batches of {size}),", end=" ")
    print(f"whole {theirs.whole:.1f} s, peak {theirs.peak / 2**30:.1f} GiB")
    held = []
    for stage, (ours, _, _) in runs.items():
        print(f"ours, zeroStage {stage}: training {ours.training:.1f} s, whole {ours.whole:.1f} s")
        held += [
            judged("  reference and training, times faster", theirs.training / ours.training, 5.0),
            judged("  whole step, times faster", theirs.whole / ours.whole, 4.0),
        ]
    return held


def long_completions(microbatches: list[int], batches: int) -> list[bool]:
    """Long completions."""
    shape = Shape(
        prompts_per_step=1, group_size=8, minibatch_prompts=1, completion=1024, is_full_length=True, batches=batches
    )
    prompt = 512
    ours = {setting.name: our_long(shape, prompt, setting) for setting in LONG_SETTINGS}
    theirs, size = trl(shape, random_prompts(1, prompt), 0.001, microbatches)
    print(f"long: TRL {theirs.training:.1f} s, {theirs.peak / 2**30:.1f} GiB (micro-batches of {size})")
    both = []
    for name, found in ours.items():
        print(f"ours, {name}: {found.training:.1f} s, {found.peak / 2**30:.1f} GiB")
        faster = judged("  reference and training, times faster", theirs.training / found.training, 1.5)
        smaller = judged("  peak memory, share of TRL's", found.peak / theirs.peak, 0.6, is_upper=True)
        both.append(faster and smaller)
    print(f"long completions: {sum(both)} of our {len(both)} settings hold both bounds")
    return [any(both)]


def main() -> None:
    """Measure and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("quickstart", "long"))
    parser.add_argument("--batches", type=int, default=5, help="of the quickstart, the first left out")
    parser.add_argument("--long-batches", type=int, default=3)
    parser.add_argument("--microbatches", type=int, nargs="+", default=[16, 32, 64], help="TRL's, of the quickstart")
    parser.add_argument("--long-microbatches", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    print(f"products of float32 matrices: {gigaflops(time.perf_counter):.0f} gigaflops on {THREADS} threads")
    held = []
    if options.only != "long":
        held += quickstart(options.microbatches, options.batches)
    if options.only != "quickstart":
        held += long_completions(options.long_microbatches, options.long_batches)
    sys.exit(0 if all(held) else 1)


if __name__ == "__main__":
    main()
