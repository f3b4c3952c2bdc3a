"""The readings of a text in which prohibitions look for what is forbidden, and the one in which demands look.

A demand is met by what stands there: `demanded` takes nothing away but what cannot be seen and Markdown's balanced
emphasis. A prohibition also sees what marks, invisible or look-alike letters, signs between letters and digits in their
place try to hide: `forbidden_readings` are several texts, and what is found in any of them is there.
"""

from __future__ import annotations

import html
import unicodedata
from functools import lru_cache

import regex

from prorl_verifiers.instructions.lookalikes import with_letters_for_signs, with_plain_letters
from prorl_verifiers.instructions.text import SPACELESS, visible

_TAG = regex.compile(r"</?[A-Za-z][^<>\n]{0,100}>|<!--.{0,1000}?-->", regex.DOTALL)
_EMPHASIS = regex.compile(
    r"(?<![\w*])(\*{1,3})(?=[^\s*])([^*\n]*[^\s*])\1(?![\w*])|(?<![\w_])(_{1,3})(?=[^\s_])([^_\n]*[^\s_])\3(?![\w_])"
)
_MARKS = regex.compile(r"[*_~`\\|^=]+")
_SIGN_WITHIN = regex.compile(r"(?<=[\p{L}\p{M}])[-\u2010-\u2015\u2212.·•+/:](?=\p{L})")
_SPACED_LETTERS = regex.compile(r"(?<![\p{L}\p{M}\p{N}])\p{L}(?:[ .,-]\p{L}){2,}(?![\p{L}\p{M}\p{N}])")
_BETWEEN_UNSPACED = regex.compile(rf"(?<=[{SPACELESS}])[\s\p{{P}}\p{{S}}]+(?=[{SPACELESS}])")
_CLUSTER = regex.compile(r"\p{M}+|[^\x00-\x7f]")
_MARK = regex.compile(r"(?![\u3099\u309a])\p{Inherited}")


@lru_cache(maxsize=8)
def demanded(text: str) -> str:
    """Return the text in which what is demanded is looked for: small letters, straight apostrophes, no emphasis."""
    text = visible(text)
    for _ in range(2):
        text = _EMPHASIS.sub(lambda found: found[2] or found[4], text)
    return unicodedata.normalize("NFC", text.casefold())


def without_marks(text: str) -> str:
    """Return the text without accents on Latin and Greek letters and without stray marks; й and が keep theirs."""
    return _CLUSTER.sub(_unmarked, unicodedata.normalize("NFKC", text)).replace("ё", "е").replace("Ё", "Е")


def _unmarked(found: regex.Match[str]) -> str:
    part = found.group()
    if regex.match(r"[\p{Latin}\p{Greek}]", part):
        part = unicodedata.normalize("NFD", part)
    return _MARK.sub("", part)


def bare(text: str) -> str:
    """Return compatible small letters without marks and with ASCII letters for their look-alikes."""
    return without_marks(with_plain_letters(without_marks(visible(text)))).casefold()


@lru_cache(maxsize=8)
def forbidden_readings(text: str) -> tuple[str, ...]:
    """Return the readings of a text in which what is forbidden is looked for."""
    compatible = unicodedata.normalize("NFKC", visible(html.unescape(text))).casefold()
    plain = bare(_TAG.sub("", html.unescape(text)))
    glued = _MARKS.sub("", plain)
    solid = _SIGN_WITHIN.sub("", glued)
    return tuple(
        dict.fromkeys(
            (
                compatible,
                _MARKS.sub("", compatible),
                _MARKS.sub(" ", compatible),
                plain,
                glued,
                _MARKS.sub(" ", plain),
                solid,
                *with_letters_for_signs(glued),
                _SPACED_LETTERS.sub(lambda found: regex.sub(r"[ .,-]", "", found.group()), glued),
                _BETWEEN_UNSPACED.sub("", compatible),
            )
        )
    )


def forbidden_spellings(phrase: str) -> tuple[str, ...]:
    """Return the spellings of a phrase that are looked for in the readings."""
    compatible = unicodedata.normalize("NFKC", visible(phrase)).casefold()
    return tuple(dict.fromkeys(" ".join(spelling.split()) for spelling in (compatible, bare(phrase))))
