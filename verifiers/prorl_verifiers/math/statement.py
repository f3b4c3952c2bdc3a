r"""Which part of a completion states the mathematical answer, and whether it commits to one.

Free text is searched for, in this order: boxes; what follows the last "answer is", "answer:" or "####"; the last
formula, or else the last number, of the last line. Several different boxes are one answer of several parts, which
equals only an expected answer of just these parts. All patterns are linear in the text's length.
"""

from __future__ import annotations

import re

from prorl_api.spec.values import AnswerFormat
from prorl_verifiers.algebra.checker import are_same
from prorl_verifiers.extraction import boxed_contents
from prorl_verifiers.units import parse_unit

MAX_ANSWER_CHARACTERS = 4096
"""No sensible final answer is longer; parsing time grows faster than length."""
_MAX_BOXES = 32
# Markdown around words or numbers; 2**3**2 is a power.
_EMPHASIS = re.compile(r"(?<![0-9A-Za-z)*])\*\*([^*\n]{1,200})\*\*(?![0-9A-Za-z(*])|`([^`\n]{1,200})`")
_MARKER = re.compile(r"(?:answer|result|solution)s?\s*(?:is|are|=|:)\s*:?|####", re.IGNORECASE)
_DOLLAR = re.compile(r"(?<!\\)\$")
_PRICE = re.compile(r"(?<![\\0-9A-Za-z})$])\$(?=[0-9.])")
_FORMULA = re.compile(r"(?<!\\)\$\$?((?:[^$\\]|\\.){1,2000})\$\$?|\\\((.{1,2000}?)\\\)|\\\[(.{1,2000}?)\\\]", re.DOTALL)
_JOINT = re.compile(r"\s*(?:,\s*and|,|and|;)\s*", re.IGNORECASE)
_SENTENCE_END = re.compile(r"\.(?=\s|$)|\n|;|\*\*\s*$")
_EXPLANATION = re.compile(r",?\s+(?:because|since|where|which|as|so|for)\s", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![0-9A-Za-z_.])-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?(?:/[0-9]+)?%?")
_UNIT = re.compile(r"\s*[A-Za-zµμΩÅ°%][A-Za-zµμΩÅ°%/^0-9]*")
_CONCLUSION = re.compile(r"\b(?:so|thus|hence|therefore|then)\b", re.IGNORECASE)
_DOUBT = re.compile(
    r"\b(?:maybe|perhaps|possibly|either|neither|nor|not|unless|unsure|unknown|guess|isn't|cannot|can't|any of)\b|\?",
    re.IGNORECASE,
)
# What takes a number back, or makes a bound of it: right before it, or right behind it.
_BEFORE = re.compile(
    r"(?:than|at (?:most|least)|between [^.]*|up to|below|above|under|over|but|except|instead of|about|around|roughly"
    r"|approximately|nearly|almost|eliminat(?:e|es|ed|ing)|reject(?:s|ed|ing)?|exclud(?:e|es|ed|ing)|rule[ds]? out"
    r"|discard(?:s|ed|ing)?)\s*(?:\\?\$|\\\(|\*\*)?\s*$",
    re.IGNORECASE,
)
_BEHIND = re.compile(
    r"\s*(?:\$|\\\)|\*\*)?\s*(?:(?:is|was|are|would be|seems|cannot|can't|must be)\s+(?:\w+\s+){0,3}?"
    r"(?:wrong|incorrect|false|impossible|rejected|excluded|eliminated|ruled out|too|off|invalid|not|no)\b"
    r"|\((?:or|not|rejected|wrong))",
    re.IGNORECASE,
)
_NEGATION = re.compile(r"\\(?:neg|lnot|sim|not)(?![A-Za-z])|(?<=[0-9])'")
_ALTERNATIVE = re.compile(r"(?<![A-Za-z])or(?![A-Za-z])|\\lor(?![A-Za-z])|\\vee(?![A-Za-z])", re.IGNORECASE)


def stated_answer(answer: str, answer_format: AnswerFormat) -> str | None:
    """Return the part of an extracted answer that states the result, as mathematics without marks.

    None if there is none.
    """
    if answer_format is AnswerFormat.BOXED:
        return answer  # a box within it is layout, and what stands beside that counts
    boxes = [box.strip() for box in boxed_contents(answer) if box.strip()]
    if boxes:
        return _joined(boxes)
    if answer_format is not AnswerFormat.TEXT:
        return answer
    answer = _with_currency_marked(_EMPHASIS.sub(r"\1\2", answer[-MAX_ANSWER_CHARACTERS:]))
    markers = list(_MARKER.finditer(answer))
    if markers:
        return _statement(answer[markers[-1].end() :])
    return _last_formula(answer.rstrip().rpartition("\n")[2])


def _with_currency_marked(text: str) -> str:
    """Dollar signs escaped where all are prices: `$200 - $130 = $70` holds no formula between two signs."""
    if "$" not in text or len(_DOLLAR.findall(text)) != len(_PRICE.findall(text)):
        return text
    return _DOLLAR.sub(r"\\$", text)


def is_hedge(text: str) -> bool:
    """Tell whether the answer offers alternatives, several lines, or doubt: no single answer is stated."""
    has_lines = "\\\\" in text and r"\begin" not in text
    return has_lines or bool(_ALTERNATIVE.search(text) or _DOUBT.search(text) or _NEGATION.search(text))


def _joined(boxes: list[str]) -> str:
    """Return the last box if all say the same, else all of them as a list."""
    distinct = list(dict.fromkeys(boxes))
    different: list[str] = []
    for box in distinct[:_MAX_BOXES]:
        if not any(are_same(other, box) for other in different):
            different.append(box)
    different += distinct[_MAX_BOXES:]
    return boxes[-1] if len(different) == 1 else ", ".join(different)


def _statement(text: str) -> str | None:
    """Return what a text that begins with the answer states: its first formula or its first sentence."""
    text = text.strip().lstrip("*:= ").strip()
    formula = _FORMULA.search(text)
    end = _SENTENCE_END.search(text)
    if formula and (end is None or formula.start() < end.start()):
        before = text[: formula.start()].strip()
        after = text[formula.end() :].partition("\n")[0]
        if is_hedge(before) or _ALTERNATIVE.match(after.strip()) or _is_taken_back(text, *formula.span()):
            return text.partition("\n")[0]
        return ", ".join([_first_group(formula), *_joined_formulas(text, formula.end())])
    sentence = text[: end.start()] if end else text
    sentence = sentence.strip().strip("*").strip()
    if is_hedge(sentence):
        return sentence or None
    sentence = _EXPLANATION.split(sentence, maxsplit=1)[0]
    numbers = list(_NUMBER.finditer(sentence))
    is_prose = len(re.findall(r"(?<!\\)\b[A-Za-z]{2,}\b", sentence)) > 1
    if numbers and _is_taken_back(sentence, *numbers[0].span()):
        return sentence
    return _with_unit(numbers[0]) if is_prose and len(numbers) == 1 else sentence or None


def _joined_formulas(text: str, position: int) -> list[str]:
    """Return the formulas that go on from here with "and" or a comma."""
    formulas = []
    while (joint := _JOINT.match(text, position)) and (formula := _FORMULA.match(text, joint.end())):
        formulas.append(_first_group(formula))
        position = formula.end()
    return formulas


def _last_formula(line: str) -> str | None:
    """Return the last formula of a line of prose, or the line if it is nothing but mathematics, or its last number."""
    formulas = list(_FORMULA.finditer(line))
    if is_hedge(line):
        return line if formulas or _NUMBER.search(line) else None
    if formulas and _is_taken_back(line, *formulas[-1].span()):
        return line
    if formulas:
        joint = line[formulas[-2].end() : formulas[-1].start()].strip() if len(formulas) > 1 else ""
        parts = formulas[-2:] if joint in ("and", "or", ",", ";") else formulas[-1:]
        return ", ".join(_first_group(part) for part in parts)
    line = _CONCLUSION.split(line)[-1]
    if not re.search(r"(?<!\\)\b[A-Za-z]{3,}\b", line) and re.search(r"[0-9A-Za-z]", line):
        return line
    numbers = list(_NUMBER.finditer(line))
    if numbers and _is_taken_back(line, *numbers[-1].span()):
        return line
    return _with_unit(numbers[-1]) if numbers else None


def _is_taken_back(text: str, start: int, end: int) -> bool:
    """Tell whether the words around a number or formula make it a bound, or no answer."""
    return bool(_BEFORE.search(text[max(0, start - 60) : start]) or _BEHIND.match(text, end))


def _with_unit(number: re.Match[str]) -> str:
    """Return the number with the unit behind it, if there is one: 5 km must not pass for 5 m."""
    unit = _UNIT.match(number.string, number.end())
    return number.group() + (unit.group() if unit and parse_unit(unit.group().strip(" .")) is not None else "")


def _first_group(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group is not None).strip()
