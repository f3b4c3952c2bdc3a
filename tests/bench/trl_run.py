"""TRL's GRPOTrainer over given prompts, in an environment of its own: `.venv-trl/bin/python trl_run.py SETTINGS.json`.

Started by `bench_end_to_end`; imports nothing of this project. Prints a JSON line: seconds of each batch, by part, and
the process's peak of memory. The first batch also allocates.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer


class Clock:
    """Sums up what calls take, and notes when batches begin."""

    def __init__(self) -> None:
        self.begun: list[float] = []
        self.seconds: dict[str, list[float]] = {}

    def timed(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the call, whose seconds are added to a part of the present batch."""

        def timed(*arguments: Any, **named: Any) -> Any:
            started = time.perf_counter()
            try:
                return call(*arguments, **named)
            finally:
                self.seconds.setdefault(part, [0.0] * len(self.begun))[-1] += time.perf_counter() - started

        return timed

    def begin(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the call, at which a batch begins."""

        def beginning(*arguments: Any, **named: Any) -> Any:
            self.begun.append(time.perf_counter())
            for each in self.seconds.values():
                each.append(0.0)
            return call(*arguments, **named)

        return beginning


class End(TrainerCallback):  # type: ignore[misc]
    """Notes when training ends."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """The last batch is over."""
        self._clock.begun.append(time.perf_counter())


def reward(completions: list[str], answer: list[str], **_: Any) -> list[float]:
    """The quickstart's: the first integer is the answer."""
    found = (re.search(r"-?\d+", completion) for completion in completions)
    return [float(one is not None and one[0] == wanted) for one, wanted in zip(found, answer, strict=True)]


def configuration(given: dict[str, Any], folder: str) -> GRPOConfig:
    """The settings in TRL's words."""
    batch = given["prompts_per_step"] * given["group_size"]
    minibatch = given["minibatch_prompts"] * given["group_size"]
    size = given["microbatch"]
    return GRPOConfig(
        output_dir=folder,
        use_cpu=True,
        bf16=False,
        model_init_kwargs={"dtype": "float32"},
        gradient_checkpointing=False,
        per_device_train_batch_size=size,
        gradient_accumulation_steps=minibatch // size,
        steps_per_generation=batch // size,
        num_generations=given["group_size"],
        max_steps=given["batches"] * batch // minibatch,
        max_completion_length=given["completion"],
        generation_kwargs={"min_new_tokens": given["completion"]} if given["is_full_length"] else None,
        temperature=1.0,
        beta=given["kl"],
        epsilon=0.2,
        epsilon_high=0.4,
        learning_rate=1e-5,
        lr_scheduler_type="constant",
        shuffle_dataset=False,
        seed=1,
        save_strategy="no",
        report_to=[],
        logging_strategy="no",
        disable_tqdm=True,
    )


def main() -> None:
    """Train some batches and print what they took."""
    given = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(given["threads"])
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            model=given["model"],
            reward_funcs=reward,
            args=configuration(given, folder),
            train_dataset=Dataset.from_list(given["prompts"]),
            callbacks=[End(clock)],
        )
        trainer._generate_and_score_completions = clock.begin(trainer._generate_and_score_completions)
        trainer._generate_single_turn = clock.timed("generating", trainer._generate_single_turn)
        trainer.train()
    whole = [after - before for before, after in zip(clock.begun, clock.begun[1:], strict=False)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"whole": whole, "generating": clock.seconds["generating"], "peak": peak}))


if __name__ == "__main__":
    main()
