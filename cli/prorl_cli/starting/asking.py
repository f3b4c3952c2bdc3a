r"""How a model is asked, by what its folder and the answers show: a base or small model does not write `\boxed{}`.

A wrong form is no small thing: held-out accuracy is then 0, no group has a signal, and nothing is learnt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prorl_api.model.weight_files import num_parameters
from prorl_api.spec.values import AnswerFormat
from prorl_cli.starting.kinds import STARTS, Kind

_CHAT_FILES = ("chat_template.jinja", "chat_template.json")
SMALL = 400_000_000
"""Parameters below which chat models, too, rarely follow a demand for a box (SmolLM2-135M: never in 400 answers)."""
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_INTEGER_AND_WORDS = re.compile(r"(-?[0-9]{1,18})\s+[^\W\d_]+(?: [^\W\d_]+)?\.?")
"""An integer with a unit: "4 apples"."""
_MAX_DIRECT_TOKENS = 96
_PREFIXED_ROOM, _LINE_ROOM = 12, 24
"""Tokens beside the answer: behind a prefix, and where a base model writes the sum first: "8 + 4 = 12"."""
_END_OF_LINE = "\n"
"""Behind which a small base model begins something else."""
_NEXT_QUESTION = "\nQuestion:"
"""What a base model writes when it is done with an answer in a row of questions and answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """The fields of a manifest that say how to ask and where the answer stands."""

    is_chat: bool
    """The tokenizer has a chat template."""
    template: tuple[str, ...]
    """Lines around `{question}`."""
    assistant_prefix: str = ""
    stop: tuple[str, ...] = ()
    answer_format: AnswerFormat
    why: str = ""
    """Why this answer format, where it is not the kind's own."""
    advice: str = ""
    """What about the answers would train better."""
    num_parameters: int | None
    """Of the model; None: unknown."""
    direct_tokens: int | None = None
    """Room for an answer without any reasoning; None: the kind's own room."""


def asking(kind: Kind, model: str, answers: Sequence[Any]) -> Asking:
    """Return how a model is asked questions of this kind.

    Args:
        kind: Of data.
        model: A folder, or a hub's name, which is taken for a large chat model.
        answers: Expected ones, of kind math.
    """
    is_chat, size = has_chat_template(model), num_parameters(Path(model).expanduser())
    is_small = size is not None and size < SMALL
    if kind is not Kind.MATH or (is_chat and not is_small):
        return _as_the_kind_says(kind, size, is_chat=is_chat)
    if not is_small:
        return Asking(
            is_chat=False,
            template=_base('Reason step by step, and end with "The answer is" and the answer.'),
            stop=(_NEXT_QUESTION,),
            answer_format=AnswerFormat.TEXT,
            num_parameters=size,
            why=r"a base model rarely writes \boxed{}",
        )
    are_integers = bool(answers) and all(_INTEGER.fullmatch(str(answer).strip()) for answer in answers)
    longest = max((len(str(answer)) for answer in answers), default=0)
    why = rf"{_millions(size or 0)} parameters rarely write \boxed{{}}"
    if is_chat:
        return Asking(
            is_chat=True,
            template=("{question}",),
            assistant_prefix="The answer is",
            answer_format=AnswerFormat.FIRST_INTEGER if are_integers else AnswerFormat.TEXT,
            advice=_advice(answers, AnswerFormat.FIRST_INTEGER),
            num_parameters=size,
            why=why,
            direct_tokens=min(_MAX_DIRECT_TOKENS, longest + _PREFIXED_ROOM),
        )
    return Asking(
        is_chat=False,
        template=_base(),
        stop=(_END_OF_LINE,) if are_integers else (_NEXT_QUESTION,),
        answer_format=AnswerFormat.LAST_INTEGER if are_integers else AnswerFormat.TEXT,
        advice=_advice(answers, AnswerFormat.LAST_INTEGER),
        num_parameters=size,
        why=why,
        direct_tokens=min(_MAX_DIRECT_TOKENS, longest + (_LINE_ROOM if are_integers else _PREFIXED_ROOM)),
    )


def _advice(answers: Sequence[Any], with_integers: AnswerFormat) -> str:
    """Say that integers alone would train better, where every answer is one and some have a unit."""
    texts = [str(answer).strip() for answer in answers]
    found = [match for text in texts if (match := _INTEGER_AND_WORDS.fullmatch(text))]
    if not found or len(found) + sum(bool(_INTEGER.fullmatch(text)) for text in texts) < len(texts):
        return ""
    first = found[0]
    many = "all" if len(found) == len(texts) else f"{len(found)} of {len(texts)}"
    return (
        f"answers: got an integer with a unit ({many}, as {first.group()!r}), which the model must write whole; "
        f"integers alone would train better: write {first.group(1)!r} in the data, and `prorl init` chooses "
        f"`answerFormat: {with_integers.value}`"
    )


def has_chat_template(model: str) -> bool:
    """Tell whether a model folder's tokenizer has a chat template; of a hub name it is assumed."""
    folder = Path(model).expanduser()
    if not folder.is_dir() or any((folder / name).is_file() for name in _CHAT_FILES):
        return True
    return bool(read_object(folder / "tokenizer_config.json").get("chat_template"))


def read_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; an empty one where there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _as_the_kind_says(kind: Kind, size: int | None, *, is_chat: bool) -> Asking:
    start = STARTS[kind]
    return Asking(
        is_chat=is_chat,
        template=("{question}", *start.template) if is_chat else _base(*start.template),
        stop=() if is_chat else (_NEXT_QUESTION,),
        answer_format=start.answer_format,
        num_parameters=size,
    )


def _base(*lines: str) -> tuple[str, ...]:
    return ("Question: {question}", *lines, "Answer:")


def _millions(size: int) -> str:
    return f"{size / 1e6:.0f} M" if size >= 10_000_000 else f"{size / 1e6:.1f} M"
