r"""SCP-116K (EricLu): problems of physics, chemistry, biology and mathematics at university level, with solutions.

Two published versions. First: `domain`, `problem`, `matched_solution`, `o1_solution`, `qwq_solution` and, for each of
the two models, `is_..._solution_same_with_matched_solution`. Second: `domain`, `problem`, `extract_solution`,
`r1_response`, `r1_reasoning_content`. Neither has a short answer, which a verifier needs. ProRL had GPT-4o extract it
and kept about 25,000 of 274,000 rows where R1's answer agrees. Without a model, this importer is stricter:

- the answer is a field `answer`, or the last `\boxed{}` of the solution; or else the last `\boxed{}` of a model's
  response, if the solution holds that very text near its end;
- where a model's response has a box and the solution too, they must agree as text;
- where the first version says that no model agrees with the solution, the row is left out.

What the answer is (one letter, a number with or without a unit, or an expression) decides how it is compared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from prorl_api.spec.values import Domain
from prorl_cli.data.importers.base import Imported, Importer, Skipped, last_box, text_of

_SOLUTIONS = ("matched_solution", "extract_solution", "extracted_solution", "solution")
_RESPONSES = ("r1_response", "r1_solution", "qwq_solution", "o1_solution")
_AGREEMENTS = ("is_qwq_solution_same_with_matched_solution", "is_o1_solution_same_with_matched_solution")
_MAX_ANSWER_CHARACTERS = 200
"""A longer one is a text, not an answer that can be compared."""
_END_CHARACTERS = 400
"""Where a solution states its result."""

_DECORATION = re.compile(r"\\(?:left|right|displaystyle|mathrm|mathbf|text|,|;|!|quad|qquad)(?![a-zA-Z])|[\s{}$~]|\\ ")
_PIECE = re.compile(r"\d+(?:[.,]\d+)*|[A-Za-z]+|\S")
_LETTER = re.compile(r"\(?([A-Z])\)?\.?|\\text\{\(?([A-Z])\)?\}")
_NUMBER = re.compile(
    r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:[eE][-+]?\d+)?(?:\s*(?:\\times|\\cdot|×)\s*10\^\{?[-+]?\d+\}?)?"
    r"(?:\s*\\?%|(?:[\s~]|\\[,; ])*(?:\\(?:text|mathrm)\{[^{}]*\}|[a-zA-Zµ°Ω/^\d·]*))?"
)
_PROSE = re.compile(r"[A-Za-z]{4,}\s+[A-Za-z]{2,}\s+[A-Za-z]{2,}")


def convert(record: Mapping[str, Any]) -> Imported | Skipped:
    """Return a problem with an answer that can be compared."""
    problem = text_of(record, "problem", "question")
    if not problem:
        return Skipped("no problem")
    agreements = [record[name] for name in _AGREEMENTS if isinstance(record.get(name), bool)]
    if agreements and not any(agreements):
        return Skipped("no model agrees with the solution")
    answer = _answer(record)
    if isinstance(answer, Skipped):
        return answer
    if len(answer) > _MAX_ANSWER_CHARACTERS or _PROSE.search(re.sub(r"\\[a-zA-Z]+", " ", answer)):
        return Skipped("the answer is a text")
    kind, answer = _kind(answer)
    return Imported(problem, {"answer": answer, "kind": kind})


def _answer(record: Mapping[str, Any]) -> str | Skipped:
    stated = text_of(record, "answer")
    if stated:
        return stated
    solution = text_of(record, *_SOLUTIONS)
    if not solution:
        return Skipped("no solution")
    boxed = last_box(solution)
    responses = [box for name in _RESPONSES if (box := last_box(text_of(record, name)))]
    if boxed:
        if responses and _bare(boxed) not in {_bare(box) for box in responses}:
            return Skipped("the models' answers differ from the solution's")
        return boxed
    end = solution[-_END_CHARACTERS:]
    found = next((box for box in responses if _holds(end, box)), "")
    return found or Skipped("no short answer")


def _bare(text: str) -> str:
    """Strip what changes only how it looks."""
    return _DECORATION.sub("", text).rstrip(".")


def _holds(text: str, answer: str) -> bool:
    """Tell whether the answer stands in the text by itself, however either is spaced and decorated: 5 is not in 15."""
    pieces = _PIECE.findall(_DECORATION.sub(" ", answer))
    pattern = r"(?<![\w.,])" + r"\s*".join(map(re.escape, pieces)) + r"(?!\w|[.,]\d)"
    return bool(pieces) and re.search(pattern, _DECORATION.sub(" ", text)) is not None


def _kind(answer: str) -> tuple[str, str]:
    """Return how an answer is compared, and the answer as that comparison wants it."""
    letter = _LETTER.fullmatch(answer)
    if letter:
        return "choice", letter[1] or letter[2]
    is_number = any(character.isdigit() for character in answer) and _NUMBER.fullmatch(answer) is not None
    return ("number" if is_number else "expression"), answer


SCP_116K = Importer(
    name="scp-116k",
    domain=Domain.STEM,
    description="SCP-116K, either version, rows with a short answer",
    convert=convert,
)
