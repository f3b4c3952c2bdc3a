"""Compare what a program printed with what it should have printed. Pure, on bytes, outside the program's process.

Bytes, so that output which is no text equals nothing but itself. Linear in the size of both (sorting apart).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from prorl_api.rows import Checker
from prorl_reward_sandbox.execution.judging.values import is_close

_NUMBER = re.compile(
    rb"(?P<sign>[+-]?)(?:(?P<whole>[0-9]+)(?:\.(?P<part>[0-9]*))?|\.(?P<only>[0-9]+))(?:[eE](?P<power>[+-]?[0-9]{1,4}))?"
)
_WHOLE_NUMBER = re.compile(rb"[+-]?[0-9]+")


def is_expected_output(stdout: bytes, expected: str, checker: Checker) -> bool:
    """Tell whether the output counts as the expected one. Not for kind `program`, which needs a jail."""
    return _COMPARISONS[checker.kind](stdout, expected.encode("utf-8", "surrogatepass"), checker)


def _are_same_lines(stdout: bytes, expected: bytes, _: Checker) -> bool:
    wanted = _lines(expected)
    return _comparable(_lines(stdout), wanted) == _comparable(wanted, wanted)


def _are_same_lines_in_any_order(stdout: bytes, expected: bytes, _: Checker) -> bool:
    wanted = _lines(expected)
    return sorted(_comparable(_lines(stdout), wanted)) == sorted(_comparable(wanted, wanted))


def _lines(text: bytes) -> list[bytes]:
    """Return the lines without white space at their ends, and without empty ones at either end."""
    lines = [line.rstrip() for line in text.rstrip().split(b"\n")]
    return lines[next((number for number, line in enumerate(lines) if line), 0) :]


def _comparable(lines: list[bytes], wanted: list[bytes]) -> list[list[bytes]]:
    """Return what has to be the same of each line, by what is wanted.

    White space at the start of lines is ignored, as all public judges ignore it, unless the expected lines begin at
    different places: then it is a drawing. Between words it counts, but for lines of nothing but numbers.
    """
    if len({len(line) - len(line.lstrip()) for line in wanted if line}) > 1:
        return [[line] for line in lines]
    words = [line.split() for line in lines]
    return [
        parts if all(map(_NUMBER.fullmatch, parts)) else [line.lstrip()]
        for line, parts in zip(lines, words, strict=True)
    ]


def plain_input(stdin: str, checker: Checker) -> str:
    r"""Return an input with one kind of line end: a file from Windows has `\r\n`, and programs expect `\n`.

    Where every byte of the output counts, those of the input do too.
    """
    return stdin if checker.kind == "exact" else stdin.replace("\r\n", "\n")


def _are_same_numbers(stdout: bytes, expected: bytes, checker: Checker) -> bool:
    found, wanted = stdout.split(), expected.split()
    return len(found) == len(wanted) and all(
        _is_same_word(word, each, checker) for word, each in zip(found, wanted, strict=True)
    )


def _is_same_word(word: bytes, wanted: bytes, checker: Checker) -> bool:
    """Equal, or both numbers of the same value, or close to a decimal.

    A whole number wants its exact value, however it is written: no tolerance makes 7 an 8, nor 7.5 one. Only what is
    written as a decimal (with a point or an exponent) and is within the range of floats has a tolerance.
    """
    if word == wanted:
        return True
    found, expected = _NUMBER.fullmatch(word), _NUMBER.fullmatch(wanted)
    if found is None or expected is None:
        return False
    if _exactly(found) == _exactly(expected):
        return True
    return not _WHOLE_NUMBER.fullmatch(wanted) and is_close(float(word), float(wanted), checker)


def _exactly(number: re.Match[bytes]) -> tuple[bytes, bytes, int]:
    """Sign, digits without zeros at either end, and the power of ten of the last one: equal exactly for equal values.

    Never the value itself: nobody needs the digits of 1e9999.
    """
    part = number["part"] or number["only"] or b""
    digits = ((number["whole"] or b"") + part).lstrip(b"0")
    kept = digits.rstrip(b"0")
    if not kept:
        return b"", b"", 0
    power = int(number["power"] or 0) - len(part) + len(digits) - len(kept)
    return number["sign"].strip(b"+"), kept, power


_COMPARISONS: Mapping[str, Callable[[bytes, bytes, Checker], bool]] = {
    "lines": _are_same_lines,
    "tokens": lambda stdout, expected, _: stdout.split() == expected.split(),
    "numbers": _are_same_numbers,
    "unordered-lines": _are_same_lines_in_any_order,
    "exact": lambda stdout, expected, _: stdout == expected,
}
