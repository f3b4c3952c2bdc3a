"""`prorl chat`: questions from the terminal, a pipe or `--prompt`, each answered by itself, as in training."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from prorl_api.errors import ProRLError
from prorl_api.run_folder import RunFolder
from prorl_cli.terminal import waiting
from prorl_cli.trained import require_learner_packages

if TYPE_CHECKING:
    from prorl_trainer.export.answering import Manner
    from prorl_trainer.export.exporting import Asked


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """What `prorl chat` was asked for."""

    place: Path
    """A run folder, or a model's."""
    checkpoint: str
    """Of a run."""
    model: str | None
    """Base model of a run, where the manifest's is gone."""
    prompts: Sequence[str]
    """Empty: questions come from standard input."""
    source: str | None
    system: str | None
    max_tokens: int | None
    temperature: float
    seed: int


def chat(request: ChatRequest) -> None:
    """Answer every question; on a terminal, until there are no more.

    Raises:
        ProRLError: There is no model at that place, or it cannot answer.
    """
    require_learner_packages()
    with waiting("loading the model"):
        asked = _opened(request)
    manner = _manner(request, asked)
    is_person = not request.prompts and sys.stdin.isatty()
    if is_person:
        _say(f"{_description(asked, request)}; each question by itself, empty line or Ctrl-D to end")
    for question in request.prompts or _questions(sys.stdin, is_person=is_person):
        _print_answer(asked, question, manner)


def _opened(request: ChatRequest) -> Asked:
    from prorl_trainer.export.answering import open_folder
    from prorl_trainer.export.exporting import ask_policy, find_policy

    run, place = RunFolder(request.place), request.place
    if run.current.exists() or run.identity.exists() or run.attempts.exists():
        return ask_policy(find_policy(run, request.checkpoint, request.model))
    if not (place / "config.json").is_file():
        raise ProRLError(
            f"{place} holds neither a run (no run.json) nor a model (no config.json); name a run folder, or what "
            "`prorl export` wrote"
        )
    return open_folder(place)


def _manner(request: ChatRequest, asked: Asked) -> Manner:
    from prorl_trainer.export.answering import DEFAULT_MAX_TOKENS, Manner, prompt_format

    trained = asked.record.max_completion_tokens if asked.record is not None else None
    return Manner(
        form=prompt_format(asked, request.source, request.system),
        max_tokens=request.max_tokens or trained or DEFAULT_MAX_TOKENS,
        temperature=request.temperature,
        seed=request.seed,
        stop=asked.record.stop if asked.record is not None else (),
    )


def _description(asked: Asked, request: ChatRequest) -> str:
    record = asked.record
    return f"{record.job}, step {record.step}" if record is not None else str(request.place)


def _questions(stream: TextIO, *, is_person: bool) -> Iterator[str]:
    """Give the lines of a pipe, or what a person types until an empty line."""
    while True:
        if is_person:
            sys.stdout.write("> ")
            sys.stdout.flush()
        line = stream.readline()
        question = line.strip()
        if not line or (is_person and not question):
            return
        if question:
            yield question


def _print_answer(asked: Asked, question: str, manner: Manner) -> None:
    from prorl_trainer.export.answering import answer

    _stream(answer(asked, question, manner))


def _stream(pieces: Iterable[str]) -> None:
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    _say("")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
