"""A run of a tiny model with every real part, in which single events happen that must not end it.

Generated prompts are too long now and then, samplings find no group with a signal, the sandbox answers with a reward of
NaN, and in the middle the manifest asks for longer completions than the engines were started for.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from prorl_api.metrics import surviving
from prorl_api.run_folder import RunFolder
from tests.integration.tiny_model import write_model

_BODY = Path(__file__).with_name("body.py")
LENGTH = 8
LONGER = 64
EDIT_AT_STEP = 10


def make_job(model: Path, steps: int, *, length: int = LENGTH) -> dict[str, Any]:
    """A tenth of the completions has the wanted letter; the model learns too slowly to change that."""
    terms = {"min_terms": 2, "max_terms": 14, "min_digits": 1, "max_digits": 4}
    sums = {"name": "sums", "domain": "logic", "reasoningGym": {"tasks": [{"name": "chain_sum", "config": terms}]}}
    letters = {
        "name": "letters",
        "domain": "instruction-following",
        "jsonl": "letters.jsonl",
        "weight": 3,
        "heldOut": 4,
    }
    spec = {
        "seed": 7,
        "model": {"path": str(model)},
        "data": {"sources": [{**sums, "weight": 1}, {**letters, "weight": 3, "prompt": {"chat": False}}]},
        "rollout": {
            **{"dtype": "float32", "temperature": 1.0, "maxPromptTokens": 160, "maxCompletionTokens": length},
            **{"maxRunningSequences": 16, "cpuKvCacheBytes": 64 * 2**20, "enforceEager": True, "threads": 1},
        },
        "learner": {
            **{"engine": "plain", "precision": "float32", "threads": 1, "microbatchTokens": 512},
            **{"promptsPerStep": 2, "groupSize": 4, "minibatchPrompts": 2, "optimizer": {"learningRate": 1e-7}},
        },
        "sandbox": {"workers": 1, "maxMaskedFraction": 0.5},
        "algorithm": {"dynamicSampling": {"maxRounds": 2, "maxEmptySamplings": 20}},
        "schedule": {"totalSteps": steps},
        "validation": {"everySteps": 100, "samplesPerPrompt": 1, "sources": [{"name": "letters", "size": 4}]},
        "referenceReset": {"mode": "disabled"},
        "checkpoint": {"everySteps": 50, "keep": 1},
    }
    return {"apiVersion": "prorl.dev/v1alpha1", "kind": "ProRLJob", "metadata": {"name": "eventful"}, "spec": spec}


def write_letters(folder: Path) -> None:
    """Rows that ask for a letter, which a random model writes by chance."""
    wanted = {"let_frequency": 1, "let_relation": "at least"}
    rows = [
        {
            "prompt": f"Write {name}, variant {number}.",
            "row": {
                "instructions": [{"id": "keywords:letter_frequency", "arguments": {"letter": name, **wanted}}],
            },
        }
        for name in "aeiou"
        for number in range(20)
    ]
    (folder / "letters.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class Eventful:
    """What came of it."""

    exit_code: int
    output: str
    lines: list[dict[str, Any]]
    """Of the surviving timeline."""
    effective_length: int
    """Longest completion at the end."""
    training_seconds: float
    """From the first step's line to the last one's."""

    def total(self, name: str) -> float:
        """Sum of a metric over all steps."""
        return sum(float(line.get(name, 0.0)) for line in self.lines)


def run(folder: Path, steps: int, *, timeout_seconds: float) -> Eventful:
    """Run it in `folder`."""
    write_letters(folder)
    model = write_model(folder / "model", hidden_size=128)  # vLLM on a CPU has no heads of 16
    manifest, run_folder = folder / "job.yaml", RunFolder(folder / "run")
    manifest.write_text(yaml.safe_dump(make_job(model, steps)))
    output = folder / "output"
    deadline = time.monotonic() + timeout_seconds
    with output.open("wb") as log:
        command = [sys.executable, str(_BODY), str(manifest), str(run_folder.path)]
        body = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        while body.poll() is None and _steps(run_folder) < EDIT_AT_STEP and time.monotonic() < deadline:
            time.sleep(0.2)
        manifest.write_text(yaml.safe_dump(make_job(model, steps, length=LONGER)))
        code = body.wait(max(1.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise AssertionError(f"not done after {timeout_seconds:g} s\n{output.read_text()}") from None
    finally:
        if body.poll() is None:
            os.killpg(body.pid, signal.SIGKILL)
            body.wait()
    lines = surviving(_lines(run_folder))
    effective = json.loads(run_folder.effective_manifest.read_text())
    times = [line["time"] for line in lines if line["step"] > 0]
    return Eventful(
        exit_code=code,
        output=output.read_text(),
        lines=lines,
        effective_length=effective["spec"]["rollout"]["maxCompletionTokens"],
        training_seconds=times[-1] - times[0] if times else 0.0,
    )


def _lines(run_folder: RunFolder) -> list[dict[str, Any]]:
    if not run_folder.metrics.exists():
        return []
    return [json.loads(line) for line in run_folder.metrics.read_text().splitlines() if line.endswith("}")]


def _steps(run_folder: RunFolder) -> int:
    return max((line["step"] for line in _lines(run_folder)), default=0)
