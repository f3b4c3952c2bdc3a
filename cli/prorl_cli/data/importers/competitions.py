"""Published sets of mathematical problems that models are evaluated on: AIME, AMC, MATH-500, Minerva, OlympiadBench.

They are published many times with fields of other names and cases (`problem` or `question`, `answer` or
`final_answer`); each importer takes all of them. Only the final answer counts; worked solutions are looked at where a
set has no answers of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from prorl_api.spec.values import Domain
from prorl_cli.data.importers.base import Imported, Importer, Skipped, last_box, text_of

_PROBLEMS = ("problem", "question")
_ANSWERS = ("answer", "final_answer", "expected_answer")
_LARGEST_AIME = 999
_WHOLE = re.compile(r"-?[0-9]+(?:\.0+)?")


def _aime(record: Mapping[str, Any]) -> Imported | Skipped:
    """Every answer of the AIME is a whole number from 0 to 999, printed with leading zeros by some."""
    made = _solved(record)
    if isinstance(made, Skipped):
        return made
    number = _whole(made.row["answer"])
    if number is None or not 0 <= number <= _LARGEST_AIME:
        return Skipped("the answer is no whole number from 0 to 999")
    return Imported(made.prompt, {"answer": number})


def _amc(record: Mapping[str, Any]) -> Imported | Skipped:
    """Answers of the AMC sets are numbers, written as floats by some (142.0)."""
    made = _solved(record)
    if isinstance(made, Skipped):
        return made
    number = _whole(made.row["answer"])
    return made if number is None else Imported(made.prompt, {"answer": number})


def _solved(record: Mapping[str, Any]) -> Imported | Skipped:
    """Return a problem with its answer, else with the last box of its solution."""
    fields = {name.lower(): value for name, value in record.items()}
    problem = text_of(fields, *_PROBLEMS)
    if not problem:
        return Skipped("no problem")
    for name in _ANSWERS:
        value = fields.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return Imported(problem, {"answer": value})
    answer = _bare(text_of(fields, *_ANSWERS)) or last_box(text_of(fields, "solution"))
    return Imported(problem, {"answer": answer}) if answer else Skipped("no answer")


def _olympiad(record: Mapping[str, Any]) -> Imported | Skipped:
    """Keep text-only problems with one final answer that is compared exactly.

    The set's own fields: `final_answer` (a list of texts), `modality`, `is_multiple_answer`, `unit`, `error` (a
    tolerance), `question_type`; a context stands before the question.
    """
    answers = record.get("final_answer")
    if not isinstance(answers, list):
        return Skipped("has a picture") if _has_picture(record) else _solved(record)
    stated = [_bare(answer) for answer in answers if isinstance(answer, str) and answer.strip()]
    question = text_of(record, *_PROBLEMS)
    reasons = {
        "has a picture": _has_picture(record),
        "no problem": not question,
        "a proof is asked for": not stated,
        "several final answers": len(stated) > 1,
        "the answer has a tolerance": bool(text_of(record, "error")),
        "the answer has a unit": bool(text_of(record, "unit")),
    }
    for reason, applies in reasons.items():
        if applies:
            return Skipped(reason)
    return Imported("\n\n".join(filter(None, (text_of(record, "context"), question))), {"answer": stated[0]})


def _has_picture(record: Mapping[str, Any]) -> bool:
    pictures = (record[name] for name in record if name.startswith("image"))
    return text_of(record, "modality") == "Multimodal" or any(pictures)


def _bare(answer: str) -> str:
    """Without the dollar signs around it, of which `$1$, $2$` has more than a pair."""
    text = answer.strip()
    pair = re.fullmatch(r"(\${1,2})([^$]+)\1", text)
    return pair[2].strip() if pair else text


def _whole(answer: object) -> int | None:
    if isinstance(answer, float):
        return int(answer) if answer.is_integer() else None
    if isinstance(answer, int):
        return answer
    text = str(answer)
    return int(text.partition(".")[0]) if len(text) < 20 and _WHOLE.fullmatch(text) else None


def _importer(
    name: str, description: str, convert: Callable[[Mapping[str, Any]], Imported | Skipped] = _solved
) -> Importer:
    return Importer(name=name, domain=Domain.MATH, description=description, convert=convert)


COMPETITIONS = (
    _importer("aime", "AIME of any year: problem and a whole number from 0 to 999", _aime),
    _importer("amc", "AMC: problem and answer", _amc),
    _importer("math-500", "MATH-500, or any part of MATH with `answer` or a boxed solution"),
    _importer("minerva", "Minerva's mathematics: question and answer, or a boxed solution"),
    _importer("olympiad-bench", "OlympiadBench, text-only problems with one exact final answer", _olympiad),
)
