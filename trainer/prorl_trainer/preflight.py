"""What can be judged before anything is trained: model, tokenizer, chat template, data, the run it continues.

The learner begins with it, and `prorl validate` looks with it, so that the two cannot differ. Every fault is found, not
the first alone; what hangs on something faulty is not judged.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from prorl_api.custom_rewards import reward_functions
from prorl_api.errors import Fault, SpecError
from prorl_api.model.config import length_faults
from prorl_api.model.folder import look_at
from prorl_api.spec.data import DataSource
from prorl_api.spec.job import ProRLJobSpec
from prorl_api.spec.run import ValidationSource
from prorl_api.wire.sandbox import RewardFunction
from prorl_trainer.algorithm.types import Prompt
from prorl_trainer.data.jsonl_items import ALL_ROWS
from prorl_trainer.data.prompts import PromptSource
from prorl_trainer.data.rendering import TEMPLATE_FAILURES, render
from prorl_trainer.engines.build import training_device
from prorl_trainer.engines.placement import place_faults
from prorl_trainer.model_folder import load_tokenizer
from prorl_trainer.resume import check_init_from
from prorl_trainer.storage.lines import LineFile
from prorl_trainer.storage.prompt_store import NOWHERE

T = TypeVar("T")
_QUESTION = "What is 6 times 7?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What was read on the way."""

    tokenizer: Any
    rewards: Mapping[str, RewardFunction]
    """Of sources that are judged by a user's own function."""
    prompts: PromptSource
    held_out: dict[ValidationSource, list[Prompt]]


class Unwritten(LineFile):
    """A `prompts.jsonl` that is not written: for looking at a job that does not run."""

    def __init__(self) -> None:
        super().__init__(Path(os.devnull))

    def append(self, line: dict[str, Any]) -> int:
        """Keep nothing, as if the item had never been used."""
        return NOWHERE


class Faults:
    """Those that were found so far."""

    def __init__(self) -> None:
        self.found: list[Fault] = []

    def of(self, check: Callable[[], T]) -> T | None:
        """Return what a check gives; None if it refuses, whose faults are kept."""
        try:
            return check()
        except SpecError as error:
            self.found += error.faults
            return None


def model_faults(spec: ProRLJobSpec, model: Path) -> list[Fault]:
    """Judge the model's folder by its files, and by the lengths that the job asks for."""
    folder = look_at(model)
    faults = list(folder.faults)
    if folder.config is not None:
        faults += length_faults(folder.config, str(model), spec.max_sequence_tokens, spec.rollout.max_prompt_tokens)
    return faults


def prepare(
    spec: ProRLJobSpec,
    model: Path | None,
    base: Path,
    store: LineFile,
    *,
    has_checkpoint: bool,
    max_rows: int = ALL_ROWS,
) -> Prepared:
    """Judge everything, and return what the learner needs of it.

    Args:
        spec: The job's.
        model: Its model's folder; None: it is not there, and nothing that needs it can be judged.
        base: Folder that relative paths start from.
        store: `prompts.jsonl`.
        has_checkpoint: The run goes on from a checkpoint of its own, and needs no other run any more.
        max_rows: Rows of a source that are read.

    Raises:
        SpecError: With every fault.
        CheckpointError: What the run is to continue is damaged.
    """
    faults = Faults()
    tokenizer = None
    if model is not None:
        faults.found += model_faults(spec, model)
        if not look_at(model).faults:
            tokenizer = faults.of(lambda: load_tokenizer(model))
    if tokenizer is not None and (refused := list(chat_faults(spec, tokenizer, model))):
        faults.found += refused
        tokenizer = None
    if not has_checkpoint:
        faults.of(lambda: check_init_from(spec))
    faults.found += place_faults(spec.learner, has_gpu=training_device().type == "cuda")
    rewards = faults.of(lambda: reward_functions(spec.data, base))
    prompts = faults.of(lambda: PromptSource(spec, tokenizer, base, store, max_rows=max_rows))
    held_out = None
    if prompts is not None and tokenizer is not None:
        held_out = faults.of(prompts.held_out)
    if faults.found or prompts is None:
        raise SpecError(faults.found, source="the job, looked at before it starts,")
    return Prepared(tokenizer=tokenizer, rewards=rewards or {}, prompts=prompts, held_out=held_out or {})


def chat_faults(spec: ProRLJobSpec, tokenizer: Any, model: Path | None) -> Iterator[Fault]:
    """Name the sources whose questions the tokenizer's chat template cannot turn into a prompt."""
    for position, source in enumerate(spec.data.sources):
        if source.prompt.chat:
            try:
                render(tokenizer, source.prompt, _QUESTION)
            except TEMPLATE_FAILURES as error:
                yield _chat_fault(f"spec.data.sources[{position}].prompt", source, tokenizer, model, error)


def _chat_fault(path: str, source: DataSource, tokenizer: Any, model: Path | None, error: Exception) -> Fault:
    if getattr(tokenizer, "chat_template", None) is None:
        want = (
            f"for source {source.name} `prompt: {{chat: false}}`, with which the `template`'s text is the whole prompt "
            "(as for a base model), or the family's chat_template.jinja in that folder"
        )
        return Fault(path=f"{path}.chat", got=f"a tokenizer without a chat template in {model}", want=want)
    got = f"a chat template in {model} that fails: {str(error).partition(chr(10))[0][:200]}"
    if source.prompt.system is not None:
        want = (
            f"no `system` in source {source.name}: put its text into `template`, if the template takes no such message"
        )
        return Fault(path=f"{path}.system", got=got, want=want)
    return Fault(path=f"{path}.chat", got=got, want="a template that renders, or `chat: false`")
