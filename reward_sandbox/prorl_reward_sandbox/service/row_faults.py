"""Check the rows of score requests, centrally: a row that its domain's verifier could not use is `unsupported`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from prorl_api.rows import ROWS, Row
from prorl_api.spec.values import Domain
from prorl_api.wording import wanted

_MAX_FAULTS = 5
_LONGEST_VALUE = 60


def read_row(domain: Domain, row: Mapping[str, Any]) -> Row | str:
    """Return the row as its domain's model, or all that is wrong with it in one line.

    Where, what, and what stands there.
    """
    try:
        return ROWS[domain].model_validate(row)
    except ValidationError as error:
        faults = error.errors(include_url=False)
    shown = [f"{_path(fault['loc'])}: {wanted(fault)}, got {_short(fault['input'])}" for fault in faults[:_MAX_FAULTS]]
    more = [f"and {len(faults) - _MAX_FAULTS} more"] if len(faults) > _MAX_FAULTS else []
    return "; ".join([*shown, *more])


def _path(location: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in ("row", *location)).lstrip(".")


def _short(value: object) -> str:
    """Enough to find it. The row is the judge's secret, but the fault goes to who sent it."""
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
