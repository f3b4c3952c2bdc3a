"""Words, sentences and paragraphs of a text, by Unicode's properties. Everything is linear and needs no data files.

A word is a run of letters, marks and digits; an apostrophe within it, the points of an acronym (U.S.A.) and those of a
number (1,000.5) belong to it. A Chinese character is a word of its own, a run of kana or of Thai is one.

Where a count depends on how a text is read there are two: the `fewest` are what a demand is held to, the `most` what a
limit is held to.
"""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

import regex

SPACELESS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
"""Scripts that put no space between words, inside a character class."""
_UNSPACED_RUN = r"[\p{Hiragana}\p{Katakana}ー]+|[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}\p{M}]+"
_LETTER = rf"[[\p{{L}}\p{{M}}\p{{N}}]--[{SPACELESS}]]"
_NUMBER = r"\p{Nd}+(?:[.,:]\p{Nd}+)*(?![\p{L}\p{M}\p{N}])"
_ACRONYM = r"(?<![\p{L}\p{N}])(?:\p{L}\.){2,5}\p{L}?(?![\p{L}\p{N}])"
_PIECE = rf"{_LETTER}+(?:'{_LETTER}+)*"
_SPLIT_WORD = regex.compile(rf"(?V1){_ACRONYM}|{_NUMBER}|\p{{Han}}|{_UNSPACED_RUN}|{_PIECE}")
_JOINED_WORD = regex.compile(
    rf"(?V1){_ACRONYM}|{_NUMBER}|\p{{Han}}|{_UNSPACED_RUN}|{_PIECE}(?:[-\u2010\u2011_@/.·*~`]+{_PIECE})*"
)
_UNSPACED_WORD = regex.compile(r"[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]")
_CLUSTERS_OF_A_WORD = 4
"""About so many characters make a word of Thai and its kin; kana the same."""
_FORMAT = regex.compile(r"[\p{Cf}\p{Cc}--\n\t\u200b\u2060\ufeff]|\p{Variation_Selector}", regex.V1)
_INVISIBLE_SPACE = regex.compile("[\u200b\u2060\ufeff]")
_SEEN = regex.compile("[\\p{L}\\p{N}\\p{So}--\u115f\u1160\u2800\u3164\uffa0]", regex.V1)
"""Anything that one reads, without the letters and symbols that show nothing."""
_APOSTROPHES = regex.compile("[\u2018\u2019\u02bc\uff07\u2032]")
_LINE_END = regex.compile("\r\n?|[\u0085\u2028\u2029\v\f]")
_BLANK_LINE = regex.compile(r"\n(?:[^\S\n]*\n)+")


class Bounds(NamedTuple):
    """How much of something a text holds, read strictly and read generously."""

    fewest: int
    most: int

    def satisfies(self, relation: str, wanted: int) -> bool:
        """Tell whether both readings keep `at least` or `less than` the number."""
        return self.fewest >= wanted if relation == "at least" else self.most < wanted


def with_plain_line_ends(text: str) -> str:
    """Return the text with line feeds for all kinds of line ends."""
    return _LINE_END.sub("\n", text)


def visible(text: str) -> str:
    """Return the text in composed form without format characters, with straight apostrophes."""
    return _APOSTROPHES.sub("'", _INVISIBLE_SPACE.sub("", _FORMAT.sub("", unicodedata.normalize("NFC", text))))


def words(text: str) -> list[str]:
    """Return the words of a text; hyphens and underscores separate them."""
    return [found.group() for found in _SPLIT_WORD.finditer(visible(text))]


def joined_words(text: str) -> list[str]:
    """Return the words of a text, where hyphens and underscores join."""
    return [found.group() for found in _JOINED_WORD.finditer(visible(text))]


def count_words(text: str) -> Bounds:
    """Count the words: parts joined by hyphens, underscores and the like are one at the fewest, several at the most."""
    apart = words(_INVISIBLE_SPACE.sub(" ", text))
    unspaced = sum(len(_UNSPACED_WORD.findall(word)) // _CLUSTERS_OF_A_WORD for word in apart)
    return Bounds(len(joined_words(text)), len(apart) + unspaced)


def says_something(text: str) -> bool:
    """Return whether the text holds a letter, digit or symbol that one can see."""
    return _SEEN.search(text) is not None


def paragraphs(text: str) -> list[str]:
    """Return the parts between empty lines, without empty ones."""
    return [part.strip() for part in _BLANK_LINE.split(_INVISIBLE_SPACE.sub("", text)) if part.strip()]
