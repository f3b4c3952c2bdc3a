"""`strictness: ifeval` gives the published verdicts: recorded ones, worked from the published rules with nltk 3.8.1,
its English Punkt model and langdetect 1.0.9 seeded with 0, over texts of every type in which the rules have traps."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from prorl_api.instructions import INSTRUCTION_ARGUMENTS
from prorl_api.spec.values import AnswerFormat
from prorl_api.wire.sandbox import Verdict
from prorl_verifiers.instructions.verifier import MAX_CHARACTERS, InstructionVerifier
from prorl_verifiers.judgement import Judgement

FILE = Path(__file__).parent / "golden" / "ifeval_verdicts.jsonl"
RECORDED: list[dict[str, Any]] = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
VERIFIER = InstructionVerifier()


def judge(text: str, strictness: str, name: str, arguments: dict[str, Any]) -> Judgement:
    row = {"strictness": strictness, "instructions": [{"id": name, "arguments": arguments}]}
    return VERIFIER.judge(row, AnswerFormat.TEXT, text)


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: f"{case['id']} {case['text'][:40]!r}")
def test_the_verdict_is_the_published_one(case: dict[str, Any]) -> None:
    assert judge(case["text"], "ifeval", case["id"], case["arguments"]).reward == float(case["strict"])
    assert judge(case["text"], "ifeval-loose", case["id"], case["arguments"]).reward == float(case["loose"])


def test_every_type_is_recorded_with_both_verdicts() -> None:
    assert len(RECORDED) >= 200
    verdicts = Counter((case["id"], case["strict"]) for case in RECORDED)
    for name in INSTRUCTION_ARGUMENTS:
        assert verdicts[name, True] >= 2, name
        assert verdicts[name, False] >= 2, name


def test_our_own_verdicts_differ_where_the_published_rules_have_holes() -> None:
    assert judge("{}", "ifeval", "detectable_format:json_format", {}).reward == 1.0
    assert judge("{}", "strict", "detectable_format:json_format", {}).reward == 0.0


@pytest.mark.parametrize(
    ("name", "arguments", "fault"),
    [
        ("keywords:existence", {"keywords": ["C++("]}, "regular expression"),
        ("keywords:forbidden_words", {"forbidden_words": ["["]}, "regular expression"),
        ("detectable_format:multiple_sections", {"section_spliter": "(", "num_sections": 1}, "regular expression"),
        ("language:response_language", {"language": "zh-cn"}, "unknown to the published rules"),
        (
            "length_constraints:nth_paragraph_first_word",
            {"num_paragraphs": 1, "nth_paragraph": 2, "first_word": "a"},
            "at random",
        ),
    ],
)
def test_what_the_published_rules_cannot_judge_is_unsupported(name: str, arguments: dict[str, Any], fault: str) -> None:
    judgement = judge("some text", "ifeval", name, arguments)
    assert judgement.verdict is Verdict.UNSUPPORTED
    assert fault in judgement.detail


def test_thoughts_do_not_count_and_unfinished_ones_hold_no_answer() -> None:
    assert judge("<think>a, b</think>\n\nNo comma.", "ifeval", "punctuation:no_comma", {}).reward == 1.0
    assert judge("<think>no comma", "ifeval", "punctuation:no_comma", {}).reward == 0.0
    assert judge("<think>a</think><think>no comma", "strict", "punctuation:no_comma", {}).reward == 0.0


@pytest.mark.parametrize("unit", [" ", "\n", "[", "<", "*", "a. ", "- \n", "\n*", "x" * 50])
def test_hostile_texts_are_judged_soon(unit: str) -> None:
    text = (unit * MAX_CHARACTERS)[: MAX_CHARACTERS - 1]
    seen: set[str] = set()
    for case in RECORDED:
        if case["id"] not in seen:
            seen.add(case["id"])
            judge(f"{text}x", "ifeval", case["id"], case["arguments"])
