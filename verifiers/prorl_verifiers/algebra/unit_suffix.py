"""What stands beside a number: its unit, percent sign, currency, or the thing that is counted."""

from __future__ import annotations

import re

from prorl_verifiers.algebra.counted import COUNTED, singular
from prorl_verifiers.algebra.cursor import FUNCTION_WORDS
from prorl_verifiers.algebra.tree import UnreadableError
from prorl_verifiers.number_words import SCALES
from prorl_verifiers.units import parse_unit

UNKNOWN = "?"
"""What the name of a unit begins with that is in no table here."""
_SCALES = "|".join(SCALES)
_SCALE = re.compile(rf"\s*(?:\\text\s*\{{\s*({_SCALES})s?\s*\}}|(?<=[0-9 }})])({_SCALES})s?)$", re.IGNORECASE)
_TEXT_UNIT = re.compile(r"\s*\\text\s*\{([^{}]*)\}\s*(?:\^\s*\{?\s*([23])\s*\}?)?$")
_PLAIN_UNIT = re.compile(
    r"(?<=[0-9}) ])\s*([A-Za-z]{1,10}(?:\s?/\s?[A-Za-z]{1,10})?(?: [A-Za-z]{2,12})?)(?:\^\s*\{?\s*([23])\s*\}?)?$"
)
_DEGREES = re.compile(r"\s*\^\s*(?:\{\s*\\circ\s*\}|\\circ)\s*([CFK]|\\text\{\s*[CFK]\s*\})?$")
_PERCENT = re.compile(r"\s*\\?%$|\s*\\text\s*\{\s*percent\s*\}$|\s+percent$")
_SCALE_AND_NOUN = re.compile(rf"\\text\s*\{{\s*({_SCALES})\s+([A-Za-z ]+)\}}$", re.IGNORECASE)
_CURRENCY = re.compile(r"^(\\\$|\$|\\euro|\\pounds|USD)\s*")
_CURRENCY_BEHIND = re.compile(r"\s*(\\\$|\\euro|\\pounds)\s*$")
_CURRENCY_NAMES = {"\\euro": "euro", "\\pounds": "pound sterling"}
_UNIT_FRACTION = re.compile(
    r"(?<=[0-9}) ])\s*\\frac\s*\{\s*\\text\s*\{([A-Za-z ]+)\}\s*\}"
    r"\s*\{\s*\\text\s*\{([A-Za-z ]+)\}(\^\{?[23]\}?)?\s*\}$"
)
_CURRENCY_WORDS = frozenset(("dollar", "euro", "pound sterling", "usd", "cent"))
_SQUARED = ("square ", "sq. ", "sq ")
# Words that say nothing more about a count: `12 different ways`, `5 more apples` would say something.
_ADJECTIVES = frozenset(
    {
        "different",
        "distinct",
        "possible",
        "total",
        "whole",
        "full",
        "real",
        "of",
        "the",
        "red",
        "blue",
        "green",
        "white",
        "black",
        "yellow",
        "brown",
        "pink",
        "purple",
        "correct",
    }
)


def split_unit(piece: str) -> tuple[str, str]:
    """Return the text without unit and with number words as factors, and the unit: a name, `%`, `$`, `deg`, or empty.

    Raises:
        UnreadableError: Words stand beside the number that name neither a unit nor what is counted in answers.
    """
    number, unit = _split(_with_scale_inside(piece))
    if unit.removeprefix(UNKNOWN) in SCALES:  # the words themselves are no unit
        number, unit = piece, ""
    scale = _SCALE.search(number)
    if scale is None:
        return number, unit
    factor = SCALES[(scale.group(1) or scale.group(2)).lower()]
    inner, inner_unit = split_unit(number[: scale.start()])  # five hundred million
    if inner.strip() in ("", "0") or (inner_unit and unit):
        raise UnreadableError("a number word without a number")
    return rf"({inner})\cdot {factor}", unit or inner_unit


def _with_scale_inside(piece: str) -> str:
    r"""`5\text{ million dollars}` with its number word in a text of its own."""
    return _SCALE_AND_NOUN.sub(lambda match: rf"\text{{{match.group(1)}}}\text{{{match.group(2)}}}", piece)


def _split(piece: str) -> tuple[str, str]:  # noqa: PLR0911  (one case a notation)
    currency = _CURRENCY.match(piece)
    if currency:
        rest, unit = split_unit(piece[currency.end() :])
        name = _CURRENCY_NAMES.get(currency.group(1), "$")
        if unit not in ("", name):
            raise UnreadableError("a currency and another unit")
        return rest, name
    behind = _CURRENCY_BEHIND.search(piece)
    if behind and behind.start() > 0:
        return piece[: behind.start()], _CURRENCY_NAMES.get(behind.group(1), "$")
    fraction = _UNIT_FRACTION.search(piece)
    if fraction:
        upper, lower, exponent = (group or "" for group in fraction.groups())
        name = f"{upper.strip()}/{lower.strip()}{re.sub('[{}]', '', exponent)}"
        return piece[: fraction.start()], _unit_name(name, None, is_marked=True)
    percent = _PERCENT.search(piece)
    if percent:
        return piece[: percent.start()], "%"
    degrees = _DEGREES.search(piece)
    if degrees and not re.search(r"\\(?:sin|cos|tan|cot|sec|csc)", piece):
        scale = re.sub(r"[^CFK]", "", degrees.group(1) or "")
        return piece[: degrees.start()], f"°{scale}" if scale else "deg"
    wrapped = _TEXT_UNIT.search(piece)
    if wrapped and piece[: wrapped.start()].strip():
        return piece[: wrapped.start()], _unit_name(*wrapped.groups(), is_marked=True)
    plain = _PLAIN_UNIT.search(piece)
    if plain:
        try:
            return piece[: plain.start()], _unit_name(*plain.groups(), is_marked=False)
        except UnreadableError:
            return piece, ""  # letters that belong to the expression
    return piece, ""


def _unit_name(words: str, exponent: str | None, *, is_marked: bool) -> str:
    """Return the unit's name; plain letters count only if they cannot be variables.

    What is in no table is marked as unknown: it counts only where the other answer says the same.

    Raises:
        UnreadableError: The text is more than a few words.
    """
    name = " ".join(words.strip().rstrip(".").split())
    if exponent:
        name = f"{name}^{exponent}"
    name = _raised(name)
    is_word = len(re.sub(r"[^A-Za-z]", "", name)) > 1
    if name and (is_marked or is_word) and parse_unit(name) is not None:
        one = name[:-1] if name.endswith("s") and len(name) > 2 else name
        return one if parse_unit(one) is not None else name
    if name.lower() in ("percentage", "pct"):
        return "%"
    plain = " ".join(word for word in name.lower().split() if word not in _ADJECTIVES)
    noun = singular(plain)
    if noun in COUNTED or noun in _CURRENCY_WORDS or noun in ("unit^2", "unit^3"):
        return "$" if noun in ("dollar", "usd") else noun
    is_text = re.fullmatch(r"[A-Za-z]{2,}(?: [A-Za-z]+){0,2}", name) is not None
    if is_text and (is_marked or len(name) > 3) and name not in FUNCTION_WORDS:
        return UNKNOWN + noun
    raise UnreadableError(f"the text {words!r}")


def _raised(name: str) -> str:
    """`square cm` and `sq. cm` as cm^2, `cm squared` too, `cubic cm` as cm^3."""
    lower = name.lower()
    for long, power in (*((word, 2) for word in _SQUARED), ("cubic ", 3)):
        if lower.startswith(long):
            return f"{singular(name[len(long) :])}^{power}"
    for long, power in ((" squared", 2), (" cubed", 3)):
        if lower.endswith(long):
            return f"{singular(name[: -len(long)])}^{power}"
    return name
