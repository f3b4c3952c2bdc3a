"""Checks of a text's form: paragraphs, lists, sections, marks, JSON, and what it begins with.

What is demanded must stand in the text itself, not in a piece of code that it shows.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from typing import Any

import regex

from prorl_api.instructions import (
    MultipleSections,
    NthParagraphFirstWord,
    NumberBulletLists,
    NumberHighlightedSections,
    NumberParagraphs,
    NumberPlaceholders,
    Postscript,
    RepeatPrompt,
)
from prorl_verifiers.instructions.quotation import is_one_quotation
from prorl_verifiers.instructions.readings import bare
from prorl_verifiers.instructions.section_numbers import section_number
from prorl_verifiers.instructions.text import paragraphs, visible, words

Check = Callable[[str, Any], bool]

_CODE = regex.compile(r"^(```|~~~)[^\n]*\n.*?(?:^\1[ \t]*$|\Z)|`[^`\n]+`", regex.DOTALL | regex.MULTILINE)
_DIVIDER = regex.compile(r"^[ \t]*\*\*\*[ \t]*$", regex.MULTILINE)
_BULLET = regex.compile(r"^[ \t]*[*-][ \t]+(?=[^\n]*[\p{L}\p{N}])", regex.MULTILINE)
_BULLET_OF_ANY_KIND = regex.compile(
    r"^[ \t>]*(?:[*+\-•‣◦▪●○–—][ \t\u00a0]+|[•‣◦▪●○]|-(?=\p{L}))(?=[^\n]*[\p{L}\p{N}])", regex.MULTILINE
)
_HIGHLIGHT = regex.compile(
    r"(?<![\\*\p{Latin}\p{Cyrillic}\p{Greek}\p{N}])(\*{1,3})(?=[^\s*])([^*\n]*[^\s*\\])\1(?![*\p{Latin}\p{Cyrillic}\p{Greek}\p{N}])"
)
_PLACEHOLDER = regex.compile(r"(?<![\\\p{L}\p{N}_!\])])\[([^\[\]\n]{1,200})\](?![(:\[])")
_NO_PLACEHOLDER = regex.compile(r"\s*(?:[xX✓✔]|[\d\s,;.–-]+|[\"'].*|\^.*)\s*")
_TITLE = regex.compile(r"(?<![<\p{L}\p{N}_)])<<(?=[^\s<])([^<>\n]{1,500})(?<=[^\s>])>>(?![>\p{L}\p{N}_(])")
_TITLE_LINE = regex.compile(r"^[\s#*_>]*<<([^<>\n]{1,500})>>[\s*_]*$", regex.MULTILINE)
_FENCE = regex.compile(r"^```(?:json)?[ \t]*\n?(.*?)\n?[ \t]*```$", regex.DOTALL | regex.IGNORECASE)
_TWO_RESPONSES = regex.compile(r"(?<!\*)\*{6}(?!\*)")
_LABEL = regex.compile(
    r"^\W*(?:response|answer|option|version|reply|alternative)?\W*(?:\d{1,2}|[a-z]|one|two|first|second)?\W*[:.)]\W*",
    regex.IGNORECASE,
)
_ANSWER = regex.compile(r"my answer is\b", regex.IGNORECASE)
_STATED_ANSWER = regex.compile(
    r"(?:^|[\n.!?:]\s)[\s#>*_]*my answer is (yes|no|maybe)\.(?=[*_]*(?:\s|$))", regex.IGNORECASE
)


def without_code(text: str) -> str:
    """Return the text without code in fences and backticks."""
    return _CODE.sub(" ", text)


def has_number_of_paragraphs(text: str, arguments: NumberParagraphs) -> bool:
    """Return whether there are exactly so many non-empty parts between lines of three asterisks."""
    parts = _DIVIDER.split(text)
    if not parts[0].strip():
        parts = parts[1:]
    if parts and not parts[-1].strip():
        parts = parts[:-1]
    return len(parts) == arguments.num_paragraphs and all(words(part) for part in parts)


def has_nth_paragraph_first_word(text: str, arguments: NthParagraphFirstWord) -> bool:
    """Return whether there are exactly so many paragraphs, and the nth begins with the word."""
    parts = paragraphs(text)
    if len(parts) != arguments.num_paragraphs or not 1 <= arguments.nth_paragraph <= len(parts):
        return False
    begin = regex.sub(r"^[\s\p{P}\p{S}]+", "", visible(parts[arguments.nth_paragraph - 1])).casefold()
    wanted = visible(arguments.first_word).strip().casefold()
    wanted = regex.sub(r"^[\s\p{P}\p{S}]+", "", wanted) or wanted
    behind = begin[len(wanted) :]
    goes_on = regex.match(r"[\p{L}\p{M}\p{N}_]|['\u2010\u2011-]\p{L}", behind) is not None
    return begin.startswith(wanted) and not (goes_on and not regex.search(r"[\p{Han}\p{Hiragana}\p{Thai}]$", wanted))


def has_placeholders(text: str, arguments: NumberPlaceholders) -> bool:
    """Return whether there are so many pairs of square brackets with a name within, no links, notes or boxes."""
    found = (part for part in _PLACEHOLDER.findall(without_code(text)) if not _NO_PLACEHOLDER.fullmatch(part))
    return sum(bool(words(part)) for part in found) >= arguments.num_placeholders


def has_postscript(text: str, arguments: Postscript) -> bool:
    """Return whether a line begins with the marker and says something behind it; spaces within it do not matter."""
    letters = [regex.escape(letter) for letter in "".join(arguments.postscript_marker.split())]
    marker = regex.compile(
        r"^[\s#>*_\-–—]*"
        + r"\s?".join(letters)
        + r"(?!\p{L}\.)"
        + ("" if letters[-1] == r"\." else r"(?![\p{L}\p{N}])"),
        regex.IGNORECASE | regex.MULTILINE,
    )
    found = marker.search(text)
    return found is not None and bool(words(text[found.end() :]))


def has_bullets(text: str, arguments: NumberBulletLists) -> bool:
    """Return whether exactly so many lines begin with one `*` or `-` and a space, and none with another bullet."""
    return len(_BULLET.findall(text)) == len(_BULLET_OF_ANY_KIND.findall(text)) == arguments.num_bullets


def is_constrained_response(text: str, _: object) -> bool:
    """Return whether one of the three answers stands as a sentence of its own, and nothing else is the answer."""
    text = visible(text).strip()
    if is_one_quotation(text):
        text = text[1:-1].strip()
    stated = _STATED_ANSWER.findall(text)
    return len({answer.lower() for answer in stated}) == 1 and len(stated) == len(_ANSWER.findall(text))


def has_highlights(text: str, arguments: NumberHighlightedSections) -> bool:
    """Return whether there are so many parts within asterisks, with a letter or digit within and no word outside."""
    found = (part for _, part in _HIGHLIGHT.findall(without_code(text)))
    return sum(bool(words(part)) for part in found) >= arguments.num_highlights


def has_sections(text: str, arguments: MultipleSections) -> bool:
    """Return whether sections with the numbers from 1 on, in whatever figures, begin a line each and have text."""
    name = regex.escape(arguments.section_spliter.strip())
    heading = regex.compile(
        rf"^[ \t#*_]*{name}[ \t]*(\p{{Nd}}{{1,6}}|[IVXLC]{{1,8}})\b[ \t*_:.]*", regex.MULTILINE | regex.IGNORECASE
    )
    matches = list(heading.finditer(text))
    ends = [match.start() for match in matches[1:]] + [len(text)] * bool(matches)
    numbers = {
        section_number(match.group(1))
        for match, end in zip(matches, ends, strict=True)
        if words(text[match.end() : end])
    }
    return numbers.issuperset(range(1, arguments.num_sections + 1))


def is_json(text: str, _: object) -> bool:
    """Return whether the whole text is one JSON object or array that holds something, in a code fence or not."""
    fenced = _FENCE.match(text.strip())
    try:
        value = json.loads(fenced.group(1) if fenced else text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict | list) and _holds_something(value)


def _holds_something(value: object) -> bool:
    """Return whether a number, a truth value or a text with words lies in a JSON value."""
    if isinstance(value, dict):
        return any(_holds_something(part) for part in value.values())
    if isinstance(value, list):
        return any(_holds_something(part) for part in value)
    return value is not None and (not isinstance(value, str) or bool(words(value)))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def has_title(text: str, _: object) -> bool:
    """Return whether a title stands in double angular brackets, close to them or alone on its line."""
    text = without_code(text)
    return any(words(title) for pattern in (_TITLE, _TITLE_LINE) for title in pattern.findall(text))


def is_two_responses(text: str, _: object) -> bool:
    """Return whether there are exactly two responses of different words, separated by six asterisks.

    Asterisks may also stand at either end; a label such as "Response 1:" is no difference.
    """
    parts = _TWO_RESPONSES.split(text.strip())
    parts = parts[not parts[0].strip() :]
    parts = parts[: len(parts) - (not parts[-1].strip())] if parts else parts
    said = [words(bare(_LABEL.sub("", part))) for part in parts]
    return len(said) == 2 and all(said) and said[0] != said[1]


def repeats_prompt(text: str, arguments: RepeatPrompt) -> bool:
    """Return whether the text begins with the prompt, word by word in any case, and goes on with something else."""
    wanted = " ".join(unicodedata.normalize("NFC", arguments.prompt_to_repeat).lower().split())
    given = " ".join(unicodedata.normalize("NFC", text).lower().split())
    if not given.startswith(wanted) or (regex.match(r"[\p{L}\p{N}]", given[len(wanted) :]) and wanted[-1].isalnum()):
        return False
    return bool(words(given.replace(wanted, " ")))


def is_quotation(text: str, _: object) -> bool:
    """Return whether the whole text stands within one pair of double quotation marks."""
    return is_one_quotation(text) and bool(words(text))


SHAPE_CHECKS: dict[str, Check] = {
    "length_constraints:number_paragraphs": has_number_of_paragraphs,
    "length_constraints:nth_paragraph_first_word": has_nth_paragraph_first_word,
    "detectable_content:number_placeholders": has_placeholders,
    "detectable_content:postscript": has_postscript,
    "detectable_format:number_bullet_lists": has_bullets,
    "detectable_format:constrained_response": is_constrained_response,
    "detectable_format:number_highlighted_sections": has_highlights,
    "detectable_format:multiple_sections": has_sections,
    "detectable_format:json_format": is_json,
    "detectable_format:title": has_title,
    "combination:two_responses": is_two_responses,
    "combination:repeat_prompt": repeats_prompt,
    "startend:quotation": is_quotation,
}
"""By instruction type."""
