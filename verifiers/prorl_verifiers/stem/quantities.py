r"""A number with its unit, read from an answer and compared with a relative tolerance.

Rules: units of the same dimension are converted (1.5 km is 1500 m); another dimension is wrong. A unit that only one
side states is taken to be the other's: the question usually names it. A percent sign without a partner is a
hundredth, or is dropped where the expected number is larger than 1 ("how many percent").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from prorl_verifiers.algebra.evaluation import NotExactError, NotFiniteError, NumericEvaluator, exact
from prorl_verifiers.algebra.expressions import parse_expression
from prorl_verifiers.algebra.tokens import tokenise
from prorl_verifiers.algebra.tree import UnreadableError
from prorl_verifiers.number_words import SCALES, number_of_words
from prorl_verifiers.stem.counted import counted_thing
from prorl_verifiers.stem.spelling import plain_quantity
from prorl_verifiers.units import Unit, parse_unit

_MAX_EXPONENT = 400
_MAX_NUMBER_WORDS = 8
_TEN_TO_THE = r"10\s*(?:\^|\*\*)\s*[{(]?\s*(?P<power>[-+]?[0-9]{1,4})\s*[)}]?"
_NUMBER = re.compile(
    r"(?P<sign>[-+]?)\s*(?P<digits>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:/(?P<divisor>[0-9]+(?![.0-9])))?"
    rf"(?:[eE](?P<e>[-+]?[0-9]{{1,4}})(?![0-9.])|\s*(?:\\times|\\cdot|x|\*|×|·)\s*{_TEN_TO_THE})?"
)
_WHOLE = re.compile(r"[-+]?[0-9]+")
_SHORTENED = re.compile(r"[0-9][kKMB]$")
"""`5K` and `5M` may be thousands and millions; a unit has a space before it."""
_CURRENCY = re.compile(r"(?:\\?\$|USD|US\$)\s*(?=[0-9.])")
_CURRENCY_WORDS = frozenset(("usd", "dollar", "dollars", "us dollars"))
_SCALE = re.compile(rf"({'|'.join(SCALES)})s?(?![A-Za-z])", re.IGNORECASE)
_TINY_PARTS = frozenset(("ppm", "ppb"))
_PARTS = _TINY_PARTS | {"%", "percent"}
_POWER_OF_TEN = re.compile(rf"(?P<sign>[-+]?)\s*{_TEN_TO_THE}")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value in its unit; `unit` None: none is stated, or `label` says what is counted."""

    value: Fraction
    unit: Unit | None
    label: str = ""
    is_whole: bool = False
    """Written as a whole number, with neither unit nor exponent."""


def read_quantity(text: str) -> Quantity | None:
    """Return the quantity that a text is, or None if it is anything else (a range, two numbers, prose)."""
    try:
        text = plain_quantity(text)
    except UnreadableError:
        return None
    currency = _CURRENCY.match(text)
    if currency:
        text = text[currency.end() :]
    read = _in_words(text) or _number_prefix(text)
    if read is None:
        return None
    value, rest = read
    rest = rest.strip().rstrip(".").strip()
    rest = rest[1:-1].strip() if rest[:1] + rest[-1:] in ("[]", "()") else rest
    value, rest = _scaled(value, rest)
    if currency:
        return None if rest else Quantity(value, None, "$")
    if _SHORTENED.search(text):
        return None
    return _with_unit(value, rest, is_whole=_WHOLE.fullmatch(text) is not None)


def _with_unit(value: Fraction, rest: str, *, is_whole: bool) -> Quantity | None:
    """Return the quantity of a number and what stands behind it; None if that says something else about the number."""
    if not rest:
        return Quantity(value, None, is_whole=is_whole)
    if rest.lower() in _CURRENCY_WORDS:
        return Quantity(value, None, "$")
    unit = parse_unit(rest)
    if unit is not None:
        return Quantity(value, unit, rest)
    noun = counted_thing(rest)
    return Quantity(value, None, noun) if noun else None


def agrees(expected: Quantity, answer: Quantity, relative_tolerance: float, *, is_exact: bool = True) -> bool:
    """Tell whether the answer is the expected quantity within the tolerance, relative to the expected value.

    A whole number without a unit is a count or a year: another whole number is wrong however near it is, and a decimal
    must be nearer to it than to any other. `is_exact`: unless the row states a tolerance of its own.
    """
    tolerance = Fraction(relative_tolerance)
    if (
        is_exact
        and expected.is_whole
        and (answer.value.denominator == 1 or abs(answer.value - expected.value) >= Fraction(1, 2))
    ):
        tolerance = Fraction(0)
    if expected.unit is not None and answer.unit is not None:
        if not expected.unit.can_be(answer.unit):
            return False
        si_value = answer.value * answer.unit.factor + answer.unit.offset
        converted = (si_value - expected.unit.offset) / expected.unit.factor
        return _is_near(expected.value, converted, tolerance)
    if expected.label and answer.label and expected.unit is None and answer.unit is None:
        return expected.label == answer.label and _is_near(expected.value, answer.value, tolerance)
    if expected.unit is None and answer.unit is not None:
        return not expected.label and _agrees_without_unit(
            expected.value, answer.value, answer.unit, answer.label, tolerance
        )
    if expected.unit is not None and answer.label:
        return False  # a word instead of the unit
    is_part = expected.unit is not None and expected.label in _TINY_PARTS
    as_parts = [answer.value / expected.unit.factor] if is_part and expected.unit is not None else []
    return any(_is_near(expected.value, value, tolerance) for value in (answer.value, *as_parts))


def _agrees_without_unit(expected: Fraction, value: Fraction, unit: Unit, label: str, tolerance: Fraction) -> bool:
    """Compare an answer that has a unit with an expected value that has none: the question usually names it.

    Parts are numbers: 15 % is 0.15 and nothing else. An angle in degrees is not the number of degrees.
    """
    if label in _PARTS:
        return _is_near(expected, value * unit.factor, tolerance)
    return "°" not in label and "deg" not in label.lower() and _is_near(expected, value, tolerance)


def _is_near(expected: Fraction, value: Fraction, tolerance: Fraction) -> bool:
    return abs(value - expected) <= tolerance * abs(expected)


def _in_words(text: str) -> tuple[Fraction, str] | None:
    """Return the number that a text names in words."""
    words = text.split()[:_MAX_NUMBER_WORDS] if text[:1].isalpha() else []
    for count in range(len(words), 0, -1):
        number = number_of_words(" ".join(words[:count]))
        if number is not None:
            return Fraction(number), " ".join(text.split()[count:])
    return None


def _scaled(value: Fraction, rest: str) -> tuple[Fraction, str]:
    """Multiply by the number words that follow: `5 million`, `3 hundred thousand people`."""
    while scale := _SCALE.match(rest):
        value, rest = value * SCALES[scale.group(1).lower()], rest[scale.end() :].strip()
    return value, rest


def _number_prefix(text: str) -> tuple[Fraction, str] | None:
    """Return the number that a text begins with, and the rest."""
    power = _POWER_OF_TEN.match(text)
    if power and abs(int(power["power"])) <= _MAX_EXPONENT:
        value = Fraction(10) ** int(power["power"])
        return (-value if power["sign"] == "-" else value), text[power.end() :]
    match = _NUMBER.match(text)
    if match:
        exponent = int(match["e"] or match["power"] or 0)
        divisor = int(match["divisor"] or 1)
        rest = text[match.end() :]
        if abs(exponent) <= _MAX_EXPONENT and divisor and not re.match(r"\s*[-+^!(\\0-9.,/]|\s*·\s*[0-9(]", rest):
            value = Fraction(match["digits"].rstrip(".")) * Fraction(10) ** exponent / divisor
            return (-value if match["sign"] == "-" else value), rest
    return _expression_prefix(text)


def _expression_prefix(text: str) -> tuple[Fraction, str] | None:
    r"""Return a value such as `\frac{3}{4}`, `2\sqrt{3}` or `3\pi/2`, with or without a unit behind a space."""
    head, _, unit = text.rpartition(" ")
    for number, rest in ((text, ""), (head, unit)):
        try:
            expression = parse_expression(tokenise(number.replace("·", r"\cdot ")))
            try:
                return exact(expression), rest
            except NotExactError:
                value = NumericEvaluator(30).value(expression, {})
        except (UnreadableError, NotFiniteError, KeyError, RecursionError):
            continue
        if value.imag == 0 and abs(value) < 10**_MAX_EXPONENT:
            return Fraction(str(value.real)), rest
    return None
