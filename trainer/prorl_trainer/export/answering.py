"""Asking a policy: one question, one completion, piece by piece, prompted as in training unless told otherwise."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prorl_api.errors import Fault, ProRLError, SpecError
from prorl_api.export_record import RECORD_FILE, ExportRecord, TrainedSource
from prorl_api.spec.data import PromptFormat
from prorl_trainer.data.rendering import render
from prorl_trainer.export.exporting import Asked
from prorl_trainer.model_folder import load_tokenizer

DEFAULT_MAX_TOKENS = 512
"""Of a model that does not say how long its completions were."""
_STREAM_SECONDS = 600.0
"""Without a token for so long generation has failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How questions are put and answered."""

    form: PromptFormat
    max_tokens: int
    temperature: float
    """0 is greedy."""
    seed: int
    stop: tuple[str, ...] = ()


def open_folder(folder: Path) -> Asked:
    """Load a Hugging Face folder, exported or any other.

    Raises:
        SpecError: It is none.
    """
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(folder)
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError) as error:
        want = "a folder with config.json, tokenizer and safetensors of a causal language model"
        raise SpecError([Fault(path="the folder", got=f"{folder} ({error})", want=want)], source="the model") from error
    return Asked(model=model.eval(), tokenizer=tokenizer, record=_record(folder))


def _record(folder: Path) -> ExportRecord | None:
    try:
        return ExportRecord.model_validate_json((folder / RECORD_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # another program's folder, or another version's
        return None


def prompt_format(asked: Asked, source: str | None, system: str | None) -> PromptFormat:
    """Return how questions become prompts: as the source's did, or the tokenizer's chat template alone.

    Args:
        asked: The model.
        source: Name of a source that it learnt from; None: the first one.
        system: System message instead of that source's.

    Raises:
        SpecError: It knows no such source.
    """
    sources = asked.record.sources if asked.record is not None else ()
    form = _source(sources, source).prompt if sources or source is not None else PromptFormat()
    if asked.tokenizer.chat_template is None:
        form = form.model_copy(update={"chat": False})
    return form if system is None else form.model_copy(update={"system": system})


def _source(sources: tuple[TrainedSource, ...], name: str | None) -> TrainedSource:
    found = next((source for source in sources if name in (None, source.name)), None)
    if found is None:
        names = ", ".join(source.name for source in sources) or "none: the folder has no prorl.json"
        fault = Fault(path="--source", got=str(name), want=f"one of the sources that it learnt from: {names}")
        raise SpecError([fault], source="the command line")
    return found


def prompt_text(asked: Asked, question: str, form: PromptFormat) -> str:
    """Return the text that the model continues."""
    return render(asked.tokenizer, form, question)


def answer(asked: Asked, question: str, manner: Manner) -> Iterator[str]:
    """Give the completion piece by piece, the prefix that the answer begins with first.

    Raises:
        ProRLError: The question leaves no room for an answer, or generation failed.
    """
    import torch
    from transformers import TextIteratorStreamer

    text = prompt_text(asked, question, manner.form)
    inputs = asked.tokenizer(text, return_tensors="pt", add_special_tokens=not manner.form.chat)
    inputs.pop("token_type_ids", None)
    _raise_if_too_long(asked, inputs["input_ids"].shape[1])
    torch.manual_seed(manner.seed)
    streamer = TextIteratorStreamer(
        asked.tokenizer, skip_prompt=True, timeout=_STREAM_SECONDS, skip_special_tokens=True
    )
    failures: list[Exception] = []
    thread = threading.Thread(
        target=_generate, args=(asked, dict(inputs), streamer, manner, failures), name="generate", daemon=True
    )
    thread.start()
    if manner.form.assistant_prefix:
        yield manner.form.assistant_prefix
    yield from streamer
    thread.join()
    if failures:
        raise ProRLError(f"the model could not answer: {failures[0]}") from failures[0]


def _generate(asked: Asked, inputs: dict[str, Any], streamer: Any, manner: Manner, failures: list[Exception]) -> None:
    sampling = {"do_sample": True, "temperature": manner.temperature} if manner.temperature > 0 else {}
    stop = {"stop_strings": list(manner.stop), "tokenizer": asked.tokenizer} if manner.stop else {}
    try:
        asked.model.generate(
            **inputs,
            streamer=streamer,
            max_new_tokens=manner.max_tokens,
            pad_token_id=asked.tokenizer.eos_token_id,
            **({"do_sample": False, "temperature": None, "top_p": None, "top_k": None} | sampling),
            **stop,
        )
    except Exception as error:  # noqa: BLE001 - a thread's edge: the reader raises it
        failures.append(error)
        streamer.end()


def _raise_if_too_long(asked: Asked, num_tokens: int) -> None:
    limit = getattr(asked.model.config.get_text_config(), "max_position_embeddings", None)
    if limit is not None and num_tokens >= limit:
        raise ProRLError(f"the prompt has {num_tokens} tokens, and the model reads {limit}; ask something shorter")
