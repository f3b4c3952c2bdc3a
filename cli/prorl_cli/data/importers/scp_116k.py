r"""SCP-116K (EricLu): problems of physics, chemistry, biology and mathematics at university level, with solutions.

Two published versions. First: `domain`, `problem`, `matched_solution`, `o1_solution`, `qwq_solution` and, for each of
the two models, `is_..._solution_same_with_matched_solution`. Second: `domain`, `problem`, `extract_solution`,
`r1_response`, `r1_reasoning_content`. Neither has a short answer, which a verifier needs. ProRL had GPT-4o extract it
and kept about 25,000 of 274,000 rows where R1's answer agrees. Without a model, this importer is stricter:

- the answer is a field `answer`, or the last `\boxed{}` of the solution; or else the last `\boxed{}` of a model's
  response, if the solution holds that very text near its end;
- where a model's response has a box and the solution too, they must agree as text;
- where the first version says that no model agrees with the solution, the row is left out.

- a solution with several boxes that differ answers several questions, and is left out.

What the answer is decides how it is compared: the letter of an option if the problem has lettered options, a number
with or without a unit if the verifier itself reads it as one, else an expression. A unit that the verifier cannot read
would be ignored or misread, so such rows are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from prorl_api.errors import Fault, SpecError
from prorl_api.spec.values import Domain
from prorl_cli.data.importers.base import Imported, Importer, Skipped, all_boxes, last_box, text_of

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
_UNIT = re.compile(
    r"^\s*[-+−]?(?=[0-9]).*(?:\\(?:mathrm|text|rm)\b|[0-9}]\s*(?!sin|cos|tan|log|ln|exp|pi|sqrt|det)[A-Za-z]{2,})",
    re.DOTALL,
)
"""A number with something behind it that looks like a unit."""
_PLAIN_NUMBER = re.compile(r"\s*[-+−]?\s*\.?[0-9]")
"""Any other value, such as `\\frac{1}{2}`, is exact, and compared as an expression."""
_OPTION = re.compile(r"(?:^|[\s(])\(?([A-H])(?:\)|[.:])\s", re.MULTILINE)
_OPTION_LINE = re.compile(r"^\s*\(?([A-H])(?:\)|[.:])\s+(\S.*?)\s*$", re.MULTILINE)
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
    return _imported(problem, answer)


def _answer(record: Mapping[str, Any]) -> str | Skipped:
    stated = text_of(record, "answer")
    if stated:
        return stated
    solution = text_of(record, *_SOLUTIONS)
    if not solution:
        return Skipped("no solution")
    boxes = {_bare(box) for box in all_boxes(solution)}
    if len(boxes) > 1:
        return Skipped("the solution has several answers")
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


def _imported(problem: str, answer: str) -> Imported | Skipped:
    """Return the row: how an answer is compared, and the answer as that comparison wants it."""
    letter = _LETTER.fullmatch(answer)
    name = (letter[1] or letter[2]) if letter else ""
    options = set(_OPTION.findall(problem))
    if name and name in options and {"A", "B"} <= options:
        choices = dict(_OPTION_LINE.findall(problem))
        known = {"choices": choices} if name in choices and set(choices) == options else {}
        return Imported(problem, {"answer": name, "kind": "choice", **known})
    if _is_quantity(answer):
        return Imported(problem, {"answer": answer, "kind": "number"})
    if _UNIT.search(answer):
        return Skipped("a unit that the verifier cannot read")
    return Imported(problem, {"answer": answer, "kind": "expression"})


def _is_quantity(answer: str) -> bool:
    """Ask the verifier's own reader, which decides at training time, too.

    Raises:
        SpecError: The verifiers are not installed.
    """
    try:
        from prorl_verifiers.stem.quantities import read_quantity
    except ModuleNotFoundError as error:
        want = "the verifiers: pip install 'prorl[verifiers]'"
        raise SpecError([Fault(path="NAME", got=f"scp-116k without the package {error.name}", want=want)]) from error
    found = read_quantity(answer)
    return found is not None and (found.unit is not None or _PLAIN_NUMBER.match(answer) is not None)


SCP_116K = Importer(
    name="scp-116k",
    domain=Domain.STEM,
    description="SCP-116K, either version, rows with a short answer",
    convert=convert,
)
