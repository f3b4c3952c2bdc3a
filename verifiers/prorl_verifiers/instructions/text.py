"""Words, sentences and paragraphs of a text. Everything is linear and needs no data files.

A sentence ends with `.`, `!`, `?`, `…` or their CJK and Devanagari kin, closing quotes and brackets included, before
white space or the end; a line break before an empty line or a list item ends one as well. A full stop does not end a
sentence behind an abbreviation (Mr., e.g., U.S.) or a lone initial, nor does a closing quote before a small letter.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W_]+")
_SENTENCE_END = re.compile(r"""((?<![.!?…])[.!?…]++|[。！？।])(["'”’»)\]*_]*+)(?=\s|$|(?<=[。！？।]))""")
_HARD_BREAK = re.compile(r"\n\s*\n|\n(?=\s*(?:[-*•]|[0-9]{1,3}[.)])\s)")
_ABBREVIATIONS = frozenset(
    ("mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "vs", "e.g", "i.e", "cf", "fig", "no", "vol", "approx", "dept",
     "est", "inc", "ltd", "co", "corp", "u.s", "u.k", "a.m", "p.m", "ph.d", "jan", "feb", "mar", "apr", "jun", "jul",
     "aug", "sep", "sept", "oct", "nov", "dec", "gen", "col", "lt", "capt", "rev", "hon", "p.s", "p.p.s")
)  # fmt: skip
_LAST_WORD = re.compile(r"[A-Za-z.]{1,12}$")
_LIST_NUMBER = re.compile(r"(?:^|\n)\s*[0-9]{1,3}$")


def words(text: str) -> list[str]:
    """Runs of letters and digits; don't is two, as in IFEval. Underscores are no words."""
    return _WORD.findall(text)


def sentences(text: str) -> list[str]:
    """The sentences, each with at least one letter or digit."""
    found: list[str] = []
    for block in _HARD_BREAK.split(text):
        start = 0
        for end in _SENTENCE_END.finditer(block):
            if end.group(1) == "." and _is_abbreviation(block[max(start, end.start() - 16) : end.start()]):
                continue
            if end.group(2) and re.match(r"\s+[a-z]", block[end.end() : end.end() + 8]):
                continue
            found.append(block[start : end.end()])
            start = end.end()
        found.append(block[start:])
    return [sentence.strip() for sentence in found if _WORD.search(sentence)]


def _is_abbreviation(before: str) -> bool:
    """Whether a full stop behind this text belongs to its last word (or is a list's number) and ends no sentence."""
    if _LIST_NUMBER.search(before):
        return True
    last = _LAST_WORD.search(before)
    if last is None:
        return False
    word = last.group().lstrip(".")
    is_initial = len(word) == 1 and word.isupper() and word != "I"
    return is_initial or word.lower() in _ABBREVIATIONS


def paragraphs(text: str) -> list[str]:
    """Parts between empty lines, without empty ones."""
    return [part.strip() for part in re.split(r"\n[ \t]*\n", text) if part.strip()]


def count_phrase(phrase: str, text: str) -> int:
    """How often a phrase occurs as whole words, in any case, white space alike."""
    pattern = r"\s+".join(re.escape(part) for part in phrase.split())
    return len(re.findall(rf"(?<!\w){pattern}(?!\w)", text, re.IGNORECASE))
