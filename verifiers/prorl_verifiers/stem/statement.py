r"""Which part of a completion states a quantity.

The math verifier's reading of prose looks for a number. What stands behind a number may be a unit of several words, or
may change it: "5 square meters", "5 and a half", "5 kg max". So the whole sentence counts if it reads as a quantity,
and a number within prose counts only where nothing but an explanation follows it.
"""

from __future__ import annotations

import re

from prorl_api.spec.values import AnswerFormat
from prorl_verifiers.extraction import boxed_contents
from prorl_verifiers.math.statement import MAX_ANSWER_CHARACTERS, stated_answer
from prorl_verifiers.stem.choice_words import DENIAL, DOUBT
from prorl_verifiers.stem.counted import counted_thing
from prorl_verifiers.stem.quantities import read_quantity

_MARKER = re.compile(r"(?:answer|result|solution)s?\s*(?:is|are|=|:)\s*:?|####", re.IGNORECASE)
_SENTENCE_END = re.compile(r"\.(?=\s|$)|\n")
_MARKS = re.compile(r"\*\*|`|(?<!\\)\$|\\[()\[\]]")
_WORDS = re.compile(r"\s*[A-Za-z]+(?:\s+[A-Za-z]+){0,2}")
_EXPLANATION = re.compile(
    r"\s*,?\s*(?:because|since|as|which|where|when|so|due\s+to|given|for\s+(?:the|a|each|every|this)|at\s+(?:the|this|a)|of\s+(?:the|this)|from"
    r"|on\s+(?:the|each)|in\s+(?:the|total|all|this|each)|altogether|overall|total|exactly|up(?:wards?)?|down(?:wards?)?|away|left|right|east|west"
    r"|north|south|to\s+the\s+(?:left|right|east|west|north|south)|respectively|high|long|tall|wide|deep|per\s+person)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"(?<![\w.^/{+-])[-+]?[0-9.]+")
_BOUND = re.compile(
    r"\b(?:than|at\s+(?:most|least)|between|up\s+to|below|above|under|over|but)\b[^.]{0,20}$", re.IGNORECASE
)
_MORE = re.compile(r"(?:[,;/&]|\band\b|\bto\b|-)\s*(?:[A-Za-z]\w*\s*=\s*)?[-+]?\\?[$]?[0-9]", re.IGNORECASE)


def stated_quantity(extracted: str, answer_format: AnswerFormat) -> str | None:
    """Return the part of an extracted answer that states the quantity; None if there is none."""
    found = stated_answer(extracted, answer_format)
    if found is None or answer_format is not AnswerFormat.TEXT or any(boxed_contents(extracted)):
        return found
    text = extracted[-MAX_ANSWER_CHARACTERS:]
    marked = list(_MARKER.finditer(text))
    sentence = _sentence(text[marked[-1].end() :] if marked else text.rstrip().rpartition("\n")[2])
    if marked and read_quantity(sentence) is not None:
        return sentence
    if not marked and (ending := _ending(sentence)):
        return ending
    behind = sentence.rpartition(found)[2] if found in sentence else ""
    return found if _is_explanation(behind) else sentence


def _ending(sentence: str) -> str:
    """Return the quantity with a unit that a sentence ends with: `the acceleration is about 9.8 m/s^2`; or nothing."""
    for number in _NUMBER.finditer(sentence):
        found = read_quantity(sentence[number.start() :])
        if found is not None and found.unit is not None:
            before = sentence[: number.start()]
            is_bound = _BOUND.search(before) or DENIAL.search(before) or DOUBT.search(before) or _MORE.search(before)
            return "" if is_bound else sentence[number.start() :]
    return ""


def _sentence(text: str) -> str:
    text = _MARKS.sub("", text).strip().lstrip(":= ").strip()
    return _SENTENCE_END.split(text, maxsplit=1)[0].strip()


def _is_explanation(behind: str) -> bool:
    """Tell whether the words behind a quantity leave it as it is."""
    words = _WORDS.match(behind)
    for count in (3, 2, 1) if words else ():
        thing = " ".join(behind.split()[:count])
        if counted_thing(thing):
            behind = behind.lstrip()[len(thing) :]
            break
    if not behind.strip(" .,;!"):
        return True
    is_reason = _EXPLANATION.match(behind) is not None
    return is_reason and not (DENIAL.search(behind) or DOUBT.search(behind) or _MORE.search(behind))
