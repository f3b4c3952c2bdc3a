"""Checks of words, letters, case, punctuation and language."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
from prorl_verifiers.instructions.text import count_phrase, sentences, words

Check = Callable[[str, Any], bool]


def _holds(count: int, relation: str, wanted: int) -> bool:
    return count >= wanted if relation == "at least" else count < wanted


def has_keywords(text: str, arguments: Keywords) -> bool:
    """Every keyword occurs as a whole word."""
    return all(count_phrase(keyword, text) > 0 for keyword in arguments.keywords)


def has_keyword_frequency(text: str, arguments: KeywordFrequency) -> bool:
    """The keyword occurs often, or seldom, enough."""
    return _holds(count_phrase(arguments.keyword, text), arguments.relation, arguments.frequency)


def avoids_words(text: str, arguments: ForbiddenWords) -> bool:
    """No forbidden word occurs as a whole word."""
    return all(count_phrase(word, text) == 0 for word in arguments.forbidden_words)


def has_letter_frequency(text: str, arguments: LetterFrequency) -> bool:
    """The letter occurs often, or seldom, enough, counted in both cases."""
    return _holds(text.lower().count(arguments.letter.lower()), arguments.let_relation, arguments.let_frequency)


def has_capital_words(text: str, arguments: CapitalWordFrequency) -> bool:
    """Words in capital letters only are many, or few, enough; "I" and "A" are such words, as in IFEval."""
    count = sum(word.isupper() for word in words(text))
    return _holds(count, arguments.capital_relation, arguments.capital_frequency)


def is_english_capital(text: str, _: object) -> bool:
    """English without a lower-case letter."""
    return text.isupper() and is_in_language(text, "en")


def is_english_lowercase(text: str, _: object) -> bool:
    """English without a capital letter."""
    return text.islower() and is_in_language(text, "en")


def has_no_comma(text: str, _: object) -> bool:
    """No comma, nor its Chinese, Japanese or Arabic kin."""
    return not set(text) & set(",，、،")


def is_in_response_language(text: str, arguments: ResponseLanguage) -> bool:
    """The text is in the language."""
    return is_in_language(text, arguments.language)


def has_number_of_words(text: str, arguments: NumberWords) -> bool:
    """There are many, or few, enough words."""
    return _holds(len(words(text)), arguments.relation, arguments.num_words)


def has_number_of_sentences(text: str, arguments: NumberSentences) -> bool:
    """There are many, or few, enough sentences."""
    return _holds(len(sentences(text)), arguments.relation, arguments.num_sentences)


def ends_with_phrase(text: str, arguments: EndChecker) -> bool:
    """The last words are exactly the phrase, in any case; closing quotes behind it do not matter."""
    wanted = " ".join(arguments.end_phrase.strip().strip('"').lower().split())
    return " ".join(text.strip().strip('"”').strip().lower().split()).endswith(wanted)


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
