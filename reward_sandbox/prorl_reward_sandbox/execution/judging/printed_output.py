"""Compare what a program printed with what it should have printed. Pure, on bytes, outside the program's process.

Bytes, so that output which is no text equals nothing but itself. Linear in the size of both (sorting apart).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from prorl_api.rows import Checker
from prorl_reward_sandbox.execution.judging.values import is_close

_NUMBER = re.compile(rb"[+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,4})?")
_WHOLE_NUMBER = re.compile(rb"[+-]?[0-9]+")


def is_expected_output(stdout: bytes, expected: str, checker: Checker) -> bool:
    """Whether the output counts as the expected one. Not for kind `program`, which needs a jail."""
    return _COMPARISONS[checker.kind](stdout, expected.encode("utf-8", "surrogatepass"), checker)


def _lines(text: bytes) -> list[bytes]:
    return [line.rstrip() for line in text.rstrip().split(b"\n")]


def _are_same_numbers(stdout: bytes, expected: bytes, checker: Checker) -> bool:
    found, wanted = stdout.split(), expected.split()
    return len(found) == len(wanted) and all(
        _is_same_word(word, each, checker) for word, each in zip(found, wanted, strict=True)
    )


def _is_same_word(word: bytes, wanted: bytes, checker: Checker) -> bool:
    """Equal, or both numbers and close. Two whole numbers are compared digit by digit: no tolerance makes 7 an 8."""
    if word == wanted:
        return True
    if not (_NUMBER.fullmatch(word) and _NUMBER.fullmatch(wanted)):
        return False
    if _WHOLE_NUMBER.fullmatch(word) and _WHOLE_NUMBER.fullmatch(wanted):
        return int(word) == int(wanted)
    return is_close(float(word), float(wanted), checker)


_COMPARISONS: Mapping[str, Callable[[bytes, bytes, Checker], bool]] = {
    # White space at the end of lines and empty lines at the end are ignored.
    "lines": lambda stdout, expected, _: _lines(stdout) == _lines(expected),
    "tokens": lambda stdout, expected, _: stdout.split() == expected.split(),
    "numbers": _are_same_numbers,
    "unordered-lines": lambda stdout, expected, _: sorted(_lines(stdout)) == sorted(_lines(expected)),
    "exact": lambda stdout, expected, _: stdout == expected,
}
