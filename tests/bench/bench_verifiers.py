"""What judging costs an item, by verifier, beside math-verify alone: `python tests/bench/bench_verifiers.py`.

Each kind is measured in turns, several rounds, in this process; the figures to look at are the ratios.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

from prorl_api.spec.values import AnswerFormat
from prorl_verifiers import Verifier, load_verifiers
from prorl_verifiers.math.verifier import MathVerifier

ROUNDS = 5
ORDINARY = [
    ("42", "42"), ("42", "41"), ("42", "42.0"), (r"\frac{1}{2}", "0.5"), (r"\frac{1}{2}", r"\frac{2}{3}"),
    (r"\frac{3}{4}", r"\dfrac{3}{4}"), ("1000", "1,000"), ("-7", "7"), (r"2\sqrt{3}", r"\sqrt{12}"),
    (r"\frac{\pi}{2}", r"\pi/2"), ("x^2-1", "(x-1)(x+1)"), ("(1,2)", "(1,2)"), (r"\{1,2\}", "2, 1"), ("5", "x=5"),
    ("17", "18"), ("(1,2)", "(2,1)"), ("100", "10^2"), ("0.25", r"\frac14"), ("12", r"12\text{ cm}"), ("8", r"2^3"),
]  # fmt: skip
FORMULAS = [
    (r"\sum_{k=1}^{10} k", "55"), ("55", r"\sum_{k=1}^{10} k"), (r"\frac{1}{3}", r"\int_0^1 x^2 dx"),
    (r"\frac{n(n+1)}{2}", r"\sum_{k=1}^{n} k"), ("1", r"\lim_{x \to 0} \frac{\sin x}{x}"),
]  # fmt: skip
WRONG = [("x^2-1", "x^2+1"), (r"2\sqrt{3}", r"3\sqrt{2}"), ("[0,1)", "[0,1]"), ("3.14", r"\pi"), ("y=2x", "y=3x")]
THOUGHTS = "Let me think about it. " * 200
Judge = Callable[[], object]


def math_items(verifier: Verifier, pairs: list[tuple[str, str]]) -> list[Judge]:
    return [
        lambda gold=gold, answer=answer: verifier.judge(  # type: ignore[misc]
            {"answer": gold}, AnswerFormat.BOXED, rf"{THOUGHTS}\boxed{{{answer}}}"
        )
        for gold, answer in pairs
    ]


def math_verify_alone(pairs: list[tuple[str, str]]) -> list[Judge]:
    """As the library is used by itself: parse with its own extraction, nothing remembered, and compare."""
    import math_verify
    from math_verify import parser

    def compare(gold: object, answer: str) -> object:
        parser.parse_latex_cached.cache_clear()
        parser.extract_latex.cache_clear()
        return math_verify.verify(gold, math_verify.parse(rf"\boxed{{{answer}}}"))

    parsed = {gold: math_verify.parse(rf"\boxed{{{gold}}}") for gold, _ in pairs}
    return [lambda gold=gold, answer=answer: compare(parsed[gold], answer) for gold, answer in pairs]  # type: ignore[misc]


def items(verifier: Verifier, row: dict[str, Any], completion: str) -> list[Judge]:
    return [lambda: verifier.judge(row, AnswerFormat.BOXED if "box" in completion else AnswerFormat.TEXT, completion)]


def mean_milliseconds(judges: list[Judge], repeat: int) -> float:
    started = time.perf_counter()
    for _ in range(repeat):
        for judge in judges:
            judge()
    return 1000 * (time.perf_counter() - started) / (repeat * len(judges))


def main() -> None:
    verifiers = {domain.value: verifier for domain, verifier in load_verifiers().items()}
    for verifier in verifiers.values():
        verifier.warm_up()
    math = MathVerifier()
    row = {"instructions": [{"id": "length_constraints:number_sentences",
                             "arguments": {"num_sentences": 3, "relation": "at least"}},
                            {"id": "change_case:english_lowercase", "arguments": {}}]}  # fmt: skip
    entry = {"question": "?", "answer": "2*3", "metadata": {"numbers": [2, 3], "target": 6}}
    kinds: dict[str, tuple[list[Judge], int]] = {
        "math, ordinary answers": (math_items(math, ORDINARY), 20),
        "math-verify alone, the same": (math_verify_alone(ORDINARY), 2),
        "math, wrong expressions": (math_items(math, WRONG), 2),
        "math, formulas for math-verify": (math_items(math, FORMULAS), 1),
        "stem, number": (
            items(verifiers["stem"], {"kind": "number", "answer": "9.81 m/s^2"}, r"\boxed{9.8 m/s^2}"),
            50,
        ),
        "stem, choice": (items(verifiers["stem"], {"kind": "choice", "answer": "B"}, "The answer is (B)."), 50),
        "instructions, 2 of 2000 characters": (items(verifiers["instruction-following"], row, "it is so. " * 200), 20),
        "logic, countdown": (items(verifiers["logic"], {"task": "countdown", "entry": entry}, "3*2"), 50),
    }
    for judges, _ in kinds.values():
        mean_milliseconds(judges, 1)
    measured: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(ROUNDS):
        for name, (judges, repeat) in kinds.items():
            measured[name].append(mean_milliseconds(judges, repeat))
    base = statistics.median(measured["math-verify alone, the same"])
    for name, figures in measured.items():
        middle = statistics.median(figures)
        print(
            f"{name:40} {middle:8.3f} ms an item, {1000 / middle:8.0f}/s, {base / middle:7.1f} times math-verify's rate"
        )


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
