"""What stands beside a number: its unit, percent sign, currency, or the thing that is counted."""

from __future__ import annotations

import re

from prorl_verifiers.algebra.tree import UnreadableError
from prorl_verifiers.units import parse_unit

_TEXT_UNIT = re.compile(r"\s*\\text\s*\{([^{}]*)\}\s*(?:\^\s*\{?\s*([23])\s*\}?)?$")
_PLAIN_UNIT = re.compile(
    r"(?<=[0-9}) ])\s*([A-Za-z]{1,10}(?:\s?/\s?[A-Za-z]{1,10})?(?: [A-Za-z]{2,12})?)(?:\^\s*\{?\s*([23])\s*\}?)?$"
)
_DEGREES = re.compile(r"\s*\^\s*(?:\{\s*\\circ\s*\}|\\circ)\s*([CFK]|\\text\{\s*[CFK]\s*\})?$")
_PERCENT = re.compile(r"\s*\\?%$|\s*\\text\s*\{\s*percent\s*\}$|\s+percent$")
_CURRENCY = re.compile(r"^(?:\\\$|\$|\\euro|\\pounds|USD)\s*")
_CURRENCY_WORDS = frozenset(("dollar", "euro", "pound sterling", "usd", "cent"))
# Plain words that count as units without \text: those of the table, and what exam answers count.
_COUNTED = frozenset({
    "apple", "bag", "ball", "bead", "block", "book", "bottle", "box", "car", "card", "cent", "child", "coin",
    "column", "cookie", "cup", "day", "degree", "digit", "dollar", "edge", "euro", "foot", "gallon", "hour", "inch",
    "integer", "mark", "mile", "minute", "month", "ounce", "page", "people", "person", "piece", "point", "pound",
    "root", "row", "second", "side", "solution", "square", "student", "term", "ticket", "tile", "time", "unit",
    "vertex", "way", "week", "year",
})  # fmt: skip
_NOT_UNITS = frozenset({
    "about", "and", "answer", "approximately", "but", "either", "if", "is", "maybe", "no", "not", "or", "than",
    "the", "to", "unless",
})  # fmt: skip


def split_unit(piece: str) -> tuple[str, str]:  # noqa: PLR0911  (one case a notation)
    """The text without unit, and the unit: a name, `%`, `$`, `deg`, or empty."""
    currency = _CURRENCY.match(piece)
    if currency:
        rest, unit = split_unit(piece[currency.end() :])
        if unit and unit not in _CURRENCY_WORDS and unit != "$":
            raise UnreadableError("a currency and another unit")
        return rest, "$"
    percent = _PERCENT.search(piece)
    if percent:
        return piece[: percent.start()], "%"
    degrees = _DEGREES.search(piece)
    if degrees and not re.search(r"\\(?:sin|cos|tan|cot|sec|csc)", piece):
        scale = re.sub(r"[^CFK]", "", degrees.group(1) or "")
        return piece[: degrees.start()], f"°{scale}" if scale else "deg"
    wrapped = _TEXT_UNIT.search(piece)
    if wrapped:
        return piece[: wrapped.start()], _unit_name(*wrapped.groups(), is_marked=True)
    plain = _PLAIN_UNIT.search(piece)
    if plain:
        try:
            return piece[: plain.start()], _unit_name(*plain.groups(), is_marked=False)
        except UnreadableError:
            return piece, ""  # letters that belong to the expression
    return piece, ""


def _unit_name(words: str, exponent: str | None, *, is_marked: bool) -> str:
    """The unit's name; plain letters count only if they cannot be variables."""
    name = " ".join(words.strip().rstrip(".").split())
    if exponent:
        name = f"{name}^{exponent}"
    for long, power in (("square ", 2), ("cubic ", 3)):
        if name.lower().startswith(long):
            name = f"{name[len(long) :]}^{power}"
    singular = name[:-1] if name.endswith("s") and len(name) > 2 else name
    is_word = len(re.sub(r"[^A-Za-z]", "", name)) > 1
    if name and (is_marked or is_word) and parse_unit(name) is not None:
        return singular if parse_unit(singular) is not None else name
    plain = singular.lower()
    if plain in _COUNTED or plain in _CURRENCY_WORDS:
        return "$" if plain == "dollar" else plain
    is_text = re.fullmatch(r"[A-Za-z]+(?: [A-Za-z]+){0,2}", name) is not None
    if not is_marked or not is_text or any(word.lower() in _NOT_UNITS for word in name.split()):
        raise UnreadableError(f"the text {words!r}")
    return plain
