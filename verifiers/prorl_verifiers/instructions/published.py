"""The verdicts of IFEval as it was published, for rows whose `strictness` is `ifeval` or `ifeval-loose`.

For comparable evaluation only: what the published rules (arXiv 2311.07911 and the code beside it) pay wrongly is paid
here as well. Keywords, section names and postscript markers are regular expressions there, and so here. The language
is langdetect's, whose random walk starts from a fixed seed, so that the verdict is the same on every run.

The published patterns take quadratic time on some texts; what stands here finds the same in linear time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prorl_api.instructions import (
    CapitalWordFrequency,
    EndChecker,
    ForbiddenWords,
    KeywordFrequency,
    Keywords,
    LetterFrequency,
    MultipleSections,
    NthParagraphFirstWord,
    NumberBulletLists,
    NumberHighlightedSections,
    NumberParagraphs,
    NumberPlaceholders,
    NumberSentences,
    NumberWords,
    Postscript,
    RepeatPrompt,
    ResponseLanguage,
)
from prorl_verifiers.instructions.published_text import count_published_capitals, published_sentences

Check = Callable[[str, Any], bool]

_SEED = 0
_RESPONSES = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_FENCES = ("```json", "```Json", "```JSON", "```")
_FIRST_WORD_ENDS = frozenset(".,?!'\"")
_POSTSCRIPTS = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}


PUBLISHED_LANGUAGES = frozenset(
    ("en", "es", "pt", "ar", "hi", "fr", "ru", "de", "ja", "it", "bn", "uk", "th", "ur", "ta", "te", "bg", "ko", "pl",
     "he", "fa", "vi", "ne", "sw", "kn", "mr", "gu", "pa", "ml", "fi")
)  # fmt: skip
"""The codes that the published rules know."""


def _holds(count: int, relation: str, wanted: int) -> bool:
    return count < wanted if relation == "less than" else count >= wanted


def _has_keywords(text: str, arguments: Keywords) -> bool:
    return all(re.search(keyword, text, re.IGNORECASE) for keyword in arguments.keywords)


def _has_keyword_frequency(text: str, arguments: KeywordFrequency) -> bool:
    found = re.findall(arguments.keyword.strip(), text, re.IGNORECASE)
    return _holds(len(found), arguments.relation, arguments.frequency)


def _avoids_words(text: str, arguments: ForbiddenWords) -> bool:
    return not any(re.search(rf"\b{word}\b", text, re.IGNORECASE) for word in arguments.forbidden_words)


def _has_letter_frequency(text: str, arguments: LetterFrequency) -> bool:
    letter = arguments.letter.strip().lower()
    count = text.lower().count(letter) if letter else 0
    return _holds(count, arguments.let_relation, arguments.let_frequency)


def _is_in_language(text: str, arguments: ResponseLanguage) -> bool:
    detected = _detected_language(text)
    return detected is None or detected == arguments.language


def _is_english(text: str) -> bool:
    return _detected_language(text) in (None, "en")


def _detected_language(text: str) -> str | None:
    """Return langdetect's code; None for a text without features, which counts as followed."""
    from langdetect_rs import DetectorFactory, LangDetectException, detect

    DetectorFactory.seed = _SEED
    try:
        return str(detect(text))
    except LangDetectException:
        return None


def _has_number_of_sentences(text: str, arguments: NumberSentences) -> bool:
    return _holds(len(published_sentences(text)), arguments.relation, arguments.num_sentences)


def _has_capital_words(text: str, arguments: CapitalWordFrequency) -> bool:
    count = sum(map(count_published_capitals, published_sentences(text)))
    return _holds(count, arguments.capital_relation, arguments.capital_frequency)


def _has_number_of_words(text: str, arguments: NumberWords) -> bool:
    return _holds(len(re.findall(r"\w+", text)), arguments.relation, arguments.num_words)


def _has_number_of_paragraphs(text: str, arguments: NumberParagraphs) -> bool:
    parts = re.split(r"\s?\*\*\*\s?", text)
    if not all(part.strip() for part in parts[1:-1]):
        return False
    return sum(bool(part.strip()) for part in parts) == arguments.num_paragraphs


def _has_nth_paragraph_first_word(text: str, arguments: NthParagraphFirstWord) -> bool:
    parts = text.split("\n\n")
    count = sum(bool(part.strip()) for part in parts)
    if not arguments.nth_paragraph <= count == arguments.num_paragraphs:
        return False
    paragraph = parts[arguments.nth_paragraph - 1].strip()
    if not paragraph:
        return False
    first = paragraph.split()[0].lstrip("'").lstrip('"')
    end = next((index for index, letter in enumerate(first) if letter in _FIRST_WORD_ENDS), len(first))
    return first[:end].lower() == arguments.first_word.lower()


def _has_placeholders(text: str, arguments: NumberPlaceholders) -> bool:
    count = 0
    for line in text.split("\n"):
        end = 0
        while (start := line.find("[", end)) >= 0 and (end := line.find("]", start) + 1) > 0:
            count += 1
    return count >= arguments.num_placeholders


def _has_postscript(text: str, arguments: Postscript) -> bool:
    marker = arguments.postscript_marker.strip()
    return re.search(_POSTSCRIPTS.get(marker, marker.lower()), text.lower()) is not None


def _has_bullets(text: str, arguments: NumberBulletLists) -> bool:
    stars = sum(1 for _ in _bullets(text, "*", is_followed=True))
    return stars + sum(1 for _ in _bullets(text, "-", is_followed=False)) == arguments.num_bullets


def _bullets(text: str, mark: str, *, is_followed: bool) -> Iterator[int]:
    r"""Yield where the matches of `^\s*\*[^\*].*$` or `^\s*-.*$` over lines end, as `findall` finds them.

    White space may span lines, and the character behind the asterisk may be the line's end.
    """
    position = 0
    while position < len(text):
        if position and text[position - 1] != "\n":
            position = text.find("\n", position) + 1 or len(text)
            continue
        first = position
        while first < len(text) and text[first].isspace():
            first += 1
        follower = text[first + 1 : first + 2]
        if text[first : first + 1] == mark and not (is_followed and follower in ("", "*")):
            end = text.find("\n", first + 1 + is_followed)
            position = len(text) if end < 0 else end
            yield position
            if end >= 0 and text[end - 1] != "\n":
                position = end + 1
        else:
            position = first + 1 if first == position or first >= len(text) else first


def _is_constrained_response(text: str, _: object) -> bool:
    return any(response in text for response in _RESPONSES)


def _has_highlights(text: str, arguments: NumberHighlightedSections) -> bool:
    single = (part.strip("*") for part in re.findall(r"\*[^\n*]*\*", text))
    double = (part.removeprefix("**").removesuffix("**") for part in re.findall(r"\*\*[^\n*]*\*\*", text))
    count = sum(bool(part.strip()) for parts in (single, double) for part in parts)
    return count >= arguments.num_highlights


def _has_sections(text: str, arguments: MultipleSections) -> bool:
    parts = re.split(rf"\s?{arguments.section_spliter.strip()}\s?\d+\s?", text)
    return len(parts) - 1 >= arguments.num_sections


def _is_json(text: str, _: object) -> bool:
    text = text.strip()
    for fence in _FENCES:
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def _has_title(text: str, _: object) -> bool:
    for line in text.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if 0 <= start < end - 2 and line[start : end + 2].lstrip("<").rstrip(">").strip():
            return True
    return False


def _is_two_responses(text: str, _: object) -> bool:
    parts = text.split("******")
    if not all(part.strip() for part in parts[1:-1]):
        return False
    responses = [part.strip() for part in parts if part.strip()]
    return len(responses) == 2 and responses[0] != responses[1]


def _repeats_prompt(text: str, arguments: RepeatPrompt) -> bool:
    return text.strip().lower().startswith(arguments.prompt_to_repeat.strip().lower())


def _ends_with_phrase(text: str, arguments: EndChecker) -> bool:
    return text.strip().strip('"').lower().endswith(arguments.end_phrase.strip().lower())


def _is_quotation(text: str, _: object) -> bool:
    text = text.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


PUBLISHED_CHECKS: Mapping[str, Check] = {
    "keywords:existence": _has_keywords,
    "keywords:frequency": _has_keyword_frequency,
    "keywords:forbidden_words": _avoids_words,
    "keywords:letter_frequency": _has_letter_frequency,
    "language:response_language": _is_in_language,
    "length_constraints:number_sentences": _has_number_of_sentences,
    "length_constraints:number_words": _has_number_of_words,
    "length_constraints:number_paragraphs": _has_number_of_paragraphs,
    "length_constraints:nth_paragraph_first_word": _has_nth_paragraph_first_word,
    "detectable_content:number_placeholders": _has_placeholders,
    "detectable_content:postscript": _has_postscript,
    "detectable_format:number_bullet_lists": _has_bullets,
    "detectable_format:constrained_response": _is_constrained_response,
    "detectable_format:number_highlighted_sections": _has_highlights,
    "detectable_format:multiple_sections": _has_sections,
    "detectable_format:json_format": _is_json,
    "detectable_format:title": _has_title,
    "combination:two_responses": _is_two_responses,
    "combination:repeat_prompt": _repeats_prompt,
    "startend:end_checker": _ends_with_phrase,
    "startend:quotation": _is_quotation,
    "change_case:capital_word_frequency": _has_capital_words,
    "change_case:english_capital": lambda text, _: text.isupper() and _is_english(text),
    "change_case:english_lowercase": lambda text, _: text.islower() and _is_english(text),
    "punctuation:no_comma": lambda text, _: "," not in text,
}
"""By instruction type."""


def loose_variants(text: str) -> Iterator[str]:
    """Yield the response as it is and without first line, last line and asterisks, in all eight combinations."""
    lines = text.split("\n")
    for variant in (text, *("\n".join(kept).strip() for kept in (lines[1:], lines[:-1], lines[1:-1]))):
        yield variant
        yield variant.replace("*", "")
