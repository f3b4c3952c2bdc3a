"""The verifier of instruction following: each instruction checked by itself, strictly or loosely.

Only the text after the thoughts counts; a completion that never ends its thoughts has none. An empty text follows no
instruction, not even "no commas". `loose` accepts if any of eight variants of the text follows: with or without its
first line, its last line and its asterisks (IFEval, arXiv 2311.07911, section 2.2).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prorl_api.instructions import INSTRUCTION_ARGUMENTS, ResponseLanguage, parse_arguments
from prorl_api.rows import Instruction, InstructionRow
from prorl_api.spec.values import AnswerFormat
from prorl_api.wire.sandbox import Verdict
from prorl_verifiers.extraction import extract
from prorl_verifiers.instructions.language import LANGUAGES, base_code, is_in_language
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
        missing = set(INSTRUCTION_ARGUMENTS) ^ set(CHECKS)
        assert not missing, f"instruction types without check or arguments: {missing}"

    def warm_up(self) -> None:
        """Load the language model."""
        is_in_language("an ordinary sentence in plain english", "en")

    def judge(self, row: Mapping[str, Any], answer_format: AnswerFormat, completion: str) -> Judgement:
        """The share of instructions that the completion follows, or whether it follows all."""
        parsed, fault = validated(InstructionRow, row)
        if parsed is None:
            return Judgement.unsupported(fault)
        fault = next((fault for one in parsed.instructions if (fault := _unjudgeable(one))), "")
        if fault:
            return Judgement.unsupported(fault)
        text = None if "<think>" in completion and "</think>" not in completion else extract(completion, answer_format)
        if text is None:
            return Judgement.failed(Verdict.FORMAT_ERROR, "there is no text after the thoughts")
        if len(text) > MAX_CHARACTERS:
            detail = f"the text has {len(text)} characters; at most {MAX_CHARACTERS} are judged"
            return Judgement.failed(Verdict.WRONG, detail)
        text = with_plain_line_ends(text)
        variants = [text] if parsed.strictness == "strict" else list(_variants(text))
        failed = [one.id for one in parsed.instructions if not _is_followed(one, variants)]
        share = 1 - len(failed) / len(parsed.instructions)
        detail = f"not followed: {', '.join(failed)}" if failed else "all followed"
        if parsed.reward == "all":
            share = float(not failed)
        return Judgement.of_score(share, detail)


def _unjudgeable(instruction: Instruction) -> str:
    """Why an instruction with valid arguments cannot be judged here; empty if it can."""
    arguments = parse_arguments(instruction.id, instruction.arguments)
    if isinstance(arguments, ResponseLanguage) and base_code(arguments.language) not in LANGUAGES:
        return f"language {arguments.language!r} is not judged here; these are: {', '.join(sorted(LANGUAGES))}"
    return ""


def _is_followed(instruction: Instruction, variants: list[str]) -> bool:
    check = CHECKS[instruction.id]
    arguments = parse_arguments(instruction.id, instruction.arguments)
    return any(says_something(text) and check(text, arguments) for text in variants)


def _variants(text: str) -> Iterator[str]:
    """The text with and without first line, last line and asterisks."""
    lines = text.split("\n")
    for kept in (lines, lines[1:], lines[:-1], lines[1:-1]):
        variant = "\n".join(kept).strip()
        yield variant
        yield variant.replace("*", "")
