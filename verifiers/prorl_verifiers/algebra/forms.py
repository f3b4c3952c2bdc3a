r"""Forms of a whole answer that its words or marks decide: options, congruences, families, times, ratios, quantities.

Each reader here takes the normalised text of the whole answer and says what it is, or None if it has another form.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from prorl_verifiers.algebra.tree import (
    Answer,
    Bracketed,
    Collection,
    Congruence,
    Family,
    Labelled,
    Number,
    Sum,
    Symbol,
    UnreadableError,
    Value,
)
from prorl_verifiers.units import parse_unit

Read = Callable[[str], Answer]
DOTS = Symbol("...")
_LABELS = (
    re.compile(r"\\text\s*\{\s*(?:\(([A-H])\)|([A-H])[.):])\s*\}\s*:?\s*(.+)"),
    re.compile(r"\\text\s*\{\s*(?:\(([A-H])\)|([A-H])[.):])\s+([^{}]+)\}"),
    re.compile(r"\(\s*\\text\s*\{\s*([A-H])()\s*\}\s*\)\s*(.+)"),
    re.compile(r"\(([A-H])()\)\s+((?:[0-9]|\\frac|\\sqrt|\\?\$).*)"),
)
_MODULUS = (
    r"\(?\s*(?:\\pmod|\\bmod|\\mod|\\text\s*\{\s*mod\s*\}|mod)(?![A-Za-z])\s*\{?\s*(?P<modulus>[0-9]{1,9})\s*\}?\s*\)?"
)
_CONGRUENCE = re.compile(rf"(?:(?P<name>[^=<>,]{{1,40}}?)\s*\\equiv\s*)?(?P<residues>[^=<>]{{1,200}}?)\s*{_MODULUS}")
_PARAMETER = re.compile(
    r"(?P<body>.+?)[\s,;]*(?:\\text\s*\{[\s,]*(?:where|for|with|and|for all|for any|for some|for integers?)?\s*\}"
    r"|where|for)?\s*\(?\s*(?P<parameter>[a-z])\s*"
    r"(?:\\in\s*(?:\\mathbb\s*\{\s*)?(?P<domain>[ZN])(?![A-Za-z])\s*\}?\s*(?P<positive>[\^_]\s*\{?\s*[+*0-9]\s*\}?)?"
    r"|\\text\s*\{\s*(?:is an?|any|an)?\s*(?:arbitrary )?integers?\s*\}|is an integer)\s*\)?"
)
_TIME = re.compile(r"([0-9]{1,2}):([0-9]{2})\s*(?:\\text\s*\{)?\s*([ap])\.?\s?m\.?\s*\}?", re.IGNORECASE)
_RATIO = re.compile(r"[0-9]{1,9}(?: ?: ?[0-9]{1,9}){1,3}(?: ?: ?\\ldots)?")
_RATIO_IN_WORDS = re.compile(r"([0-9]{1,9}) ?(?:to|\\text\s*\{\s*to\s*\}) ?([0-9]{1,9})")
_FOR_ALL = re.compile(
    r"\s*,?\s*(?:\\text\s*\{[\s,]*for (?:all|every|any)(?: real)?\s*\}|\\forall)\s*(?P<name>[a-z])"
    r"(?:\s*\\in\s*\\mathbb\s*\{\s*R\s*\})?$"
)
_PART = r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]+)"
_PARTS = re.compile(rf"{_PART}(?:\s+and\s+|\s+|\s*,\s*and\s+){_PART}(?:(?:\s+and\s+|\s+){_PART})?")
# Units whose smaller ones are counted on within one quantity.
_CHAINS = (("week", "day", "hour", "minute", "second"), ("yard", "foot", "inch"), ("pound", "ounce"))
_PART_NAMES = {
    "hr": "hour", "hrs": "hour", "h": "hour", "min": "minute", "mins": "minute", "sec": "second", "secs": "second",
    "s": "second", "feet": "foot", "ft": "foot", "inches": "inch", "in": "inch", "lb": "pound", "lbs": "pound",
    "oz": "ounce", "yd": "yard",
}  # fmt: skip


def without_quantifier(text: str) -> str:
    r"""Return an equation without `\text{ for all } x` behind it.

    A condition such as `x > 0` stays, and is not read.
    """
    found = _FOR_ALL.search(text)
    if found and "=" in text and found["name"] in text[: found.start()]:
        return text[: found.start()]
    return text


def whole_form(text: str, read: Read) -> Answer | None:
    """Return the answer, if its text has one of the forms of this module.

    Raises:
        UnreadableError: It has, and a part of it cannot be read.
    """
    for reader in (_labelled, _congruence, _family, _time, _ratio, _quantity_in_parts):
        answer = reader(text, read)
        if answer is not None:
            return answer
    return None


def _labelled(text: str, read: Read) -> Answer | None:
    if "(" not in text and r"\text" not in text:
        return None
    match = next((found for label in _LABELS if (found := label.fullmatch(text))), None)
    if match is None:
        return None
    answer = read(match.group(3))
    if isinstance(answer, Labelled) or re.fullmatch(r"\W*(?:text\W*)?[A-H]\W*", match.group(3)):
        raise UnreadableError("two options")
    return Labelled(match.group(1) or match.group(2), answer)


def _congruence(text: str, read: Read) -> Answer | None:
    if "mod" not in text:
        return None
    match = _CONGRUENCE.fullmatch(text)
    if match is None or r"\equiv" in match["residues"] or "mod" in match["residues"] or int(match["modulus"]) == 0:
        raise UnreadableError("not one congruence")
    residues = read(match["residues"])
    items = residues.items if isinstance(residues, Collection) else (residues,)
    if not all(isinstance(item, Value) and not item.unit for item in items):
        raise UnreadableError("a residue that is no value")
    return Congruence(re.sub(r"[\s{}]", "", match["name"] or ""), items, int(match["modulus"]))


def _family(text: str, read: Read) -> Answer | None:
    if r"\in" not in text and "integer" not in text:
        return None
    match = _PARAMETER.fullmatch(text)
    if match is None or not re.search(rf"(?<![A-Za-z\\]){match['parameter']}(?![A-Za-z])", match["body"]):
        return None
    is_natural = match["domain"] == "N" or match["positive"]
    return Family(read(match["body"]), match["parameter"], "N" if is_natural else "Z")


def _time(text: str, read: Read) -> Answer | None:
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    parts = tuple(Value(Number(Fraction(part))) for part in match.groups()[:2])
    return Bracketed(f"{match.group(3).lower()}m:", parts, ":")


def _ratio(text: str, read: Read) -> Answer | None:
    in_words = _RATIO_IN_WORDS.fullmatch(text)
    if in_words:
        return Bracketed(":", tuple(Value(Number(Fraction(part))) for part in in_words.groups()), ":")
    if ":" not in text or not _RATIO.fullmatch(text):
        return None
    parts = [part.strip() for part in text.split(":")]
    items = tuple(Value(DOTS) if part == r"\ldots" else Value(Number(Fraction(part))) for part in parts)
    is_time = all(len(part) == 2 and int(part) < 60 for part in parts[1:] if part.isdigit())
    return Bracketed("time:" if is_time else ":", items, ":")


def _quantity_in_parts(text: str, read: Read) -> Answer | None:
    """`5 feet 6 inches` as one length in feet; only where each part is less than one of the unit before."""
    if not text[:1].isdigit() or " " not in text:
        return None
    plain = " ".join(re.sub(r"\\text\s*\{([^{}]*)\}", r" \1 ", text).lower().split())
    match = _PARTS.fullmatch(plain)
    if match is None:
        return None
    numbers = [Fraction(number) for number in match.groups()[::2] if number]
    names = [_PART_NAMES.get(name, name.removesuffix("s")) for name in match.groups()[1::2] if name]
    chain = next((chain for chain in _CHAINS if all(name in chain for name in names)), None)
    if chain is None or [chain.index(name) for name in names] != sorted({chain.index(name) for name in names}):
        return None
    factors = [unit.factor for name in names if (unit := parse_unit(name)) is not None]
    shares = [factor / factors[0] for factor in factors]
    if any(number * share >= before for number, share, before in zip(numbers[1:], shares[1:], shares, strict=False)):
        return None
    terms = tuple(Number(number * share) for number, share in zip(numbers, shares, strict=True))
    return Value(Sum(terms), names[0], plain)
