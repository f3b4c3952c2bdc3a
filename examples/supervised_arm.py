"""Fine-tune the toy world's base on worked solutions, for as many steps and on the same prompts as a run of ProRL.

What a critic asks beside reinforcement learning: what the same model learns from being shown. Each step takes the
prompts that a step of the manifest asks at most, `promptsPerStep` x `maxRounds` of the same stream and seed, with one
worked solution each, in as many optimizer steps as such a step takes at most, with the manifest's optimizer; the loss
is the mean cross-entropy of the completion's tokens. Deterministic for one thread, and begun anew where it was stopped:
a run takes minutes.

Usage: python examples/supervised_arm.py MANIFEST OUTPUT --seed S --steps N [--at STEP ...]
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer

from prorl_api.manifest import read_job
from prorl_api.spec.data import CompositionSource
from prorl_api.spec.job import ProRLJob
from prorl_trainer.algorithm.types import Prompt
from prorl_trainer.data.composition import CompositionWorld
from prorl_trainer.data.composition_lessons import END
from prorl_trainer.data.prompts import PromptSource, source_weights
from prorl_trainer.engines.backend import adamw
from prorl_trainer.storage.lines import LineFile

_NOT_LEARNT = -100
_STEPS_BETWEEN_LINES = 50


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt with its worked solution."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]


class Solutions:
    """Worked solutions of the manifest's training prompts, in their order."""

    def __init__(self, job: ProRLJob, folder: Path, tokenizer: Any, store: Path) -> None:
        self._spec, self._tokenizer = job.spec, tokenizer
        self._prompts = PromptSource(job.spec, tokenizer, folder, LineFile(store))
        self._worlds = {source.name: _world(source.composition) for source in job.spec.data.sources}
        self._next = 0

    def take(self, count: int) -> list[Example]:
        """Return the next `count` ones."""
        taken = self._prompts.take(self._next, count, source_weights(self._spec))
        self._next = taken.next_index
        return [self._example(prompt) for prompt in taken.prompts]

    def _example(self, prompt: Prompt) -> Example:
        names, _, word = prompt.row["entry"]["question"].partition(":")
        worked = self._worlds[prompt.source].chain(names, word).worked
        ids: list[int] = self._tokenizer(f"{worked}{END}", add_special_tokens=False)["input_ids"]
        return Example(prompt.token_ids, tuple(ids))


def _world(source: CompositionSource | None) -> CompositionWorld:
    if source is None:
        raise SystemExit("every source must be of kind `composition`: solutions of others are not known")
    return CompositionWorld(
        seed=source.world_seed,
        num_functions=source.num_functions,
        num_letters=source.num_letters,
        word_length=source.word_length,
    )


def loss_of(model: Any, examples: Sequence[Example], padding: int) -> torch.Tensor:
    """Return the mean cross-entropy, in nats, of the tokens of all completions."""
    rows = [example.prompt + example.completion for example in examples]
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[padding] * (longest - len(row))] for row in rows])
    labels = torch.full_like(ids, _NOT_LEARNT)
    for number, example in enumerate(examples):
        begin = len(example.prompt)
        labels[number, begin : begin + len(example.completion)] = torch.tensor(example.completion)
    # Padding lies behind everything and is no label: the causal mask alone keeps it out.
    logits = model(input_ids=ids, use_cache=False).logits
    return cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=_NOT_LEARNT)


def train(job: ProRLJob, model: Any, solutions: Solutions, steps: int) -> Iterator[tuple[int, float]]:
    """Train step by step; returns each step's number, from 1, and the mean loss of its optimizer steps."""
    learner, sampling = job.spec.learner, job.spec.algorithm.dynamic_sampling
    parameters = list(model.parameters())
    optimizer = adamw(parameters, learner.optimizer)
    count = learner.prompts_per_step * (sampling.max_rounds if sampling.enabled else 1)
    optimizer_steps = learner.prompts_per_step // learner.minibatch_prompts
    for step in range(1, steps + 1):
        examples, losses = solutions.take(count), []
        for part in range(optimizer_steps):
            loss = loss_of(model, examples[part::optimizer_steps], model.config.pad_token_id)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, learner.optimizer.gradient_clip)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        yield step, sum(losses) / len(losses)


def run(manifest: Path, output: Path, seed: int, steps: int, at: Sequence[int]) -> None:
    """Train, and write a model for each step of `at` and the last one, OUTPUT/step-N, then OUTPUT/cost.json."""
    job = read_job(manifest, (f"seed={seed}",))
    base = manifest.parent / job.spec.model.path
    if output.is_dir() and any(output.iterdir()) and not (output / "prompts.jsonl").is_file():
        raise SystemExit(f"{output} holds something else; name a folder that is not there")
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    tokenizer, model = AutoTokenizer.from_pretrained(base), AutoModelForCausalLM.from_pretrained(base)
    solutions, begun = Solutions(job, manifest.parent, tokenizer, output / "prompts.jsonl"), time.monotonic()
    for step, loss in train(job, model, solutions, steps):
        if step % _STEPS_BETWEEN_LINES == 0 or step == steps:
            sys.stdout.write(f"step {step}  loss {loss:.4f}  {(time.monotonic() - begun) / step:.3f} s a step\n")
            sys.stdout.flush()
        if step in {*at, steps}:
            model.save_pretrained(output / f"step-{step}")
            tokenizer.save_pretrained(output / f"step-{step}")
    (output / "cost.json").write_text(json.dumps({"seconds": time.monotonic() - begun, "steps": steps}))


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--at", type=int, nargs="+", default=[])
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    run(given.manifest, given.output, given.seed, given.steps, given.at)
    return 0


if __name__ == "__main__":
    sys.exit(main())
