"""Units of measurement as data: SI with prefixes and the everyday ones, as exact factors and dimensions.

An own table instead of a units library: the text comes from a model, and a library's parser is an evaluator of
expressions with a registry of a thousand names (where `a`, `h` or `ft` mean more than an exam question means by it).
Here a name is known or it is not.

A unit expression is names joined by `*`, `·`, space or `/`, each with an integer exponent: `m/s^2`, `kg m^2 s^-2`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

# Exponents of metre, kilogram, second, ampere, kelvin, mole, candela.
Dimension = tuple[int, int, int, int, int, int, int]
_NONE: Dimension = (0, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Unit:
    """`value in SI = value * factor + offset`."""

    factor: Fraction
    dimension: Dimension
    offset: Fraction = Fraction(0)
    kind: str = ""
    """What it measures where the dimension does not tell: 5 Hz are not 5 rad/s, and 1 Gy is not 1 Sv. Empty: anything
    of the dimension, as `s^-1`."""

    def can_be(self, other: Unit) -> bool:
        """Tell whether both can measure the same."""
        return self.dimension == other.dimension and (self.kind == other.kind or not self.kind or not other.kind)


def _unit(factor: str, *dimension: int, kind: str = "") -> Unit:
    padded = (*dimension, *(0,) * (7 - len(dimension)))
    return Unit(Fraction(factor), padded, kind=kind)  # type: ignore[arg-type]


_PREFIXES = {
    "Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1, "d": -1, "c": -2, "m": -3,
    "µ": -6, "μ": -6, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18, "z": -21,
}  # fmt: skip
_LONG_PREFIXES = {
    "tera": 12, "giga": 9, "mega": 6, "kilo": 3, "hecto": 2, "deci": -1, "centi": -2, "milli": -3, "micro": -6,
    "nano": -9, "pico": -12, "femto": -15,
}  # fmt: skip
# symbol -> (unit, long name); all of these take prefixes.
_PREFIXED = {
    "m": (_unit("1", 1), "meter"), "g": (_unit("1/1000", 0, 1), "gram"), "s": (_unit("1", 0, 0, 1), "second"),
    "A": (_unit("1", 0, 0, 0, 1), "ampere"), "K": (_unit("1", 0, 0, 0, 0, 1), "kelvin"),
    "mol": (_unit("1", 0, 0, 0, 0, 0, 1), "mole"), "cd": (_unit("1", 0, 0, 0, 0, 0, 0, 1), "candela"),
    "Hz": (_unit("1", 0, 0, -1, kind="cycles"), "hertz"), "N": (_unit("1", 1, 1, -2), "newton"),
    "Pa": (_unit("1", -1, 1, -2), "pascal"), "J": (_unit("1", 2, 1, -2), "joule"), "W": (_unit("1", 2, 1, -3), "watt"),
    "C": (_unit("1", 0, 0, 1, 1), "coulomb"), "V": (_unit("1", 2, 1, -3, -1), "volt"),
    "F": (_unit("1", -2, -1, 4, 2), "farad"), "Ω": (_unit("1", 2, 1, -3, -2), "ohm"),
    "S": (_unit("1", -2, -1, 3, 2), "siemens"), "Wb": (_unit("1", 2, 1, -2, -1), "weber"),
    "T": (_unit("1", 0, 1, -2, -1), "tesla"), "H": (_unit("1", 2, 1, -2, -2), "henry"),
    "L": (_unit("1/1000", 3), "liter"), "eV": (_unit("1.602176634e-19", 2, 1, -2), "electronvolt"),
    "cal": (_unit("4.184", 2, 1, -2), "calorie"), "bar": (_unit("100000", -1, 1, -2), "bar"),
    "pc": (_unit("30856775814913673", 1), "parsec"), "Bq": (_unit("1", 0, 0, -1, kind="decays"), "becquerel"),
    "Wh": (_unit("3600", 2, 1, -2), "watthour"), "Ah": (_unit("3600", 0, 0, 1, 1), "ampere-hour"),
    "Gy": (_unit("1", 2, 0, -2, kind="absorbed dose"), "gray"),
    "Sv": (_unit("1", 2, 0, -2, kind="equivalent dose"), "sievert"),
    "eVc": (_unit("5.344285992678308e-28", 1, 1, -1), "electronvolt per c"),
    "eVcc": (_unit("1.782661921627898e-36", 0, 1), "electronvolt per c squared"),
    "lm": (_unit("1", 0, 0, 0, 0, 0, 0, 1, kind="light"), "lumen"), "kat": (_unit("1", 0, 0, -1, 0, 0, 1), "katal"),
    "lx": (_unit("1", -2, 0, 0, 0, 0, 0, 1, kind="light"), "lux"),
    "Eq": (_unit("1", 0, 0, 0, 0, 0, 1, kind="equivalents"), "equivalent"),
    "cP": (_unit("0.001", -1, 1, -1), "centipoise"), "St": (_unit("0.0001", 2, 0, -1), "stokes"),
    "M": (_unit("1000", -3, 0, 0, 0, 0, 1), "molar"), "Da": (_unit("1.66053906660e-27", 0, 1), "dalton"),
}  # fmt: skip
_PLAIN = {
    "min": _unit("60", 0, 0, 1), "minute": _unit("60", 0, 0, 1), "h": _unit("3600", 0, 0, 1),
    "hr": _unit("3600", 0, 0, 1), "hour": _unit("3600", 0, 0, 1), "day": _unit("86400", 0, 0, 1),
    "d": _unit("86400", 0, 0, 1), "week": _unit("604800", 0, 0, 1), "year": _unit("31557600", 0, 0, 1),
    "yr": _unit("31557600", 0, 0, 1), "sec": _unit("1", 0, 0, 1), "amp": _unit("1", 0, 0, 0, 1),
    "in": _unit("0.0254", 1), "inch": _unit("0.0254", 1), "inches": _unit("0.0254", 1), "ft": _unit("0.3048", 1),
    "foot": _unit("0.3048", 1), "feet": _unit("0.3048", 1), "yd": _unit("0.9144", 1), "yard": _unit("0.9144", 1),
    "mi": _unit("1609.344", 1), "mile": _unit("1609.344", 1), "ly": _unit("9460730472580800", 1),
    "light-year": _unit("9460730472580800", 1), "AU": _unit("149597870700", 1), "Å": _unit("1e-10", 1),
    "angstrom": _unit("1e-10", 1), "lb": _unit("0.45359237", 0, 1), "pound": _unit("0.45359237", 0, 1),
    "oz": _unit("0.028349523125", 0, 1), "ounce": _unit("0.028349523125", 0, 1), "t": _unit("1000", 0, 1),
    "tonne": _unit("1000", 0, 1), "u": _unit("1.66053906660e-27", 0, 1), "amu": _unit("1.66053906660e-27", 0, 1),
    "atm": _unit("101325", -1, 1, -2), "atmosphere": _unit("101325", -1, 1, -2),
    "mmHg": _unit("133.322387415", -1, 1, -2), "torr": _unit("20265/152", -1, 1, -2),
    "Torr": _unit("20265/152", -1, 1, -2), "psi": _unit("6894.757293168", -1, 1, -2),
    "hp": _unit("745.69987158227022", 2, 1, -3), "erg": _unit("1e-7", 2, 1, -2), "dyn": _unit("1e-5", 1, 1, -2),
    "dyne": _unit("1e-5", 1, 1, -2), "mph": _unit("0.44704", 1, 0, -1), "kph": _unit("5/18", 1, 0, -1),
    "kmh": _unit("5/18", 1, 0, -1), "knot": _unit("463/900", 1, 0, -1), "acre": _unit("4046.8564224", 2),
    "ha": _unit("10000", 2), "hectare": _unit("10000", 2), "gallon": _unit("0.003785411784", 3),
    "cc": _unit("1e-6", 3), "G": _unit("0.0001", 0, 1, -2, -1), "gauss": _unit("0.0001", 0, 1, -2, -1),
    "Ci": _unit("3.7e10", 0, 0, -1, kind="decays"),
    "kgf": _unit("9.80665", 1, 1, -2),
    "lbf": _unit("4.4482216152605", 1, 1, -2), "N·m": _unit("1", 2, 1, -2),
    "Nm": _unit("1", 2, 1, -2), "micron": _unit("1e-6", 1),
    "D": _unit("3.33564e-30", 1, 0, 1, 1), "debye": _unit("3.33564e-30", 1, 0, 1, 1), "l": _unit("1/1000", 3),
    "ml": _unit("1/1000000", 3), "metre": _unit("1", 1), "litre": _unit("1/1000", 3), "ohm": _unit("1", 2, 1, -3, -2),
    # Angles, counts and parts have no dimension. A radian is 1, so that "2" and "2 rad" agree; the degree is apart.
    "rad": _unit("1", kind="angle"), "radian": _unit("1", kind="angle"), "%": _unit("1/100"),
    "percent": _unit("1/100"), "ppm": _unit("1e-6"),
    "ppb": _unit("1e-9"), "unit": _unit("1"), "cycle": _unit("1", kind="cycles"), "decay": _unit("1", kind="decays"),
    "disintegration": _unit("1", kind="decays"), "dB": _unit("1", kind="level"), "decibel": _unit("1", kind="level"),
    "au": _unit("149597870700", 1), "P": _unit("0.1", -1, 1, -1),
    "poise": _unit("0.1", -1, 1, -1), "lux": _unit("1", -2, 0, 0, 0, 0, 0, 1, kind="light"),
    "diopter": _unit("1", -1), "dioptre": _unit("1", -1),
}  # fmt: skip
_PI = Fraction("3.14159265358979323846264338327950288")
for _name in ("deg", "°", "degree"):
    _PLAIN[_name] = Unit(_PI / 180, _NONE, kind="angle")
_PLAIN["rev"] = _PLAIN["revolution"] = _PLAIN["turn"] = Unit(2 * _PI, _NONE, kind="angle")
_PLAIN["rpm"] = Unit(2 * _PI / 60, (0, 0, -1, 0, 0, 0, 0), kind="angle")
_CELSIUS = Unit(Fraction(1), (0, 0, 0, 0, 1, 0, 0), Fraction("273.15"))
_FAHRENHEIT = Unit(Fraction(5, 9), (0, 0, 0, 0, 1, 0, 0), Fraction("459.67") * Fraction(5, 9))
_TEMPERATURES = {
    "°C": _CELSIUS, "degC": _CELSIUS, "deg C": _CELSIUS, "degrees C": _CELSIUS, "degree C": _CELSIUS,
    "deg F": _FAHRENHEIT, "degrees F": _FAHRENHEIT,
    "celsius": _CELSIUS, "degree celsius": _CELSIUS, "degrees celsius": _CELSIUS,
    "°F": _FAHRENHEIT, "degF": _FAHRENHEIT, "fahrenheit": _FAHRENHEIT, "degrees fahrenheit": _FAHRENHEIT,
}  # fmt: skip
_DIFFERENCES = {
    "°C": _unit("1", 0, 0, 0, 0, 1), "degC": _unit("1", 0, 0, 0, 0, 1), "°F": _unit("5/9", 0, 0, 0, 0, 1),
}  # fmt: skip
"""Degrees beside other units are differences of temperature: J/(g·°C) is J/(g·K)."""
_LETTER = "A-Za-zµμΩÅ°"
_PART = re.compile(
    rf"\s*([/*·⋅× ]?)\s*([{_LETTER}%](?:[{_LETTER}]|-(?=[A-Za-z]))*)"
    r"(?:\s*\^\s*\{?\s*([-−⁻]?[0-9²³¹])\s*\}?|([-−⁻][1-9²³¹]|[23²³¹]))?(?![A-Za-z0-9])"
)
_SUPERSCRIPTS = str.maketrans("²³¹⁻−", "231--")
_BY_LIGHT = re.compile(r"eV\s*/\s*c(?![A-Za-z])(\s*\^?\s*\{?\s*[2²]\s*\}?)?")
"""Masses and momenta of particle physics: `MeV/c^2`, `GeV/c`."""
_MAX_CHARACTERS = 60
_RAISED_GROUP = re.compile(r"\)\s*(?:\^|[0-9²³¹⁻])")
"""`(m/s)^2` would read as `m/s^2` without its parentheses."""
_POWERS = {"square": 2, "squared": 2, "cubic": 3, "cubed": 3}


def parse_unit(text: str) -> Unit | None:
    """Return the unit that a text names, or None. An empty text is the unit 1."""
    text = " ".join(text.replace("**", "^").split())
    if not text:
        return Unit(Fraction(1), _NONE)
    if len(text) > _MAX_CHARACTERS or _RAISED_GROUP.search(text):
        return None
    temperature = _TEMPERATURES.get(text) or _TEMPERATURES.get(text.lower())
    if temperature is not None:
        return temperature
    factor, dimension, position, kinds = Fraction(1), list(_NONE), 0, []
    text = _one_spelling(text)
    divides = False
    while position < len(text):
        match = _PART.match(text, position)
        if match is None or match.end() == position:
            return None
        separator, name, raised, adjacent = match.groups()
        # Everything behind a slash divides, as `J/(mol K)`, `J/mol K` and `J/mol/K` are all written.
        divides = divides or separator == "/"
        part = _DIFFERENCES.get(name) or _named(name)
        if part is None:
            return None
        exponent = int((raised or adjacent or "1").translate(_SUPERSCRIPTS)) * (-1 if divides else 1)
        factor *= part.factor**exponent
        if part.kind:
            kinds.append(part.kind if exponent == 1 else f"{part.kind}^{exponent}")
        dimension = [total + exponent * own for total, own in zip(dimension, part.dimension, strict=True)]
        position = match.end()
    return Unit(factor, tuple(dimension), kind=" ".join(sorted(kinds)))  # type: ignore[arg-type]


def _one_spelling(text: str) -> str:
    """Write words as signs: `square meters` is `meters^2`, `per second` is `/second`, `N-m` is `N·m`."""
    text = re.sub(
        r"\b(square|cubic)\s+([A-Za-z]+)", lambda match: f"{match[2]}^{_POWERS[match[1].lower()]}", text, flags=re.I
    )
    text = re.sub(
        r"\b([A-Za-z]+)\s+(squared|cubed)\b", lambda match: f"{match[1]}^{_POWERS[match[2].lower()]}", text, flags=re.I
    )
    text = re.sub(r"\bmm\s+Hg\b", "mmHg", re.sub(r"\blight[ -](years?)\b", r"light-\1", text))
    text = re.sub(r"[∙•∗]", "·", text)
    text = re.sub(
        r"\b[A-Za-z]+-[A-Za-z]+\b", lambda match: match[0] if _named(match[0]) else match[0].replace("-", "·"), text
    )
    text = re.sub(r"\bper\b", "/", text).replace("(", "").replace(")", "") if text.count("(") <= 1 else text
    return _BY_LIGHT.sub(lambda match: "eVcc" if match.group(1) else "eVc", text)


def _named(name: str) -> Unit | None:
    """One name, with prefix or plural; symbols are case-sensitive, long names are not."""
    singular = f"{name[:-3]}y" if name.endswith("ries") else name[:-1] if name.endswith("s") and len(name) > 2 else name
    for candidate in (name, singular):
        found = _PLAIN.get(candidate) or (_PLAIN.get(candidate.lower()) if len(candidate) > 2 else None)
        if found is not None:
            return found
        if candidate in _PREFIXED:
            return _PREFIXED[candidate][0]
        found = _long_name(candidate.lower())
        if found is not None:
            return found
    for prefix, power in _PREFIXES.items():
        symbol = name.removeprefix(prefix)
        if symbol != name and symbol in _PREFIXED:
            unit = _PREFIXED[symbol][0]
            return Unit(unit.factor * Fraction(10) ** power, unit.dimension, kind=unit.kind)
    return None


def _long_name(name: str) -> Unit | None:
    name = re.sub(r"(met|lit)re$", r"\1er", name)
    for unit, long_name in _PREFIXED.values():
        if name == long_name:
            return unit
        if name.endswith(long_name) and name[: -len(long_name)] in _LONG_PREFIXES:
            power = _LONG_PREFIXES[name[: -len(long_name)]]
            return Unit(unit.factor * Fraction(10) ** power, unit.dimension, kind=unit.kind)
    return None
