r"""Which option of a multiple-choice question a completion chooses: exactly one, or none.

Looked at, in this order: the last box, the last `<answer>` tag, what follows the last "answer is", "answer:",
"option" or "choice", and the last line if it is nothing but an option. There a letter may be bare, bold, in
parentheses or in `\text{}`, alone or before the option's text. Two different letters are a hedge.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from prorl_api.spec.values import AnswerFormat
from prorl_verifiers.algebra.checker import are_same
from prorl_verifiers.extraction import boxed_contents, extract

HEDGE = "?"
"""Stands for the choice of several options; no letter of an option."""
_MAX_STATEMENT = 2000
_MAX_BOXES = 32
_MARKER = re.compile(
    r"(?:answer|choice|option)\s*(?:is|are|:|=)[\s:*]*|\b(?:choose|select|pick)\s+|\b(?:option|choice)\s+(?=\W{0,3}[A-Z]\b)",
    re.IGNORECASE,
)
_WRAPPER = re.compile(r"\\(?:text|textbf|mathrm|mathbf|textrm|mbox|boxed)\s*\{([^{}]*)\}")
_MARKS = re.compile(r"[*$`_]|\\[()\[\]]|^\s*#+")
_LEADING_WORDS = re.compile(
    r"^(?:the\s+)?(?:correct\s+)?(?:option|choice|answer|letter)\s*(?:is)?\s*:?\s*", re.IGNORECASE
)
_LONE_LETTER = re.compile(r"[\[({]?\s*([A-Za-z])\s*[\])}]?\s*[.:,]?")
_LETTER_FIRST = re.compile(r"[\[(]?\s*([A-Z])\s*(?:[\])][.:,]?|[.:,])(?:\s+(.*))?", re.DOTALL)
_STANDALONE = re.compile(r"(?<![A-Za-z0-9'’\\])([A-Z])(?![A-Za-z0-9'’])")
_SENTENCE_END = re.compile(r"(?<![ (]\b[A-Z])\.(?:\s|$)|\n")
_DOUBT = re.compile(r"\b(?:or|either|maybe|perhaps|possibly|not|neither|nor|guess|unsure|both)\b|\?", re.IGNORECASE)


def chosen_option(completion: str, answer_format: AnswerFormat, choices: Mapping[str, str]) -> str | None:
    """The letter of the chosen option, `HEDGE`, or None if no choice is stated. `choices` may be empty."""
    text = extract(completion, answer_format)
    if text is None:
        return None
    boxes = [box.strip() for box in boxed_contents(text) if box.strip()]
    if boxes:
        distinct = list(dict.fromkeys(boxes))
        letters = {_read(box, choices) for box in distinct[:_MAX_BOXES]}
        return letters.pop() if len(letters) == 1 and len(distinct) <= _MAX_BOXES else HEDGE
    if answer_format is not AnswerFormat.TEXT:
        return _read(text, choices)
    tagged = extract(text, AnswerFormat.ANSWER_TAG)
    if tagged is not None:
        return _read(tagged, choices)
    return _from_prose(text, choices)


def _from_prose(text: str, choices: Mapping[str, str]) -> str | None:
    text = text[-_MAX_STATEMENT:]
    markers = list(_MARKER.finditer(text))
    if markers:
        after = text[markers[-1].end() :]
        statement = _SENTENCE_END.split(after, maxsplit=1)[0]
        return _read(statement, choices) or _only_letter(statement, choices)
    last_line = text.rstrip().rpartition("\n")[2]
    return _read(last_line, choices)


def _read(statement: str, choices: Mapping[str, str]) -> str | None:
    """The option that a statement consists of."""
    plain = _unwrapped(statement)
    stripped = _LEADING_WORDS.sub("", plain).strip()
    if lone := _LONE_LETTER.fullmatch(stripped):
        return lone.group(1).upper()
    by_text = _by_text(plain, choices)
    if by_text is not None:
        return by_text
    first = _LETTER_FIRST.fullmatch(stripped)
    if first:
        letter, rest = first.group(1), first.group(2) or ""
        named = _by_text(rest, choices) if rest else None
        contradicts = named is not None and named != letter
        others = {other for other in _letters(rest, choices) if other != letter}
        return HEDGE if contradicts or others else letter
    return HEDGE if len(_letters(stripped, choices)) > 1 else None


def _only_letter(statement: str, choices: Mapping[str, str]) -> str | None:
    """The one letter in a sentence that says nothing doubtful, as in "B, because ..."."""
    plain = _unwrapped(statement)
    letters = _letters(plain, choices)
    if not letters:
        return None
    first = re.match(r"[\[(]?([A-Z])(?![A-Za-z])", plain)
    if len(letters) > 1 or _DOUBT.search(plain):
        return HEDGE
    # "A triangle" begins with an article, not with an option.
    return first.group(1) if first and not re.match(r"A\s+[a-z]", plain) else None


def _letters(text: str, choices: Mapping[str, str]) -> set[str]:
    """Capital letters that stand alone and could be options; without known options the pronoun I is none."""
    found = set(_STANDALONE.findall(text))
    return found & set(choices) if choices else found - {"I"}


def _by_text(statement: str, choices: Mapping[str, str]) -> str | None:
    """The one option whose text the statement is."""
    wanted = _comparable(statement)
    exact = [letter for letter, text in choices.items() if _comparable(text) == wanted]
    if len(exact) == 1:
        return exact[0]
    if exact or not wanted or len(wanted) > 200:
        return None
    same = [letter for letter, text in choices.items() if are_same(text, statement)]
    return same[0] if len(same) == 1 else None


def _unwrapped(text: str) -> str:
    for _ in range(3):
        text = _WRAPPER.sub(r"\1", text)
    return _MARKS.sub("", text).strip()


def _comparable(text: str) -> str:
    return " ".join(_unwrapped(text).casefold().strip(" .,:;").split())
