"""Read and compare numbers of answers: exactly, or rounded where the expected one is rounded.

A number is read only if nothing is left over: an optional sign, digits with thousands separators in their places or
without any, a decimal part, an exponent; or a fraction of two whole numbers. Zeros in front are no way to write one.
"""

from __future__ import annotations

import re
from fractions import Fraction

from prorl_verifiers.algebra.tree import UnreadableError

_MAX_CHARACTERS = 64
_DECIMAL = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>0|[1-9][0-9]{0,2}(?:,[0-9]{3})+|[1-9][0-9]*|(?=\.[0-9]))"
    r"(?:\.(?P<part>[0-9]*))?(?:[eE](?P<exponent>[+-]?[0-9]{1,3}))?"
)
_FRACTION = re.compile(r"([+-]?(?:0|[1-9][0-9]*))\s*/\s*([1-9][0-9]*)")
_MIN_DIGITS = 4
"""A rounded probability must show so many significant digits."""
_MIN_PLACES = 2
"""An expected number with fewer decimals is taken to be exact."""
_RELATIVE_TOLERANCE = Fraction(1, 10**9)


def read_number(text: str) -> Fraction:
    """Return the number that the text is.

    Raises:
        UnreadableError: It is anything else.
    """
    text = text.strip().replace("\u2212", "-")
    if len(text) > _MAX_CHARACTERS:
        raise UnreadableError("longer than a number")
    fraction = _FRACTION.fullmatch(text)
    if fraction:
        return Fraction(int(fraction[1]), int(fraction[2]))
    decimal = _DECIMAL.fullmatch(text)
    if decimal is None:
        raise UnreadableError("no number")
    digits = f"{decimal['sign']}{decimal['whole'].replace(',', '') or '0'}.{decimal['part'] or '0'}"
    return Fraction(digits) * Fraction(10) ** int(decimal["exponent"] or 0)


def is_same_number(answer: str, expected: str) -> bool:
    """Return whether the answer is exactly the expected number."""
    return read_number(answer) == expected_number(expected)


def is_same_rounded(answer: str, expected: str) -> bool:
    """Return whether the answer is the expected number, or a more exact one that rounds to it.

    Only an expected number of two decimals or more is taken for a rounded one.
    """
    given, wanted = read_number(answer), expected_number(expected)
    places = len(expected.strip().partition(".")[2])
    if given == wanted:
        return True
    is_finer = "/" in answer or len(answer.strip().partition(".")[2]) > places
    return places >= _MIN_PLACES and is_finer and abs(given - wanted) <= Fraction(1, 2 * 10**places)


def is_same_probability(answer: str, expected: str) -> bool:
    """Return whether the answer is the expected probability, a fraction of that value, or it rounded to its own digits.

    Rounded numbers must show at least four significant digits, so that no answer is right for many items.
    """
    given, wanted = read_number(answer), expected_number(expected)
    if abs(given - wanted) <= _RELATIVE_TOLERANCE * abs(wanted):
        return True
    mantissa, _, exponent = answer.strip().lower().partition("e")
    places = len(mantissa.partition(".")[2]) - int(exponent or 0)
    digits = len(re.sub(r"[^0-9]", "", mantissa).lstrip("0"))
    return (
        "/" not in answer and digits >= _MIN_DIGITS and abs(given - wanted) <= Fraction(1, 2) / Fraction(10) ** places
    )


def expected_number(text: str) -> Fraction:
    """Return the number that an entry expects.

    Raises:
        ValueError: It is none.
    """
    try:
        return read_number(text)
    except UnreadableError as error:
        raise ValueError(f"the expected answer {text[:40]!r} is not a number") from error
