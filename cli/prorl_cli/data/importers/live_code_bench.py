"""LiveCodeBench, code generation (livecodebench/code_generation_lite): contest problems with public and hidden tests.

Fields: `question_content`, `starter_code`, `public_test_cases` and `private_test_cases` (JSON texts with a list of
`input`, `output` and `testtype`: `stdin` or `functional`; the hidden ones usually pickled, compressed and in base64),
`metadata` (a JSON text with `func_name`). A problem counts as solved if every test passes.

A pickle can run code when it is read. These hold one text and nothing else, so the reader here knows no class and no
function, and refuses every pickle that names one; what a record unpacks to is bounded.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import pickle
import zlib
from collections.abc import Mapping
from typing import Any

from prorl_api.spec.values import Domain
from prorl_cli.data.importers.base import Imported, Importer, Skipped, text_of

_MAX_UNPACKED = 256 * 2**20
_SECONDS = 6.0
"""For one test, as LiveCodeBench has it."""
_TOTAL_SECONDS = 120.0
_STARTER = "\n\nUse this starter code. Answer with the whole program in one ```python block.\n\n```python\n{}\n```"
_PROGRAM = (
    "\n\nRead the input from standard input and print the answer. Answer with the whole program in one ```python block."
)
_BAD = Skipped("test cases are not a JSON list of input and output")


class _TextOnly(pickle.Unpickler):
    """Reads pickles of plain values."""

    def find_class(self, module: str, name: str) -> Any:
        """Refuse whatever a pickle names."""
        raise pickle.UnpicklingError(f"{module}.{name} in a pickle of texts")


def convert(record: Mapping[str, Any]) -> Imported | Skipped:
    """Return a problem with all its tests."""
    question = text_of(record, "question_content")
    if not question:
        return Skipped("no question_content")
    cases = []
    for name in ("public_test_cases", "private_test_cases"):
        found = _cases(record.get(name))
        if found is None:
            return _BAD
        cases += found
    if not cases:
        return Skipped("no tests")
    starter = text_of(record, "starter_code")
    kinds = {case.get("testtype") for case in cases}
    if kinds == {"stdin"}:
        tests = [{"type": "stdio", "stdin": case["input"], "expected_stdout": case["output"]} for case in cases]
        asked = question + _PROGRAM
    elif kinds == {"functional"}:
        made = _calls(cases, _function(record, starter))
        if isinstance(made, Skipped):
            return made
        tests, asked = made, question + _STARTER.format(starter)
    else:
        return Skipped("test cases of an unknown or of several types")
    limits = {"total_wall_seconds": _TOTAL_SECONDS, "test_wall_seconds": _SECONDS}
    return Imported(asked, {"tests": tests, "reward": "all", "preamble": True, **limits})


def _cases(value: Any) -> list[dict[str, str]] | None:
    if value in (None, ""):
        return []
    if isinstance(value, str):
        value = _parsed(value) if value.lstrip().startswith("[") else _parsed(_unpacked(value))
    if not isinstance(value, list):
        return None
    fine = all(
        isinstance(case, dict) and all(isinstance(case.get(name), str) for name in ("input", "output"))
        for case in value
    )
    return value if fine else None


def _unpacked(text: str) -> str:
    """Return the text within a pickle, compressed, in base64; empty for anything else."""
    try:
        inflated = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), _MAX_UNPACKED)
        found = _TextOnly(io.BytesIO(inflated)).load()
    except (binascii.Error, ValueError, zlib.error, pickle.UnpicklingError, EOFError, IndexError, KeyError,
            AttributeError, TypeError, ImportError, MemoryError, OverflowError):  # fmt: skip
        return ""
    return found if isinstance(found, str) else ""


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _function(record: Mapping[str, Any], starter: str) -> str:
    metadata = record.get("metadata")
    values = _parsed(metadata) if isinstance(metadata, str) else metadata
    name = text_of(values, "func_name") if isinstance(values, dict) else ""
    return f"Solution.{name}" if name and "class Solution" in starter else name


def _calls(cases: list[dict[str, str]], function: str) -> list[dict[str, Any]] | Skipped:
    if not function:
        return Skipped("no func_name")
    try:
        return [
            {
                "type": "call",
                "function": function,
                "arguments": [json.loads(line) for line in case["input"].split("\n") if line.strip()],
                "expected": json.loads(case["output"]),
            }
            for case in cases
        ]
    except (ValueError, RecursionError):
        return Skipped("arguments or results of a call are not JSON")


LIVE_CODE_BENCH = Importer(
    name="livecodebench", domain=Domain.CODE, description="LiveCodeBench, code generation", convert=convert
)
