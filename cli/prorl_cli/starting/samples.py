"""Small data files to start from, one a kind: they show the form. Made, the same each time."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

Line = dict[str, Any]
_TOPICS = ("the sun", "a river", "trains", "bread", "the moon", "cats", "a bridge", "rain", "music", "the sea")
_WORDS = ("sun", "river", "garden", "bridge", "train", "window", "mountain", "letter", "market", "island", "castle")
_NUM_LINES = 60

REWARD_FILE = '''"""Your reward: called once for each completion, in a jail, with Python's standard library."""

import re


def score(completion, row):
    """Return the reward from 0 to 1; None if this row cannot be judged. Never `eval` what a model wrote."""
    words = re.findall(r"[\\w'-]+", completion.lower())
    nearness = max(0.0, 1 - abs(len(words) - row["words"]) / row["words"])
    return 0.5 * nearness + 0.5 * (row["must"] in words)
'''


def sums() -> Iterator[Line]:
    """Arithmetic with one right answer, most of it so easy that a model of 135 M parameters solves some of it."""
    dice = random.Random(1)  # noqa: S311 - reproducible data, no secret
    easy, harder = ([(a, b) for a in numbers for b in numbers] for numbers in (range(1, 10), range(10, 40)))
    pairs = dice.sample(easy, 2 * _NUM_LINES // 3) + dice.sample(harder, _NUM_LINES // 3)
    for a, b in dice.sample(pairs, _NUM_LINES):
        yield {"prompt": f"What is {a} + {b}?", "row": {"answer": a + b}}


def programs() -> Iterator[Line]:
    """Functions with hidden tests, and a solution that passes them."""
    for number in range(_NUM_LINES):
        factor, more = number % 10 + 2, number // 10
        tests = [
            {"type": "call", "function": "f", "arguments": [x], "expected": factor * x + more} for x in (0, 1, -3, 1000)
        ]
        yield {
            "prompt": f"Write a Python function `f(x)` that returns {factor} times x, plus {more}.",
            "row": {"tests": tests, "solution": f"def f(x):\n    return {factor} * x + {more}"},
        }


def instructions() -> Iterator[Line]:
    """Instructions that can be checked without knowing the right text."""
    checks: tuple[tuple[str, Line], ...] = (
        ("Do not use any comma.", {"id": "punctuation:no_comma"}),
        ("Write in lowercase letters only.", {"id": "change_case:english_lowercase"}),
        ("Use the word morning.", {"id": "keywords:existence", "arguments": {"keywords": ["morning"]}}),
    )
    for topic in _TOPICS:
        for number, (text, check) in enumerate(checks):
            other_text, other = checks[(number + 1) % len(checks)]
            yield {"prompt": f"Write one sentence about {topic}. {text}", "row": {"instructions": [check]}}
            both = {"instructions": [check, other]}
            yield {"prompt": f"Write one sentence about {topic}. {text} {other_text}", "row": both}


def sentences() -> Iterator[Line]:
    """Rows for the function in `REWARD_FILE`."""
    forms = {4: "The {} looks old.", 5: "The {} looks very old.", 6: "We saw the {} last week."}
    for word in _WORDS:
        for number, form in forms.items():
            prompt = f'Write one sentence of exactly {number} words that contains the word "{word}".'
            yield {"prompt": prompt, "row": {"words": number, "must": word, "solution": form.format(word)}}
