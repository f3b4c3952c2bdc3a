"""The verifier of science questions: multiple choice, numbers with units, and expressions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from prorl_api.rows import StemRow
from prorl_api.spec.values import AnswerFormat
from prorl_api.wire.sandbox import Verdict
from prorl_verifiers.extraction import extract
from prorl_verifiers.judgement import Judgement, shorten
from prorl_verifiers.math.statement import MAX_ANSWER_CHARACTERS, is_hedge
from prorl_verifiers.math.verifier import MathVerifier
from prorl_verifiers.rows import validated
from prorl_verifiers.stem.choices import HEDGE, chosen_option
from prorl_verifiers.stem.quantities import Quantity, agrees, read_quantity
from prorl_verifiers.stem.statement import stated_quantity

_HAS_UNIT = re.compile(r"(?<!\\)(?<![A-Za-z])[A-Za-zµμΩÅ°%]")
"""A letter that is no LaTeX command's: a unit that cannot be read, or words."""


class StemVerifier:
    """Judges rows of `StemRow`; expressions go to the math verifier."""

    def __init__(self, math: MathVerifier) -> None:
        self._math = math

    def warm_up(self) -> None:
        """Nothing: the math verifier warms up by itself, the rest has no first-use cost."""

    def judge(self, row: Mapping[str, Any], answer_format: AnswerFormat, completion: str) -> Judgement:
        """Judge whether the completion's answer is the expected one. A quantity is one, whatever its kind."""
        parsed, fault = validated(StemRow, row)
        if parsed is None:
            return Judgement.unsupported(fault)
        if parsed.kind == "choice":
            return _judge_choice(parsed, answer_format, completion)
        expected = read_quantity(parsed.answer)
        if expected is not None and (parsed.kind == "number" or expected.unit is not None):
            return _judge_number(parsed, expected, answer_format, completion)
        if parsed.kind == "number" and _HAS_UNIT.search(parsed.answer):
            fault = f"the expected answer {shorten(parsed.answer)!r} is not a number with a unit that is known"
            return Judgement.unsupported(fault)
        return self._math.judge({"answer": parsed.answer}, answer_format, completion)


def _judge_choice(row: StemRow, answer_format: AnswerFormat, completion: str) -> Judgement:
    chosen = chosen_option(completion, answer_format, row.choices)
    if chosen is None:
        return Judgement.failed(Verdict.FORMAT_ERROR, "no choice of one option was found")
    if chosen == HEDGE:
        return Judgement.failed(Verdict.WRONG, "several options are chosen")
    return Judgement.of_score(float(chosen == row.answer), f"found {chosen}")


def _judge_number(row: StemRow, expected: Quantity, answer_format: AnswerFormat, completion: str) -> Judgement:
    extracted = extract(completion, answer_format)
    stated = stated_quantity(extracted, answer_format) if extracted is not None else None
    if stated is None:
        return Judgement.failed(Verdict.FORMAT_ERROR, f"no answer in the form {answer_format.value!r} was found")
    detail = f"found {shorten(stated)}"
    if len(stated) > MAX_ANSWER_CHARACTERS or is_hedge(stated):
        return Judgement.failed(Verdict.WRONG, detail)
    answer = read_quantity(stated)
    is_exact = "relative_tolerance" not in row.model_fields_set
    if answer is None:
        return Judgement.failed(Verdict.WRONG, f"{detail} (not a number with a unit)")
    return Judgement.of_score(float(agrees(expected, answer, row.relative_tolerance, is_exact=is_exact)), detail)
