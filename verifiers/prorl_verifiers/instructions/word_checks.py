"""Checks of words, letters, case, punctuation and language.

Demands are read strictly, limits and prohibitions generously: what a check counts has two bounds where it matters.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import regex

from prorl_api.instructions import (
    CapitalWordFrequency,
    EndChecker,
    ForbiddenWords,
    KeywordFrequency,
    Keywords,
    LetterFrequency,
    NumberSentences,
    NumberWords,
    ResponseLanguage,
)
from prorl_verifiers.instructions.language import is_in_language
from prorl_verifiers.instructions.phrases import count_demanded, count_forbidden, count_phrase, starts_a_word
from prorl_verifiers.instructions.readings import bare
from prorl_verifiers.instructions.sentences import count_sentences
from prorl_verifiers.instructions.text import Bounds, count_words, joined_words, visible, words

Check = Callable[[str, Any], bool]

_COMMA_NAME = regex.compile(r"\bCOMMA\b")
_MORE_COMMAS = "\u201a\u066b\u066c\ua4f9\u00b8\u02cc\u0326"
"""Signs that look like a comma or do its work, without its name."""
_CLOSING = " \n\t\"'”’»*_`)"


def has_keywords(text: str, arguments: Keywords) -> bool:
    """Return whether every keyword occurs as a whole word."""
    return all(count_demanded(keyword, text) > 0 for keyword in arguments.keywords)


def has_keyword_frequency(text: str, arguments: KeywordFrequency) -> bool:
    """Return whether the keyword occurs often, or seldom, enough."""
    return count_phrase(arguments.keyword, text).satisfies(arguments.relation, arguments.frequency)


def avoids_words(text: str, arguments: ForbiddenWords) -> bool:
    """Return whether no forbidden word occurs as a whole word, in any guise."""
    return count_forbidden(tuple(arguments.forbidden_words), text) == 0


def has_letter_frequency(text: str, arguments: LetterFrequency) -> bool:
    """Return whether the letter occurs often, or seldom, enough, counted in both cases."""
    seen = unicodedata.normalize("NFC", visible(text)).lower()
    letter = unicodedata.normalize("NFC", arguments.letter).lower()
    fewest = seen.count(letter)
    plain = bare(letter)
    most = max(fewest, bare(text).count(plain) if plain else 0)
    return Bounds(fewest, most).satisfies(arguments.let_relation, arguments.let_frequency)


def has_capital_words(text: str, arguments: CapitalWordFrequency) -> bool:
    """Return whether words in capital letters only are many, or few, enough; I and A are such words, as in IFEval."""
    fewest = sum(word.isupper() and (len(word) > 1 or word in "IA") for word in joined_words(text))
    most = sum(word.isupper() for word in words(text))
    return Bounds(fewest, most).satisfies(arguments.capital_relation, arguments.capital_frequency)


def is_english_capital(text: str, _: object) -> bool:
    """Return whether the text is English without a small letter."""
    return text.isupper() and is_in_language(text, "en")


def is_english_lowercase(text: str, _: object) -> bool:
    """Return whether the text is English without a capital letter."""
    return text.islower() and is_in_language(text, "en")


def has_no_comma(text: str, _: object) -> bool:
    """Return whether the text has no comma of any script, nor a sign that passes for one."""
    return set(text).isdisjoint(_commas())


@lru_cache(maxsize=1)
def _commas() -> frozenset[str]:
    """Return the punctuation and marks that Unicode calls a comma, and their doubles."""
    named = (chr(code) for code in range(0x20000) if _COMMA_NAME.search(unicodedata.name(chr(code), "")))
    return frozenset((*named, *_MORE_COMMAS))


def is_in_response_language(text: str, arguments: ResponseLanguage) -> bool:
    """Return whether the text is in the language."""
    return is_in_language(text, arguments.language)


def has_number_of_words(text: str, arguments: NumberWords) -> bool:
    """Return whether there are many, or few, enough words."""
    return count_words(text).satisfies(arguments.relation, arguments.num_words)


def has_number_of_sentences(text: str, arguments: NumberSentences) -> bool:
    """Return whether there are many, or few, enough sentences."""
    return count_sentences(text).satisfies(arguments.relation, arguments.num_sentences)


def ends_with_phrase(text: str, arguments: EndChecker) -> bool:
    """Return whether the last words are the phrase, in any case; closing quotes and marks behind it do not matter."""
    wanted = " ".join(visible(arguments.end_phrase).strip().strip('"“”').casefold().split())
    given = " ".join(visible(text).casefold().split())
    for end in (given, given.rstrip(_CLOSING)):
        if end.endswith(wanted) and wanted:
            return starts_a_word(end, len(end) - len(wanted))
    return False


WORD_CHECKS: dict[str, Check] = {
    "keywords:existence": has_keywords,
    "keywords:frequency": has_keyword_frequency,
    "keywords:forbidden_words": avoids_words,
    "keywords:letter_frequency": has_letter_frequency,
    "language:response_language": is_in_response_language,
    "length_constraints:number_sentences": has_number_of_sentences,
    "length_constraints:number_words": has_number_of_words,
    "change_case:capital_word_frequency": has_capital_words,
    "change_case:english_capital": is_english_capital,
    "change_case:english_lowercase": is_english_lowercase,
    "punctuation:no_comma": has_no_comma,
    "startend:end_checker": ends_with_phrase,
}
"""By instruction type."""
