"""The value of a section's number in Arabic or other digits, or in Roman figures."""

from __future__ import annotations

import re

_ROMAN = re.compile(r"(XC|XL|L?X{0,3})(IX|IV|V?I{0,3})", re.IGNORECASE)
_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}


def section_number(figures: str) -> int:
    """Return the number that the figures mean; 0 for those that are no number."""
    if figures.isdecimal():
        return int(figures)
    if not _ROMAN.fullmatch(figures):
        return 0
    values = [_VALUES[figure] for figure in figures.upper()]
    return sum(
        -value if value < following else value for value, following in zip(values, [*values[1:], 0], strict=True)
    )
