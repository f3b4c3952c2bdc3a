"""Check a row against its domain's model at the verifier's door: a bad row is `unsupported`, never a wrong answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from prorl_api.rows import MathRow, Row
from prorl_api.wording import wanted
from prorl_verifiers.judgement import shorten

R = TypeVar("R", bound=Row)


def validated(model: type[R], row: Mapping[str, Any]) -> tuple[R | None, str]:
    """Return the row as its model, or None and what is wrong with it, without the row's secrets."""
    try:
        return model.model_validate(dict(row)), ""
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'row'}: {wanted(fault)}" for fault in error.errors()]
        return None, shorten(f"the row is not judgeable as {model.__name__}: {'; '.join(faults)}")


def math_answers(row: Mapping[str, Any]) -> tuple[list[str], str]:
    """Return the expected answers of a math row as text, or what is wrong with it."""
    if "answer" not in row:
        return [], "the row has no 'answer'"
    parsed, fault = validated(MathRow, row)
    if parsed is None:
        return [], fault
    values = parsed.answer if isinstance(parsed.answer, list) else [parsed.answer]
    return [str(value) for value in values], ""
