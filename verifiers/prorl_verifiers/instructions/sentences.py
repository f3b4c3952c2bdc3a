"""Count sentences: the fewest that a demand is held to, and the most that a limit is held to.

A sentence ends with `.`, `!`, `?`, `…` or their kin of other scripts, closing quotes and brackets included, before
white space or the end; an empty line or a list item ends one as well. What a full stop behind an abbreviation means
depends on what follows:

| behind the stop | fewest | most |
|---|---|---|
| a title before a name (Mr. Smith), an initial before a name (J. Tolkien) | goes on | goes on |
| e.g., i.e., vs., cf. | goes on | ends before a capital |
| a word that also abbreviates (no, fig, sun) | ends unless a number follows | the same |
| p.m., Inc., U.S., a month, a letter (vitamin C) | ends before a word that opens sentences | ends before a capital |
| three points before a small letter | goes on | ends |
"""

from __future__ import annotations

import regex

from prorl_verifiers.instructions.text import Bounds, visible

_HARD_BREAK = regex.compile(r"\n\s*\n|\n(?=\s*(?:[-*•+]|(?:\p{Nd}{1,3}|[A-Za-z])[.)])\s)")
_END = regex.compile(
    r"""(?:(?<mark>(?<![.!?…])[.!?…؟۔।॥።։။។‼⁇⁈⁉]++)(?<close>["'”’»)\]*_]*+)(?=\s|$)"""
    r"""|(?<mark>[。！？｡．]++)(?<close>["'”’»）」』)\]*_]*+))"""
)
_GLUED_END = regex.compile(r"(?<=\p{Ll}{2})[.!?]++(?=\p{Lu}\p{Ll})")
_LAST_WORD = regex.compile(r"[\p{L}\p{M}.]{1,12}$")
_FIRST_WORD = regex.compile(r"""[\s"'“‘«(\[*_]*([\p{L}\p{M}]+)('\p{L}+)?""")
_LIST_LABEL = regex.compile(r"(?:^|\n)\s*(?:\p{Nd}{1,3}|[A-Za-z])$")
_INITIAL = regex.compile(r"(?:^|\p{Lu}\.\s?|\p{Lu}\p{Ll}+\s)\p{L}$")
"""A letter at the beginning, behind another initial or behind a name."""
_TITLES = frozenset(
    ("mr", "mrs", "ms", "mx", "dr", "prof", "st", "sr", "messrs", "gen", "col", "lt", "capt", "sgt", "rev", "hon",
     "gov", "sen", "rep", "pres", "mt", "ft")
)  # fmt: skip
_CONNECTIVES = frozenset(
    ("e.g", "i.e", "eg", "ie", "vs", "cf", "viz", "approx", "ca", "al")
)  # fmt: skip
_ABBREVIATIONS = frozenset(
    ("jr", "inc", "ltd", "co", "corp", "llc", "u.s", "u.k", "u.s.a", "u.n", "e.u", "a.m", "p.m", "pm", "ph.d",
     "m.d", "b.a", "m.a", "d.c", "a.d", "b.c", "p.s", "p.p.s", "etc", "nos", "vol", "dept", "est", "eds", "pp",
     "ch", "sec", "jan", "feb", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec", "mon", "tue",
     "tues", "wed", "thu", "thurs", "fri", "ave", "blvd", "rd", "bros", "tel", "ext", "min")
)  # fmt: skip
_OPENERS = frozenset(
    ("the", "a", "an", "it", "he", "she", "they", "we", "you", "i", "this", "that", "these", "those", "there",
     "here", "his", "her", "its", "our", "their", "my", "your", "what", "why", "how", "who", "where", "when",
     "which", "and", "but", "so", "or", "then", "if", "in", "on", "at", "for", "from", "with", "by", "to", "as",
     "after", "before", "all", "some", "many", "most", "each", "every", "one", "two", "both", "another", "however",
     "therefore", "thus", "no", "not", "yes", "now", "today", "later", "soon", "once", "also", "even", "only",
     "just", "let", "do", "does", "did", "is", "are", "was", "were", "have", "has", "can", "will", "would",
     "should", "could", "may", "might", "go", "take", "make", "use")
)  # fmt: skip
"""Words that open a sentence, and hardly ever continue one behind an abbreviation when written with a capital."""
_TITLES_AND_PLACES = frozenset(("st", "sr", "mt", "ft"))
_PLAIN_WORDS = frozenset(
    ("no", "fig", "art", "sun", "sat", "mar", "max", "am", "ed")
)  # fmt: skip
"""Words that also abbreviate; they end a sentence unless a number follows."""
_SAYS = regex.compile(r"\p{L}")


def count_sentences(text: str) -> Bounds:
    """Count the sentences, read strictly and read generously."""
    text = visible(text)
    return Bounds(len(_split(text, strictly=True)), len(_split(text, strictly=False)))


def sentences(text: str) -> list[str]:
    """Return the sentences, read strictly, each with a letter."""
    return _split(visible(text), strictly=True)


def _split(text: str, *, strictly: bool) -> list[str]:
    found: list[str] = []
    has_capitals = text != text.lower()
    for block in _HARD_BREAK.split(text):
        start = 0
        for end in _ends(block, strictly=strictly, has_capitals=has_capitals):
            found.append(block[start:end])
            start = end
        found.append(block[start:])
    return [sentence.strip() for sentence in found if _SAYS.search(sentence)]


def _ends(block: str, *, strictly: bool, has_capitals: bool) -> list[int]:
    """Return where the sentences of a block end."""
    ends = [
        end.end() for end in _END.finditer(block) if _is_end(block, end, strictly=strictly, has_capitals=has_capitals)
    ]
    if not strictly:
        ends.extend(end.end() for end in _GLUED_END.finditer(block))
    return sorted(ends)


def _is_end(block: str, end: regex.Match[str], *, strictly: bool, has_capitals: bool) -> bool:
    mark, closed = end.group("mark"), bool(end.group("close"))
    following = block[end.end() : end.end() + 40]
    if mark == ".":
        before = block[max(0, end.start() - 24) : end.start()]
        return _stop_is_end(before, following, strictly=strictly, has_capitals=has_capitals)
    goes_on = regex.match(r"\s+\p{Ll}", following) is not None
    if goes_on and closed:
        return False
    return not (goes_on and strictly and (has_capitals or mark.startswith((".", "…"))))


def _stop_is_end(  # noqa: PLR0911  (one a row of the table)
    before: str, following: str, *, strictly: bool, has_capitals: bool
) -> bool:
    """Return whether a lone full stop ends a sentence, by the word before it and what follows."""
    if _LIST_LABEL.search(before):
        return False
    last = _LAST_WORD.search(before)
    if last is None or not following.strip():
        return True
    word = last.group().lstrip(".")
    name = word.lower()
    first = _FIRST_WORD.match(following)
    opens = first is not None and first.group(1).lower() in _OPENERS
    starts = first is not None and (first.group(1)[0].isupper() or (opens and not has_capitals))
    is_letter = len(word) == 1 and word.isalpha() and (word.isupper() or not has_capitals) and name != "i"
    if name in _TITLES:
        return starts and opens and (not strictly or name in _TITLES_AND_PLACES)
    if name in _CONNECTIVES:
        return starts and not strictly
    if name in _PLAIN_WORDS:
        return starts or (name == "no" and first is not None)
    if is_letter and _INITIAL.search(before):
        return starts and opens
    if name in _ABBREVIATIONS or is_letter:
        return starts and (opens or not strictly)
    return True
