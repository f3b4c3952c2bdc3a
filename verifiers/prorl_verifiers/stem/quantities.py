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
from prorl_verifiers.algebra.tokens import normalise, tokenise, without_thousands_separators
from prorl_verifiers.algebra.tree import UnreadableError
from prorl_verifiers.units import Unit, parse_unit

_MAX_EXPONENT = 400
_WRAPPER = re.compile(r"\\text\s*\{([^{}]*)\}")
_EXPONENT = re.compile(r"\^\s*\{\s*(-?[0-9]{1,4})\s*\}")
_UNIT_FRACTION = re.compile(
    r"\\frac\s*\{\s*([A-Za-zµΩ][A-Za-zµΩ^0-9 ]*?)\s*\}\s*\{\s*([A-Za-zµΩ][A-Za-zµΩ^0-9 ]*?)\s*\}$"
)
_NAMES = {r"\Omega": "Ω", r"\mu": "µ", r"\%": "%", r"\circ": "°", r"\AA": "Å", r"\degree": "°"}
_NAME = re.compile(r"\^\s*\{?\s*\\circ\s*\}?|\\(?:Omega|mu|circ|AA|degree)(?![A-Za-z])|\\%")
_SUBSCRIPT = r"(?:_\{?[A-Za-z0-9 ]{1,12}\}?)?"
_ASSIGNMENT = re.compile(rf"^\s*(?:[A-Za-z]{{1,3}}{_SUBSCRIPT}|\\[A-Za-z]+{_SUBSCRIPT})\s*(?:=|≈|\\approx)\s*")
_ABOUT = re.compile(r"^\s*(?:\\approx|\\sim|≈|~|approximately|about|roughly|around)\s*", re.IGNORECASE)
_TEN_TO_THE = r"10\s*(?:\^|\*\*)\s*[{(]?\s*(?P<power>[-+]?[0-9]{1,4})\s*[)}]?"
_NUMBER = re.compile(
    r"(?P<sign>[-+]?)\s*(?P<digits>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:/(?P<divisor>[0-9]+(?![.0-9])))?"
    rf"(?:[eE](?P<e>[-+]?[0-9]{{1,4}})(?![0-9.])|\s*(?:\\times|\\cdot|x|\*|×|·)\s*{_TEN_TO_THE})?"
)
_POWER_OF_TEN = re.compile(rf"(?P<sign>[-+]?)\s*{_TEN_TO_THE}")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value in its unit; `unit` None: none is stated, or it is a word of no table (`label`)."""

    value: Fraction
    unit: Unit | None
    label: str = ""


def read_quantity(text: str) -> Quantity | None:
    """The quantity that a text is, or None if it is anything else (a range, two numbers, prose)."""
    try:
        text = _plain(text)
    except UnreadableError:
        return None
    read = _number_prefix(text)
    if read is None:
        return None
    value, rest = read
    rest = rest.strip().rstrip(".").strip()
    rest = rest[1:-1].strip() if rest[:1] + rest[-1:] in ("[]", "()") else rest
    if not rest:
        return Quantity(value, None)
    unit = parse_unit(rest)
    if unit is not None:
        return Quantity(value, unit, rest)
    # Counted things: "12 apples". Digits or signs would make it a range or a second number.
    is_words = re.fullmatch(r"[A-Za-z]{2,}(?: [A-Za-z]{2,}){0,3}", rest) is not None
    return Quantity(value, None, rest.lower().removesuffix("s")) if is_words else None


def agrees(expected: Quantity, answer: Quantity, relative_tolerance: float) -> bool:
    """Whether the answer is the expected quantity within the tolerance, relative to the expected value."""
    tolerance = Fraction(relative_tolerance)
    if expected.unit is not None and answer.unit is not None:
        if expected.unit.dimension != answer.unit.dimension:
            return False
        si_value = answer.value * answer.unit.factor + answer.unit.offset
        converted = (si_value - expected.unit.offset) / expected.unit.factor
        return _is_near(expected.value, converted, tolerance)
    if expected.unit is None and expected.label and answer.label and expected.label != answer.label:
        return False
    if expected.unit is not None and answer.label and answer.unit is None:
        return False  # a word instead of the unit
    if answer.label in ("%", "percent") and expected.unit is None and not expected.label:
        is_part = _is_near(expected.value, answer.value / 100, tolerance)
        return is_part or (abs(expected.value) > 1 and _is_near(expected.value, answer.value, tolerance))
    return _is_near(expected.value, answer.value, tolerance)


def _is_near(expected: Fraction, value: Fraction, tolerance: Fraction) -> bool:
    return abs(value - expected) <= tolerance * abs(expected)


def _plain(text: str) -> str:
    """Without LaTeX around units, an assignment's left side, and words such as "about"."""
    text = normalise(text)
    text = _NAME.sub(lambda match: _NAMES.get(match.group(), "°"), text)
    text = _EXPONENT.sub(r"^\1", text)
    text = _WRAPPER.sub(r" \1 ", text)
    text = _UNIT_FRACTION.sub(r" \1/\2", text)
    text = without_thousands_separators(text)
    text = _ABOUT.sub("", _ASSIGNMENT.sub("", text))
    # A space between digits and degree or percent sign, or none, is all the same.
    return re.sub(r"\s*°\s*", " °", text).replace(r"\cdot", "·").strip()


def _number_prefix(text: str) -> tuple[Fraction, str] | None:
    """The number that a text begins with, and the rest."""
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
    r"""A value such as `\frac{3}{4}`, `2\sqrt{3}` or `3\pi/2`, with or without a unit behind a space."""
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
