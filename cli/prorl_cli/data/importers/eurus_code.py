"""The code part of Eurus-2-RL-Data (PRIME-RL): about 27,000 problems of programming contests with hidden tests.

Fields: `ability` (`code` or `math`), `prompt` (messages: PRIME's own system prompt, then the problem), `reward_model`
with `ground_truth`: a JSON text with `inputs` and `outputs` of equal length and, where a function is called instead of
a whole program, `fn_name`. The set has no solutions.

Programs of public sets leave out imports (`preamble`). Where an output holds a decimal, numbers are compared within
tolerances. A problem that accepts any of several outputs is noted: its tests know only one.

The system message describes PRIME's format of actions; it is left out and counted. Of a called function, an input is
the list of arguments, or a text with one JSON value a line; an output is the value, or a list that holds only the
value: it is taken as the latter when every output of the record is a list of one item.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from prorl_api.spec.values import Domain
from prorl_cli.data.importers.base import Imported, Importer, Skipped, conversation, text_of

_ANY = re.compile(
    r"(?:print|output|return|find)\s+any\b|any\s+of\s+them|in any order"
    r"|(?:multiple|several|many|more than one)\s+(?:\w+\s+)?(?:answers?|solutions?)"
    r"|any\s+(?:valid|correct|possible)\s+(?:answer|solution|output)",
    re.IGNORECASE,
)
_DECIMAL = re.compile(r"(?<![\w.])-?[0-9]+\.[0-9]+(?:[eE][-+]?[0-9]+)?(?![\w.])")
_TESTS_BAD = Skipped("ground_truth is not a JSON object with inputs and outputs of equal length")
_CALL_BAD = Skipped("arguments or results of a call are not JSON")


def convert(record: Mapping[str, Any]) -> Imported | Skipped:
    """Return a problem with its tests."""
    if text_of(record, "ability") != "code":
        return Skipped("ability is not code")
    messages = conversation(record.get("prompt"))
    asked = [message for message in messages if message["role"] != "system"]
    if not asked or asked[-1]["role"] != "user" or not asked[-1]["content"].strip():
        return Skipped("no prompt that ends with a user's message")
    tests = _tests(record, asked[-1]["content"])
    if isinstance(tests, Skipped):
        return tests
    prompt = asked[0]["content"] if len(asked) == 1 else asked
    notes: tuple[str, ...] = ("system message left out",) if len(asked) < len(messages) else ()
    if _ANY.search(asked[-1]["content"]):
        notes += ("any of several outputs may be right, and the tests know one",)
    has_decimals = any(_DECIMAL.search(test.get("expected_stdout", "")) for test in tests)
    checker = {"checker": {"kind": "numbers"}} if has_decimals else {}
    return Imported(prompt, {"tests": tests, "preamble": True, **checker}, notes)


def _tests(record: Mapping[str, Any], problem: str) -> list[dict[str, Any]] | Skipped:
    truth = _ground_truth(record)
    if truth is None:
        return _TESTS_BAD
    inputs, outputs = truth.get("inputs"), truth.get("outputs")
    if not isinstance(inputs, list) or not isinstance(outputs, list) or len(inputs) != len(outputs):
        return _TESTS_BAD
    if not inputs:
        return Skipped("no tests")
    name = text_of(truth, "fn_name")
    if not name:
        return _stdio(inputs, outputs)
    # Problems in LeetCode's form give a class to fill in; the others a plain function.
    return _calls(f"Solution.{name}" if "class Solution" in problem else name, inputs, outputs)


def _ground_truth(record: Mapping[str, Any]) -> dict[str, Any] | None:
    model = record.get("reward_model")
    value = model.get("ground_truth") if isinstance(model, dict) else None
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) else None


def _stdio(inputs: list[Any], outputs: list[Any]) -> list[dict[str, Any]] | Skipped:
    tests = []
    for given, expected in zip(inputs, outputs, strict=True):
        stdin, stdout = _lines(given), _lines(expected)
        if stdin is None or stdout is None:
            return Skipped("inputs or outputs of a program are not text")
        tests.append({"type": "stdio", "stdin": stdin, "expected_stdout": stdout})
    return tests


def _lines(value: Any) -> str | None:
    """Text as it is, a list of texts as lines."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    return None


def _calls(function: str, inputs: list[Any], outputs: list[Any]) -> list[dict[str, Any]] | Skipped:
    try:
        arguments = [_arguments(value) for value in inputs]
        results = [
            json.loads(value) if isinstance(inputs[0], str) and isinstance(value, str) else value for value in outputs
        ]
    except (ValueError, RecursionError):
        return _CALL_BAD
    if any(value is None for value in arguments):
        return _CALL_BAD
    if all(isinstance(value, list) and len(value) == 1 for value in results):
        results = [value[0] for value in results]
    return [
        {"type": "call", "function": function, "arguments": given, "expected": expected}
        for given, expected in zip(arguments, results, strict=True)
    ]


def _arguments(value: Any) -> list[Any] | None:
    if isinstance(value, str):
        return [json.loads(line) for line in value.split("\n") if line.strip()]
    return value if isinstance(value, list) else None


EURUS_CODE = Importer(
    name="eurus-2-code", domain=Domain.CODE, description="Eurus-2-RL-Data, rows with ability code", convert=convert
)
