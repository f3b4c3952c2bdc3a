"""The arguments of IFEval's 25 instruction types (arXiv 2311.07911), one model a type, so that a wrong row is found
when it is read and not when it is judged.

Argument names are IFEval's own, so that its published rows and those derived from it can be used as they are. There,
arguments that do not belong to a type are null, or NaN where a table of numbers was between: these count as absent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from prorl_api.wording import reason_of


class Arguments(BaseModel):
    """Base of argument models; also the model of types that take none."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


Phrase = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"\S")]
Phrases = Annotated[list[Phrase], Field(min_length=1, max_length=64)]


def _whole(value: object) -> object:
    """Return 20 for 20.0: tables with missing values hold their whole numbers as floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _lower(value: object) -> object:
    """Return the text in small letters: zh-CN is zh-cn."""
    return value.lower().replace("_", "-") if isinstance(value, str) else value


Count = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=100_000)]
PositiveCount = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=10_000)]
Relation = Literal["at least", "less than"]


class Keywords(Arguments):
    """`keywords:existence`."""

    keywords: Phrases
    """All must occur as whole words, in any case."""


class KeywordFrequency(Arguments):
    """`keywords:frequency`."""

    keyword: Phrase
    frequency: Count
    relation: Relation


class ForbiddenWords(Arguments):
    """`keywords:forbidden_words`."""

    forbidden_words: Phrases
    """None may occur as a whole word, in any case."""


class LetterFrequency(Arguments):
    """`keywords:letter_frequency`."""

    letter: Annotated[str, Field(min_length=1, max_length=1)]
    """Counted in both cases."""
    let_frequency: Count
    let_relation: Relation


class ResponseLanguage(Arguments):
    """`language:response_language`."""

    language: Annotated[str, BeforeValidator(_lower), Field(pattern=r"^[a-z]{2}(-[a-z]{2})?$")]
    """ISO 639-1 code, such as `de` or `zh-CN`."""


class NumberSentences(Arguments):
    """`length_constraints:number_sentences`."""

    num_sentences: Count
    relation: Relation


class NumberParagraphs(Arguments):
    """`length_constraints:number_paragraphs`."""

    num_paragraphs: PositiveCount
    """Exactly so many, separated by lines of three asterisks."""


class NumberWords(Arguments):
    """`length_constraints:number_words`."""

    num_words: Count
    relation: Relation


class NthParagraphFirstWord(Arguments):
    """`length_constraints:nth_paragraph_first_word`."""

    num_paragraphs: PositiveCount
    """Exactly so many, separated by empty lines."""
    nth_paragraph: PositiveCount
    """Counted from 1."""
    first_word: Phrase


class NumberPlaceholders(Arguments):
    """`detectable_content:number_placeholders`."""

    num_placeholders: PositiveCount
    """At least so many, such as [address]."""


class Postscript(Arguments):
    """`detectable_content:postscript`."""

    postscript_marker: Phrase
    """Such as `P.S.`."""


class NumberBulletLists(Arguments):
    """`detectable_format:number_bullet_lists`."""

    num_bullets: PositiveCount
    """Exactly so many lines that begin with `* ` or `- `."""


class NumberHighlightedSections(Arguments):
    """`detectable_format:number_highlighted_sections`."""

    num_highlights: PositiveCount
    """At least so many, such as *this* or **this**."""


class MultipleSections(Arguments):
    """`detectable_format:multiple_sections`."""

    section_spliter: Phrase
    """The word before each section's number; spelled as IFEval spells it."""
    num_sections: PositiveCount
    """At least so many."""


class RepeatPrompt(Arguments):
    """`combination:repeat_prompt`."""

    prompt_to_repeat: Annotated[str, Field(min_length=1, max_length=65536, pattern=r"\S")]


class EndChecker(Arguments):
    """`startend:end_checker`."""

    end_phrase: Phrase


class CapitalWordFrequency(Arguments):
    """`change_case:capital_word_frequency`."""

    capital_frequency: Count
    capital_relation: Relation


INSTRUCTION_ARGUMENTS: Mapping[str, type[Arguments]] = {
    "keywords:existence": Keywords,
    "keywords:frequency": KeywordFrequency,
    "keywords:forbidden_words": ForbiddenWords,
    "keywords:letter_frequency": LetterFrequency,
    "language:response_language": ResponseLanguage,
    "length_constraints:number_sentences": NumberSentences,
    "length_constraints:number_paragraphs": NumberParagraphs,
    "length_constraints:number_words": NumberWords,
    "length_constraints:nth_paragraph_first_word": NthParagraphFirstWord,
    "detectable_content:number_placeholders": NumberPlaceholders,
    "detectable_content:postscript": Postscript,
    "detectable_format:number_bullet_lists": NumberBulletLists,
    "detectable_format:constrained_response": Arguments,
    "detectable_format:number_highlighted_sections": NumberHighlightedSections,
    "detectable_format:multiple_sections": MultipleSections,
    "detectable_format:json_format": Arguments,
    "detectable_format:title": Arguments,
    "combination:two_responses": Arguments,
    "combination:repeat_prompt": RepeatPrompt,
    "startend:end_checker": EndChecker,
    "startend:quotation": Arguments,
    "change_case:capital_word_frequency": CapitalWordFrequency,
    "change_case:english_capital": Arguments,
    "change_case:english_lowercase": Arguments,
    "punctuation:no_comma": Arguments,
}
"""The arguments of each type."""


def _is_null(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def parse_arguments(instruction_id: str, arguments: Mapping[str, Any]) -> Arguments:
    """Return the typed arguments of an instruction.

    Raises:
        ValueError: The type is unknown, or its arguments are missing, of the wrong type or not its own.
    """
    model = INSTRUCTION_ARGUMENTS.get(instruction_id)
    if model is None:
        raise ValueError(
            f"no instruction type {instruction_id!r}; there are {', '.join(sorted(INSTRUCTION_ARGUMENTS))}"
        )
    given = {name: value for name, value in arguments.items() if not _is_null(value)}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        taken = ", ".join(model.model_fields) or "none"
        raise ValueError(f"{instruction_id} takes the arguments ({taken}): {reason_of(error)}") from error
