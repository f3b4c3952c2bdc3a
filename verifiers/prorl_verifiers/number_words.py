"""Numbers in words: `two`, `twenty-one`, `three hundred`."""

from __future__ import annotations

_SMALL = {
    word: value
    for value, word in enumerate(
        (
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        )
    )
}
_TENS = {
    word: 10 * value
    for value, word in enumerate(
        ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"), start=2
    )
}
SCALES = {
    "dozen": 12, "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12,
}  # fmt: skip
"""Words that multiply the number before them."""


def number_of_words(text: str) -> int | None:
    """Return the number that the words name, or None if they name none."""
    words = [word for word in text.lower().replace("-", " ").split() if word != "and"]
    if not words or len(words) > 8:
        return None
    total = current = 0
    before = ""
    for word in words:
        if word in _SMALL and before in ("", "tens", "scale") and (before != "tens" or 0 < _SMALL[word] < 10):
            current, before = current + _SMALL[word], "small"
        elif word in _TENS and before in ("", "scale"):
            current, before = current + _TENS[word], "tens"
        elif word in SCALES and current:
            current *= SCALES[word]
            before = "scale"
            if SCALES[word] >= 1000:
                total, current = total + current, 0
        else:
            return None
    return total + current
