r"""Find the answer in a completion. Pure, linear in the length of the text, and it never raises.

Only what follows the last `</think>` counts, if there is one, and nothing while a `<think>` is open: what a model
considers is not what it answers. The rule is the same in all domains. Whether the answer is right is the verifiers'
business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from prorl_api.spec.values import AnswerFormat

_THINK_START = "<think>"
_THINK_END = "</think>"
_TAG_START = "<answer>"
_TAG_END = "</answer>"
# Tokens that matter for balancing braces: a box's opening, any escaped character (so that \{ does not count), braces.
# Each alternative begins with a literal, by which `re` finds its start four times faster than by a character class.
_BRACE_TOKEN = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|\{|\}", re.DOTALL)
# ASCII digits only: in other scripts the string of an answer would differ from the expected one's.
_NUMBER = re.compile(r"\.?[0-9]+(?:\.[0-9]+)*")


def extract(completion: str, answer_format: AnswerFormat) -> str | None:
    """Return the answer, white space trimmed; None if there is none."""
    text = final_text(completion)
    match answer_format:
        case AnswerFormat.TEXT:
            answer: str | None = text
        case AnswerFormat.ANSWER_TAG:
            answer = _last_tag(text)
        case AnswerFormat.BOXED:
            answer = last_or_none(boxed_contents(text))
        case AnswerFormat.FIRST_INTEGER:
            answer = next(_integers(text), None)
        case AnswerFormat.LAST_INTEGER:
            answer = last_or_none(_integers(text))
    return (answer or "").strip() or None


def final_text(completion: str) -> str:
    """Return what follows the last `</think>`, or everything; nothing if a thought is begun and not ended."""
    text = completion.rpartition(_THINK_END)[2]
    return "" if _THINK_START in text else text


def boxed_contents(text: str) -> Iterator[str]:
    r"""Return the contents of all balanced `\boxed{...}` and `\fbox{...}`, in the order in which they close.

    A box that never closes is skipped, and so is not an answer.
    """
    open_positions: list[tuple[int, bool]] = []
    for token in _BRACE_TOKEN.finditer(text):
        kind = token.group()
        if kind == "}":
            if open_positions:
                start, is_box = open_positions.pop()
                if is_box:
                    yield text[start : token.start()]
        elif kind.endswith("{") and kind != "\\{":
            open_positions.append((token.end(), kind != "{"))


def last_or_none(values: Iterator[str]) -> str | None:
    """Return the last of the values, without keeping the others."""
    last = None
    for value in values:
        last = value
    return last


def _last_tag(text: str) -> str | None:
    end = text.rfind(_TAG_END)
    start = text.rfind(_TAG_START, 0, max(end, 0))
    return text[start + len(_TAG_START) : end] if start >= 0 else None


def _integers(text: str) -> Iterator[str]:
    """Integers with a minus sign directly before the digits; 12.5 and .5 hold none."""
    for number in _NUMBER.finditer(text):
        if "." not in number.group():
            sign = "-" if number.start() > 0 and text[number.start() - 1] == "-" else ""
            yield sign + number.group()
