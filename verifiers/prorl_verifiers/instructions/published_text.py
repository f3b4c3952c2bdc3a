"""Sentences and words as nltk 3.8 splits English: what IFEval's published code counts with.

Sentences are those of Punkt (Kiss and Strunk, 2006) with the English model that nltk distributes; its four tables come
from the package `punkt`. Words are those of the Penn Treebank's rules, as far as capital letters depend on them. Later
versions of nltk split some texts otherwise, so that nothing is taken from the library itself.
"""

from __future__ import annotations

import itertools
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_NON_WORD = r"[)\";}\]*:@'({\[?!]"
_MULTI = r"(?:-{2,}|\.{2,}|(?:\.\s){2,}\.)"
_WORD_START = r"[^(\"`{\[:;&#*@)}\]\-,]"
_TOKEN = re.compile(rf"{_MULTI}|(?={_WORD_START})\S+?(?=\s|$|{_NON_WORD}|{_MULTI}|,(?=$|\s|{_NON_WORD}|{_MULTI}))|\S")
_POSSIBLE_END = re.compile(rf"[.?!](?=(?P<after>{_NON_WORD}|\s+(?P<next>\S+)))")
_CLOSING = re.compile(r"[\"')\]}]+?(?:\s+|(?=--)|$)", re.MULTILINE)
_NUMBER = re.compile(r"^-?[.,]?\d[\d,.-]*\.?$")
_INITIAL = re.compile(r"[^\W\d]\.$")
_ELLIPSIS = re.compile(r"\.\.+$")
_BEGINS_LOWER, _LOWER, _UPPER, _MIDDLE_UPPER = 1 << 4, 0b1110000, 0b1110, 1 << 2
"""Bits of the model's table of cases: where a word was seen with a small or capital letter."""


@dataclass(slots=True)
class _Token:
    """A token and what it ends with."""

    text: str
    is_break: bool = False
    is_abbreviation: bool = False

    @property
    def kind(self) -> str:
        return _NUMBER.sub("##number##", self.text.lower())

    @property
    def kind_without_stop(self) -> str:
        kind = self.kind
        return kind[:-1] if len(kind) > 1 and kind.endswith(".") else kind

    @property
    def kind_without_break(self) -> str:
        return self.kind_without_stop if self.is_break else self.kind


@lru_cache(maxsize=1)
def _model() -> Any:
    import punkt

    return punkt.load_model("english")


def published_sentences(text: str) -> list[str]:
    """Return the sentences of a text."""
    found: list[str] = []
    skipped = 0
    spans = list(_spans(text))
    for (start, stop), following in zip(spans, [*spans[1:], None], strict=True):
        begin, end = start + skipped, stop
        skipped = 0
        closing = _CLOSING.match(text[following[0] : following[1]]) if following else None
        if following and closing:
            end = following[0] + len(closing.group().rstrip())
            skipped = closing.end()
            found.append(text[begin:end])
        elif text[begin:end]:
            found.append(text[begin:end])
    return found


def _spans(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for end, context in _contexts(text):
        if _holds_break(context):
            yield start, end.end()
            start = end.start("next") if end.group("next") else end.end()
    yield start, len(text.rstrip())


def _contexts(text: str) -> Iterator[tuple[re.Match[str], str]]:
    """Yield each possible end with the word before it and what follows; of those in one word only the last."""
    previous: re.Match[str] | None = None
    word = (0, 0)
    for end in _POSSIBLE_END.finditer(text):
        space = max((text.rfind(sign, word[1], end.start()) for sign in string.whitespace), default=-1)
        begin = space + 1 if space > word[1] else word[0]
        if previous and word[1] <= begin:
            yield previous, text[word[0] : word[1]] + previous.group() + previous.group("after")
        previous, word = end, (begin, end.start())
    if previous:
        yield previous, text[word[0] : word[1]] + previous.group() + previous.group("after")


def _holds_break(context: str) -> bool:
    """Return whether a token of the context, not the last one, ends a sentence."""
    tokens = [_annotated(token) for line in context.split("\n") for token in _TOKEN.findall(line)]
    for token, following in itertools.pairwise(tokens):
        _reconsider(token, following)
    return any(token.is_break for token in tokens[:-1])


def _annotated(text: str) -> _Token:
    token = _Token(text)
    if text in (".", "?", "!"):
        token.is_break = True
    elif text.endswith(".") and not text.endswith(".."):
        name = text[:-1].lower()
        token.is_abbreviation = bool({name, name.rpartition("-")[2]} & _model().abbrev_types)
        token.is_break = not token.is_abbreviation
    return token


def _reconsider(token: _Token, following: _Token) -> None:
    """Decide by the next word whether a full stop ends a sentence."""
    if not token.text.endswith("."):
        return
    model = _model()
    kind, next_kind = token.kind_without_stop, following.kind_without_break
    is_initial = _INITIAL.match(token.text) is not None
    if (kind, next_kind) in model.collocations:
        token.is_break, token.is_abbreviation = False, True
        return
    may_break = token.is_abbreviation or _ELLIPSIS.match(token.text) is not None
    begins = _begins_sentence(following)
    if may_break and not is_initial:
        is_starter = following.text[0].isupper() and next_kind in model.sent_starters
        if begins or is_starter:
            token.is_break = True
            return
    if is_initial or kind == "##number##":
        is_name = begins is None and is_initial and following.text[0].isupper() and not _cases(next_kind) & _LOWER
        if begins is False or is_name:
            token.is_break, token.is_abbreviation = False, True


def _cases(kind: str) -> int:
    return int(_model().ortho_context.get(kind, 0))


def _begins_sentence(token: _Token) -> bool | None:
    """Return whether the case of a word tells that it begins a sentence; None if it tells nothing."""
    if token.text in (";", ":", ",", ".", "!", "?"):
        return False
    cases = _cases(token.kind_without_break)
    if token.text[0].isupper() and cases & _LOWER and not cases & _MIDDLE_UPPER:
        return True
    if token.text[0].islower() and (cases & _UPPER or not cases & _BEGINS_LOWER):
        return False
    return None


_WORD_STEPS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # Opening quotes, and an apostrophe before a single letter that is no clitic.
        (r"[«“‘„]|`+", " ` "),
        (r"^\"|(?<=[ (\[{<])(?:\"|'')", " ` "),
        (r"(?i)'(?!re|ve|ll|m|t|s|d|n)(?=\w\b)", "' "),
        # Punctuation that stands apart from words; the full stop only at the sentence's end.
        (r"(?<=[^.])\.(?=[\])}>\"'»”’ ]*\s*$)", " "),
        (r"[:,](\D)", r" \1"),
        (r"[:,]$|\.{2,}|[;@#$%&?!]", " "),
        (r"(?<=[^'])(?=' )", " "),
        (r"[*\]\[(){}<>]|--", " "),
        (r"^|$", " "),
        # Closing quotes and the clitics behind a word, then words that are written as one.
        (r"[»”’]|''|\"", " "),
        (r"([^' ])('[sSmMdD]|') ", r"\1 \2 "),
        (r"([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) ", r"\1 \2 "),
        (r"(?i)\b(can)(not)\b", r" \1 \2 "),
        (r"(?i)\b(d)('ye)\b", r" \1 \2 "),
        (r"(?i)\b(gim)(me)\b", r" \1 \2 "),
        (r"(?i)\b(gon)(na)\b", r" \1 \2 "),
        (r"(?i)\b(got)(ta)\b", r" \1 \2 "),
        (r"(?i)\b(lem)(me)\b", r" \1 \2 "),
        (r"(?i)\b(more)('n)\b", r" \1 \2 "),
        (r"(?i)\b(wan)(na)(?=\s)", r" \1 \2 "),
        (r"(?i) ('t)(is)\b", r" \1 \2 "),
        (r"(?i) ('t)(was)\b", r" \1 \2 "),
    )
)
"""What is put apart, in this order. Signs without letters become spaces, since they have no case."""


def count_published_capitals(sentence: str) -> int:
    """Return how many words of a sentence are in capital letters."""
    for pattern, replacement in _WORD_STEPS:
        sentence = pattern.sub(replacement, sentence)
    return sum(word.isupper() for word in sentence.split())
