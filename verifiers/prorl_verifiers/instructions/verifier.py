"""The verifier of instruction following: each instruction checked by itself.

Only the text after the thoughts counts; a completion that never ends its thoughts has none. An empty text follows no
instruction, not even "no commas". `loose` accepts if any of eight variants of the text follows: with or without its
first line, its last line and its asterisks (IFEval, arXiv 2311.07911, section 2.2). `ifeval` and `ifeval-loose` give
the published verdicts, for comparable evaluation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prorl_api.instructions import (
    INSTRUCTION_ARGUMENTS,
    Arguments,
    ForbiddenWords,
    KeywordFrequency,
    Keywords,
    MultipleSections,
    NthParagraphFirstWord,
    Postscript,
    ResponseLanguage,
    parse_arguments,
)
from prorl_api.rows import Instruction, InstructionRow
from prorl_api.spec.values import AnswerFormat
from prorl_api.wire.sandbox import Verdict
from prorl_verifiers.extraction import extract, final_text
from prorl_verifiers.instructions.language import LANGUAGES, base_code, is_in_language
from prorl_verifiers.instructions.published import PUBLISHED_CHECKS, PUBLISHED_LANGUAGES, loose_variants
from prorl_verifiers.instructions.shape_checks import SHAPE_CHECKS
from prorl_verifiers.instructions.text import says_something, with_plain_line_ends
from prorl_verifiers.instructions.word_checks import WORD_CHECKS
from prorl_verifiers.judgement import Judgement
from prorl_verifiers.rows import validated

CHECKS = WORD_CHECKS | SHAPE_CHECKS
"""The check of each instruction type."""
MAX_CHARACTERS = 200_000
"""A longer text follows nothing: all checks together stay within a second."""


class InstructionVerifier:
    """Judges rows of `InstructionRow`."""

    def __init__(self) -> None:
        missing = set(INSTRUCTION_ARGUMENTS) ^ set(CHECKS) | set(INSTRUCTION_ARGUMENTS) ^ set(PUBLISHED_CHECKS)
        assert not missing, f"instruction types without check or arguments: {missing}"

    def warm_up(self) -> None:
        """Load the language model."""
        is_in_language("an ordinary sentence in plain english", "en")

    def judge(self, row: Mapping[str, Any], answer_format: AnswerFormat, completion: str) -> Judgement:
        """Return the share of instructions that the completion follows, or whether it follows all."""
        parsed, fault = validated(InstructionRow, row)
        if parsed is None:
            return Judgement.unsupported(fault)
        as_published = parsed.strictness.startswith("ifeval")
        find_fault = _fault_as_published if as_published else _fault
        fault = next((fault for one in parsed.instructions if (fault := find_fault(_arguments(one)))), "")
        if fault:
            return Judgement.unsupported(fault)
        text = _text(completion, answer_format, as_published=as_published)
        if not text.strip():
            return Judgement.failed(Verdict.FORMAT_ERROR, "there is no text after the thoughts")
        if len(text) > MAX_CHARACTERS:
            detail = f"the text has {len(text)} characters; at most {MAX_CHARACTERS} are judged"
            return Judgement.failed(Verdict.WRONG, detail)
        follows = _READINGS[parsed.strictness](text)
        failed = [one.id for one in parsed.instructions if not follows(one.id, _arguments(one))]
        share = 1 - len(failed) / len(parsed.instructions)
        detail = f"not followed: {', '.join(failed)}" if failed else "all followed"
        if parsed.reward == "all":
            share = float(not failed)
        return Judgement.of_score(share, detail)


Follows = Callable[[str, Arguments], bool]


def _arguments(instruction: Instruction) -> Arguments:
    return parse_arguments(instruction.id, instruction.arguments)


def _text(completion: str, answer_format: AnswerFormat, *, as_published: bool) -> str:
    """Return the text that is judged; empty if there is none."""
    if as_published and final_text(completion) == completion and answer_format is AnswerFormat.TEXT:
        return completion  # the published rules see white space at either end
    return extract(completion, answer_format) or ""


def _fault(arguments: Arguments) -> str:
    """Return why an instruction with valid arguments cannot be judged here; empty if it can."""
    if isinstance(arguments, ResponseLanguage) and base_code(arguments.language) not in LANGUAGES:
        return f"language {arguments.language!r} is not judged here; these are: {', '.join(sorted(LANGUAGES))}"
    return ""


def _fault_as_published(arguments: Arguments) -> str:
    """Return why the published rules have no verdict on an instruction; empty if they have one."""
    if isinstance(arguments, NthParagraphFirstWord) and arguments.nth_paragraph > arguments.num_paragraphs:
        return "nth_paragraph is above num_paragraphs: the published rules draw another one at random"
    if isinstance(arguments, ResponseLanguage) and arguments.language not in PUBLISHED_LANGUAGES:
        known = ", ".join(sorted(PUBLISHED_LANGUAGES))
        return f"language {arguments.language!r} is unknown to the published rules; they know {known}"
    patterns: list[str] = []
    match arguments:
        case Keywords(keywords=keywords) | ForbiddenWords(forbidden_words=keywords):
            patterns = keywords
        case KeywordFrequency(keyword=pattern) | Postscript(postscript_marker=pattern):
            patterns = [pattern]
        case MultipleSections(section_spliter=pattern):
            patterns = [pattern]
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            return f"{pattern!r} is a regular expression to the published rules, and no valid one: {error}"
    return ""


def _reads(text: str) -> Follows:
    plain = with_plain_line_ends(text)
    return lambda name, arguments: says_something(plain) and CHECKS[name](plain, arguments)


def _reads_loosely(text: str) -> Follows:
    variants = list(_variants(with_plain_line_ends(text)))
    return lambda name, arguments: any(says_something(one) and CHECKS[name](one, arguments) for one in variants)


def _reads_as_published(text: str) -> Follows:
    return lambda name, arguments: bool(text.strip()) and PUBLISHED_CHECKS[name](text, arguments)


def _reads_loosely_as_published(text: str) -> Follows:
    variants = list(loose_variants(text))
    return lambda name, arguments: any(one.strip() and PUBLISHED_CHECKS[name](one, arguments) for one in variants)


_READINGS: Mapping[str, Callable[[str], Follows]] = {
    "strict": _reads,
    "loose": _reads_loosely,
    "ifeval": _reads_as_published,
    "ifeval-loose": _reads_loosely_as_published,
}
"""By the row's `strictness`."""


def _variants(text: str) -> Iterator[str]:
    """Yield the text with and without first line, last line and asterisks."""
    lines = text.split("\n")
    for kept in (lines, lines[1:], lines[:-1], lines[1:-1]):
        variant = "\n".join(kept).strip()
        yield variant
        yield variant.replace("*", "")
