r"""One spelling for quantities: Unicode's forms, LaTeX around units, assignments, and remarks about accuracy."""

from __future__ import annotations

import re
import unicodedata

from prorl_verifiers.algebra.spelling import with_exponents
from prorl_verifiers.algebra.tokens import normalise, without_thousands_separators
from prorl_verifiers.algebra.tree import UnreadableError

_OTHER_DIGIT = re.compile(r"(?=[^\x00-\x7f])\w|[\u2460-\u249b\u24ea-\u24ff\u2776-\u2793]")
"""What may be a digit, or hold one, in another form than ASCII's."""
_FORMS_OF_NUMBERS = ("ASCII", "FULLWIDTH DIGIT", "MATHEMATICAL ")
"""Rows of digits that numbers are written in; those of the others (①, ₂) are marks, one by one."""
_FRACTIONS = {"½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅙": "1/6", "⅛": "1/8"}
_VULGAR = re.compile(f"([0-9]?)([{''.join(_FRACTIONS)}])")
_DECIMAL_COMMA = re.compile(r"(?<![0-9.,])([0-9]{1,9})\{,\}([0-9]+)(?![0-9,])")
_SPACED_THOUSANDS = re.compile(
    r"(?<![0-9.,/^ ])([0-9]{1,3}(?:(?:[ \u00a0\u2009\u202f~]|\\[,;: ]|\\thinspace)[0-9]{3})+)(?![0-9/,])"
)
_WRAPPER = re.compile(
    r"\\(?:text|mathrm|textrm|textit|rm|mbox|math(?:bf|it|sf|tt|normal)|textbf|textnormal|operatorname|unit|si)\s*\{([^{}]*)\}"
)
_ROMAN = re.compile(r"\\(?:text|mathrm|rm|mathit|mathsf)(?:\s+|(?=\s*[A-Za-z]))([A-Za-z])|\{\s*\\rm\s+([^{}]*)\}")
_PACKAGE = re.compile(r"\\(?:SI|qty)\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
"""The LaTeX package siunitx."""
_OVER = re.compile(
    r"\\(?:vec|bar|hat|overline|dot|mathbf|boldsymbol)\s*\{\s*([A-Za-z])\s*\}(?=[^=≈]{0,30}(?:=|≈|\\approx))"
)
_EXPONENT = re.compile(r"\^\s*\{\s*(-?[0-9]{1,4})\s*\}")
_UNITS = r"[A-Za-zµμΩÅ°](?:[A-Za-zµμΩÅ°·*\s^()]|\\cdot|(?<=\^)-?[0-9])*?"
_UNIT_FRACTION = re.compile(rf"\\[dt]?frac\s*\{{\s*({_UNITS}|1)\s*\}}\s*\{{\s*({_UNITS})\s*\}}$")
_NAMES = {
    r"\Omega": "Ω", r"\mu": "μ", r"\%": "%", r"\circ": "°", r"\AA": "Å", r"\degree": "°", r"\degreeCelsius": "°C",
    r"\ohm": "Ω", r"\micro": "μ", r"\angstrom": "Å", r"\mathring{A}": "Å",
}  # fmt: skip
_NAME = re.compile(
    r"\^\s*\{?\s*\\circ\s*\}?|\\(?:Omega|ohm|mu|micro|circ|AA|angstrom|degreeCelsius|degree)(?![A-Za-z])|\\mathring\{A\}|\\%"
)
_SUBSCRIPT = r"(?:_\s*(?:\{[^{}]{1,24}\}|[A-Za-z0-9]{1,12}))?"
_MARK = r"(?:\^\s*\{?\s*(?:°|\\circ|\\ominus|\*|'|0)\s*\}?|°|'|\*)?"
_NAMED = r"(?:[A-Za-zμα-ωΑ-Ω]{1,3}|\\[A-Za-z]+)"
_SYMBOL = rf"(?:\\?(?:Delta|delta|Δ|∆)\s*{_SUBSCRIPT}\s*|p\s+)?{_NAMED}\s*(?:{_SUBSCRIPT}{_MARK}|{_MARK}{_SUBSCRIPT})"
_ASSIGNMENT = re.compile(rf"^\s*{_SYMBOL}(?:\s*\([A-Za-z0-9 ]{{1,8}}\))?\s*(?:=|≈|≃|\\approx|\\simeq)\s*")
_ABOUT = re.compile(
    r"^\s*(?:\\approx|\\sim|\\simeq|≈|~|approximately|approx\.?|about|roughly|around)\s*", re.IGNORECASE
)
_REMARK = re.compile(
    r"\s*\(\s*(?:to\s+)?(?:[0-9]|one|two|three|four)\s*(?:s\.?\s*f\.?|d\.?\s*p\.?|sig(?:nificant|\.)?\s*fig(?:ure)?s?\.?"
    r"|decimal(?:s|\s+places?)?)\s*\)\s*$|\s*\(\s*approx(?:imately|\.)?\s*\)\s*$",
    re.IGNORECASE,
)


def plain_quantity(text: str) -> str:
    """Return a quantity without LaTeX around units, an assignment's left side, and words such as "about".

    Raises:
        UnreadableError: It is too long, or digits of several forms stand together.
    """
    text = _unicode(text)
    text = _PACKAGE.sub(_of_package, text)
    text = re.sub(r"^\s*~\s*(?=[0-9.])", "", text)
    text = re.sub(r"^\s*(?:negative|minus)\s+(?=[0-9.])", "-", text, flags=re.IGNORECASE)
    text = _DECIMAL_COMMA.sub(_decimal, text)
    text = _SPACED_THOUSANDS.sub(lambda match: re.sub(r"[^0-9]", "", match.group(1)), text)
    text = normalise(text)
    text = _NAME.sub(lambda match: _NAMES.get(match.group(), "°"), text)
    text = _EXPONENT.sub(r"^\1", text)
    for _ in range(2):
        text = _WRAPPER.sub(r" \1 ", text)
    text = _ROMAN.sub(lambda match: f" {match[1] or match[2]} ", _OVER.sub(r"\1", text)).replace("{}", "")
    text = re.sub(r"(?<![\\A-Za-z_^}])\{\s*([A-Za-zμΩ/ ]+)\s*\}", r" \1 ", text)
    text = _UNIT_FRACTION.sub(_of_fraction, text)
    text = _REMARK.sub("", without_thousands_separators(text))
    text = _ABOUT.sub("", _ASSIGNMENT.sub("", text))
    text = re.sub(r"μ\s+(?=[A-Za-zΩ])", "μ", text)  # `\mu \mathrm{F}`
    text = re.sub(r"(?<![A-Za-z])([kMG])\s+Ω", r"\1Ω", text)  # `\mathrm{k}\Omega`
    text = re.sub(r"(?<=[0-9])\s+1\s*/\s*(?=[A-Za-zμ])", " /", text)
    whole = re.fullmatch(r"\s*[({]([^(){},]*)[)}]\s*", text)
    text = whole[1].strip() if whole else text
    text = re.sub(r"\(\s+", "(", re.sub(r"\s+\)", ")", text))
    # A space between digits and degree or percent sign, or none, is all the same.
    return re.sub(r"\s*°\s*", " °", text).replace(r"\cdot", "·").strip()


def _of_package(match: re.Match[str]) -> str:
    """Write `\\qty{5}{\\kilo\\meter\\per\\second}` as `5 kilometer/second`."""
    unit = re.sub(r"\\(kilo|milli|micro|nano|mega|giga|centi|pico)\s*\\", r"\\\1", match[2])
    return f"{match[1]} {re.sub(r'[ ]*per[ ]+', '/', unit.replace(chr(92), ' '))}"


def _of_fraction(match: re.Match[str]) -> str:
    """Write a fraction of units with a slash, and parentheses around several units below the bar."""
    above, below = match.groups()
    group = below if below.isalpha() else f"({re.sub('[()]', '', below)})"
    return f" {above.removeprefix('1')}/{group}"


def _unicode(text: str) -> str:
    """Write raised digits as exponents, and everything else in its compatible form (K, Ω, Å, full width)."""
    text = with_exponents(text)
    _refuse_mixed_digits(text)
    text = _VULGAR.sub(_fraction, text)
    return unicodedata.normalize("NFKC", text).replace("µ", "μ").replace("−", "-")


def _fraction(match: re.Match[str]) -> str:
    """Write `½` as a fraction, and behind a whole number (5½) apart from it."""
    return f"{match[1]} {_FRACTIONS[match[2]]}" if match[1] else _FRACTIONS[match[2]]


def _refuse_mixed_digits(text: str) -> None:
    """Refuse digits beside digits of another form: their compatible forms would run together (5４ into 54, 5₂ into 52).

    Raises:
        UnreadableError: There are some.
    """
    before = ""
    for character in text:
        form = _form_of_digit(character)
        if form and before and (form != before or not form.startswith(_FORMS_OF_NUMBERS)):
            raise UnreadableError("digits of several forms in one number")
        if form or character not in ".,．，":
            before = form


def _form_of_digit(character: str) -> str:
    """Return which row of digits a character is of, "ASCII" or its own; empty for what holds no digit."""
    if character.isascii():
        return "ASCII" if character.isdigit() else ""
    if not _OTHER_DIGIT.match(character) or not any(map(str.isdigit, unicodedata.normalize("NFKC", character))):
        return ""
    return unicodedata.name(character, "").rpartition(" ")[0]


def _decimal(match: re.Match[str]) -> str:
    """`0{,}75` is 0.75, `12{,}000` is 12000: three digits behind another number than 0 are thousands."""
    whole, digits = match.groups()
    return f"{whole}{digits}" if len(digits) == 3 and whole != "0" else f"{whole}.{digits}"
