"""Checks of a text's form: paragraphs, lists, sections, marks, JSON, and what it begins with."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

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
from prorl_verifiers.instructions.text import paragraphs, words

Check = Callable[[str, Any], bool]

CONSTRAINED_RESPONSES = ("my answer is yes.", "my answer is no.", "my answer is maybe.")
_DIVIDER = re.compile(r"^[ \t]*\*\*\*[ \t]*$", re.MULTILINE)
_BULLET = re.compile(r"^[ \t]*(?:\*(?!\*)|-(?!-))(?=[^\n]*[^\W_])", re.MULTILINE)
_HIGHLIGHT = re.compile(r"\*\*(?=[^\s*])([^*\n]*[^\s*])\*\*|(?<!\*)\*(?=[^\s*])([^*\n]*[^\s*])\*(?!\*)")
_PLACEHOLDER = re.compile(r"\[[^\[\]\n]{1,200}\]")
_TITLE = re.compile(r"<<[^<>\n]{1,500}>>")
_FENCE = re.compile(r"^```(?:json|JSON|Json)?[ \t]*\n(.*?)\n?```$", re.DOTALL)
_TWO_RESPONSES = re.compile(r"\*{6}")


def has_number_of_paragraphs(text: str, arguments: NumberParagraphs) -> bool:
    """Exactly so many non-empty parts between lines of three asterisks."""
    parts = _DIVIDER.split(text)
    if not parts[0].strip():
        parts = parts[1:]
    if parts and not parts[-1].strip():
        parts = parts[:-1]
    return len(parts) == arguments.num_paragraphs and all(words(part) for part in parts)


def has_nth_paragraph_first_word(text: str, arguments: NthParagraphFirstWord) -> bool:
    """Exactly so many paragraphs, and the nth begins with the word."""
    parts = paragraphs(text)
    if len(parts) != arguments.num_paragraphs or not 1 <= arguments.nth_paragraph <= len(parts):
        return False
    first = parts[arguments.nth_paragraph - 1].split()[0].strip("\"'“”‘’*_#([{<.,:;!?)]}>")
    return first.lower() == arguments.first_word.strip().lower()


def has_placeholders(text: str, arguments: NumberPlaceholders) -> bool:
    """At least so many pairs of square brackets with a letter or digit within."""
    return sum(bool(words(found)) for found in _PLACEHOLDER.findall(text)) >= arguments.num_placeholders


def has_postscript(text: str, arguments: Postscript) -> bool:
    """A line begins with the marker and says something behind it; spaces within the marker do not matter."""
    letters = [re.escape(letter) for letter in "".join(arguments.postscript_marker.split())]
    marker = re.compile(
        r"^[ \t*_]*" + r"\s?".join(letters) + r"(?P<rest>[^\n]*(?:\n.*)?)$", re.IGNORECASE | re.MULTILINE
    )
    found = marker.search(text)
    return found is not None and bool(words(text[found.start("rest") :]))


def has_bullets(text: str, arguments: NumberBulletLists) -> bool:
    """Exactly so many lines that begin with one `*` or one `-` and hold a letter or digit."""
    return len(_BULLET.findall(text)) == arguments.num_bullets


def is_constrained_response(text: str, _: object) -> bool:
    """One of the three answers occurs, and no second one."""
    return sum(answer in text.lower() for answer in CONSTRAINED_RESPONSES) == 1


def has_highlights(text: str, arguments: NumberHighlightedSections) -> bool:
    """At least so many parts within single or double asterisks, with a letter or digit within."""
    found = (single or double for double, single in _HIGHLIGHT.findall(text))
    return sum(bool(words(part)) for part in found) >= arguments.num_highlights


def has_sections(text: str, arguments: MultipleSections) -> bool:
    """At least so many differently numbered headings at a line's beginning, each with text behind it."""
    name = re.escape(arguments.section_spliter.strip())
    heading = re.compile(rf"^[ \t#*_]*{name}[ \t]*([0-9]+|[IVXLC]+)\b[ \t*_:.]*", re.MULTILINE | re.IGNORECASE)
    matches = list(heading.finditer(text))
    ends = [match.start() for match in matches[1:]] + [len(text)] * bool(matches)
    numbers = {match.group(1) for match, end in zip(matches, ends, strict=True) if words(text[match.end() : end])}
    return len(numbers) >= arguments.num_sections


def is_json(text: str, _: object) -> bool:
    """The whole text is one JSON object or array, in a code fence or not."""
    fenced = _FENCE.match(text.strip())
    try:
        value = json.loads(fenced.group(1) if fenced else text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict | list)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def has_title(text: str, _: object) -> bool:
    """A title in double angular brackets, with a letter or digit."""
    return any(words(title) for title in _TITLE.findall(text))


def is_two_responses(text: str, _: object) -> bool:
    """Exactly two different, non-empty parts separated by six asterisks, which may also stand at either end."""
    parts = _TWO_RESPONSES.split(text.strip().removeprefix("*" * 6).removesuffix("*" * 6))
    said = [[word.lower() for word in words(part)] for part in parts]
    return len(said) == 2 and all(said) and said[0] != said[1]


def repeats_prompt(text: str, arguments: RepeatPrompt) -> bool:
    """Begins with the prompt, word by word in any case, and goes on behind it."""
    wanted = " ".join(arguments.prompt_to_repeat.lower().split())
    given = " ".join(text.lower().split())
    return given.startswith(wanted) and bool(words(given[len(wanted) :]))


def is_quotation(text: str, _: object) -> bool:
    """The whole text stands within double quotation marks."""
    text = text.strip()
    return len(text) > 2 and text[0] == '"' and text[-1] == '"' and bool(words(text))


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
