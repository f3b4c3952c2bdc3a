"""Find whole words and phrases, in scripts that put spaces between words and in those that do not.

In Chinese, Japanese, Thai and their kin, which put no space between words, the phrase's characters suffice. A Korean
word may be followed by particles, an Arabic or Hebrew one preceded by those that are written together with it.
"""

from __future__ import annotations

from functools import lru_cache

import regex

from prorl_verifiers.instructions.readings import demanded, forbidden_readings, forbidden_spellings
from prorl_verifiers.instructions.text import SPACELESS, Bounds

_WORD = rf"[[\p{{L}}\p{{M}}\p{{N}}_]--[{SPACELESS}]]"
_UNSPACED = regex.compile(rf"(?V1)[{SPACELESS}]")
_KOREAN_PARTICLES = (
    "[은는이가을를의에와과도로만들나]|에서|에게|께서|으로|까지|부터|처럼|보다|이나|라도|이라도|이며|이고|입니다|이에요|"
    "예요|이다|한테|마다|조차|밖에"
)
_KOREAN_END = rf"(?:{_KOREAN_PARTICLES}){{0,3}}(?![\p{{L}}\p{{M}}\p{{N}}])"
_ARABIC_START = r"(?<![\p{L}\p{M}\p{N}])[وف]?(?:[بكل]?(?:ال)?|لل)"
_HEBREW_START = r"(?<![\p{L}\p{M}\p{N}])[והבלכמש]{0,2}"
_ELISION = r"(?<![\p{L}\p{M}\p{N}])(?:[cdjlmnst]|qu|jusqu|lorsqu|puisqu|dell|all|nell|sull|un)'"
_SEPARATORS = r"[\s\-\u2010-\u2015_*~`\"'“”‘’/\\|·•]+"


def count_phrase(phrase: str, text: str) -> Bounds:
    """Count a phrase as a demand sees it and as a prohibition does."""
    return Bounds(count_demanded(phrase, text), count_forbidden((phrase,), text))


def count_demanded(phrase: str, text: str) -> int:
    """Count a phrase that must occur: as whole words, in any case, white space alike."""
    parts = demanded(phrase).split()
    return len(_demand(" ".join(parts)).findall(demanded(text))) if parts else 0


def count_forbidden(phrases: tuple[str, ...], text: str) -> int:
    """Count phrases that must not occur, in the reading that shows most of them."""
    pattern = _prohibition(phrases)
    return max(len(pattern.findall(reading)) for reading in forbidden_readings(text))


def starts_a_word(text: str, position: int) -> bool:
    """Return whether what begins at a position is not the rest of a longer word."""
    if regex.match(rf"(?V1){_WORD}", text[position : position + 1]) is None:
        return True
    return regex.search(rf"(?V1){_WORD}['-]?$", text[max(0, position - 3) : position]) is None


@lru_cache(maxsize=256)
def _demand(phrase: str) -> regex.Pattern[str]:
    inner = r"\s+".join(regex.escape(part) for part in phrase.split())
    start = rf"(?:(?<!{_WORD})(?<!{_WORD}')|(?<={_ELISION}))"
    end = rf"(?!{_WORD})(?:(?='s(?!{_WORD}))|(?!'{_WORD}))"
    return regex.compile(rf"(?V1){_edges(phrase, inner, start, end)}")


@lru_cache(maxsize=256)
def _prohibition(phrases: tuple[str, ...]) -> regex.Pattern[str]:
    word = _WORD.replace("_", "")
    spellings = dict.fromkeys(spelling for phrase in phrases for spelling in forbidden_spellings(phrase) if spelling)
    found = [
        _edges(
            spelling,
            _SEPARATORS.join(regex.escape(part) for part in regex.split(r"[\s-]+", spelling) if part),
            rf"(?<!{word})",
            rf"(?!{word})",
        )
        for spelling in spellings
    ]
    return regex.compile(rf"(?V1){'|'.join(found)}")


def _edges(phrase: str, inner: str, start: str, end: str) -> str:
    """Return the phrase's pattern with the edges that its scripts have."""
    first, last = phrase[0], phrase[-1]
    if regex.match(r"\p{Arabic}", first):
        start = _ARABIC_START
    elif regex.match(r"\p{Hebrew}", first):
        start = _HEBREW_START
    elif _UNSPACED.match(first) or not regex.match(r"[\p{L}\p{M}\p{N}]", first):
        start = ""
    if regex.match(r"\p{Hangul}", last):
        end = _KOREAN_END
    elif _UNSPACED.match(last) or not regex.match(r"[\p{L}\p{M}\p{N}]", last):
        end = ""
    return f"{start}{inner}{end}"
