"""What a library or the operating system found wrong, in our words: what would be accepted, not how it was tested."""

from __future__ import annotations

import difflib
import errno
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

PATTERNS: dict[str, str] = {
    r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$": "lower-case letters, digits and inner hyphens, at most 40 characters",
    r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$": "lower-case letters, digits and inner hyphens",
    r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$": "lower-case letters, digits, inner hyphens and dots",
    r"^[a-z0-9_]{1,64}$": "a reasoning-gym task: lower-case letters, digits and underscores, such as `chain_sum`",
    r"\{question\}": "a text that contains `{question}`, which stands for the row's question",
    r"^[^:]+:[A-Za-z_][A-Za-z0-9_]*$": "`module:function`, such as `judging:judge` of judging.py beside the manifest",
    r"^[a-z][a-z0-9_]{0,62}$": "lower-case letters, digits and underscores, a letter first, at most 63 characters",
    r"^https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?$": "an address, such as `http://prometheus.monitoring:9090`",
    r"^(signals\.[a-z][a-z0-9_]{0,62}|[a-z][a-z0-9_]*(/[a-z0-9]([a-z0-9-]*[a-z0-9])?)?)$": (
        "a metric's name (docs/metrics.md), `metric/source`, or `signals.NAME`"
    ),
    r"^spec\.[A-Za-z.]+$": "a field's path, such as `spec.learner.podTemplate`",
    r"^[A-Za-z0-9][A-Za-z0-9._-]*$": "letters, digits, dots, underscores and hyphens, a letter or digit first",
    r"^https?://[^\s@]+$": "an address that begins with http:// or https://, without user and password",
    r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$": "`OWNER/NAME`",
    r"^(best|last|step-[0-9]{1,9})$": "`best`, `last` or `step-N`",
    r"^/": "an absolute path, such as `/data`",
    r"^[A-Z]$": "one capital letter, such as `A`",
    r"^[a-z_]+:[a-z_]+$": "an instruction's id, such as `punctuation:no_comma`",
    r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)?$": "a function's name, or `Class.method`",
    r"^[A-Za-z_]\w*$": "a variable's name",
    r"^[a-z0-9+#-]{1,32}$": "a language's name in lower case, such as `python`",
    r"^(-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?)?$": "a number as text, such as `0.25`",
    r"^(True|False|Unknown)$": "`True`, `False` or `Unknown`",
    r"\S": "a text that is not blank",
    r"^[a-z]{2}(-[a-z]{2})?$": "a language's code, such as `en`",
    r"^[0-9a-f]{64}$": "a SHA-256 digest, 64 hexadecimal digits in lower case",
    r"^[A-Za-z0-9._:-]+$": "letters, digits, dots, underscores, colons and hyphens",
    r"^[A-Za-z0-9._-]+$": "letters, digits, dots, underscores and hyphens",
    r"^https?://[^/\s?#@\\]+$": "an address of a host and port, such as `http://127.0.0.1:8000`",
}
"""What each pattern of the models means; a quantity's pattern is built, and is the one that is not here."""
_QUANTITY = "a quantity, such as `8`, `500m` or `64Gi`"

_TYPES = {
    "string_type": "a text, quoted",
    "bool_type": "true or false, without quotes",
    "bool_parsing": "true or false",
    "int_type": "a whole number, without quotes",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number that fits 64 bits",
    "float_type": "a number, without quotes",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "model_type": "an object with fields, `name: value`",
    "model_attributes_type": "an object with fields, `name: value`",
    "dict_type": "an object with fields, `name: value`",
    "list_type": "a list",
    "tuple_type": "a list",
    "json_invalid": "well-formed JSON",
    "missing": "this field is required",
}
_BOUNDS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "greater_than_equal": lambda limits: f"at least {_number(limits['ge'])}",
    "greater_than": lambda limits: f"more than {_number(limits['gt'])}",
    "less_than_equal": lambda limits: f"at most {_number(limits['le'])}",
    "less_than": lambda limits: f"less than {_number(limits['lt'])}",
    "string_too_short": lambda limits: (
        "a text that is not empty"
        if limits["min_length"] == 1
        else f"a text of at least {limits['min_length']} characters"
    ),
    "string_too_long": lambda limits: f"at most {limits['max_length']} characters",
    "too_short": lambda limits: f"at least {_items(limits['min_length'])}",
    "too_long": lambda limits: f"at most {_items(limits['max_length'])}",
    "string_pattern_mismatch": lambda limits: PATTERNS.get(limits["pattern"], _QUANTITY),
}


def wanted(problem: Mapping[str, Any]) -> str:
    """Return what would be accepted where pydantic found a problem, one entry of `ValidationError.errors()`."""
    kind, limits = problem["type"], problem.get("ctx") or {}
    if kind in _TYPES:
        return _TYPES[kind]
    if kind in _BOUNDS:
        return _BOUNDS[kind](limits)
    if kind in ("literal_error", "enum"):
        return _one_of(str(limits["expected"]), problem.get("input"))
    if kind == "extra_forbidden":
        return "unknown field"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _items(count: int) -> str:
    return f"{count} item{'' if count == 1 else 's'}"


def _one_of(expected: str, got: Any) -> str:
    """Return the accepted values, `'a', 'b' or 'c'`, with the one that was probably meant."""
    text = expected.replace("'", "`")
    names = expected.replace("' or '", "', '").strip("'").split("', '")
    near = difflib.get_close_matches(str(got), names, n=1)
    return f"{text}; did you mean `{near[0]}`?" if near and len(names) > 1 else text


_MAX_SHOWN = 3
"""Problems of one file that are named."""
_MAX_NAME = 200
_REASONS = {
    errno.ENOENT: "no such file",
    errno.EISDIR: "a folder",
    errno.ENOTDIR: "a path through something that is no folder",
    errno.ELOOP: "a link that leads to itself",
    errno.ENAMETOOLONG: "a name that is too long",
    errno.ENODEV: "no file that can be read",
    errno.EIO: "a disk that cannot be read",
}


def reason_of(error: Exception) -> str:
    """Return why a file could not be read, without numbers and class names of libraries."""
    if isinstance(error, ValidationError):
        return _of_fields(error)
    if isinstance(error, UnicodeDecodeError):
        return f"no UTF-8 text (byte {error.start})"
    if isinstance(error, json.JSONDecodeError):
        return f"no JSON from line {error.lineno}, column {error.colno} on"
    if not isinstance(error, OSError):
        return str(error).partition("\n")[0][:200]
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"nothing that user {os.getuid()} may read"
    return _REASONS.get(error.errno or 0, (error.strerror or str(error)).lower())


def _of_fields(error: ValidationError) -> str:
    problems = error.errors(include_url=False)
    return "no JSON" if problems[0]["type"] == "json_invalid" else wanted_at(problems)


def wanted_at(problems: Sequence[Mapping[str, Any]], max_shown: int = _MAX_SHOWN) -> str:
    """Return place and wanted value of the first of pydantic's problems, each, and how many more there are.

    Places may be a stranger's words: they are cut.
    """
    shown = [f"{_place(problem['loc'])}: {wanted(problem)}" for problem in problems[:max_shown]]
    more = len(problems) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")


def _place(location: Sequence[str | int]) -> str:
    return ".".join(str(part)[:_MAX_NAME] for part in location) or "the whole"
