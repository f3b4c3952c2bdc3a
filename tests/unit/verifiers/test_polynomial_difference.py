"""When the own checker calls two polynomials certainly different, and that math-verify never disagrees then."""

from __future__ import annotations

import random

import pytest

from prorl_verifiers.algebra import checker as algebra
from prorl_verifiers.math.math_verify_checker import MathVerifyChecker


def finding(gold: str, answer: str) -> algebra.Finding:
    expected = algebra.read_expected(gold).answer
    assert expected is not None
    return algebra.check(expected, answer)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("x^2+2x+1", "x^2+2x+3"),
        ("x^2+2x+1", "(x-1)(x+1)+3x"),  # x^2 + 3x - 1
        ("3.5", "x^2+2x+1"),
        ("x^2+2x+1", r"\frac{3}{7}"),
        ("a^2+ab", "a^2-ab"),
    ],
)
def test_sums_of_powers_with_other_coefficients_are_certainly_different(gold: str, answer: str) -> None:
    assert finding(gold, answer) is algebra.Finding.CONTRADICTORY


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("x^2+x", "y^2+y"),  # another name for the variable
        ("3m", "4m"),  # m may be metres
        ("x+1", "x+2"),  # one power only
        ("x^2+0.3333333x", r"x^2+\frac{x}{3}"),  # a rounded coefficient
        ("x=2-x+x^2", "x=3x-2+x^2"),  # equations, not values
        ("x^2+i", "x^2+x+3"),  # i may be the imaginary unit
    ],
)
def test_what_another_convention_may_accept_stays_open(gold: str, answer: str) -> None:
    assert finding(gold, answer) is algebra.Finding.DIFFERENT


@pytest.mark.parametrize("answer", ["(x+1)^2", "1+2x+x^2", "x(x+2)+1"])
def test_other_forms_of_the_same_polynomial_are_the_same(answer: str) -> None:
    assert finding("x^2+2x+1", answer) is algebra.Finding.SAME


def test_math_verify_accepts_nothing_that_is_certainly_different() -> None:
    chance, math_verify, num_decided = random.Random(7), MathVerifyChecker(), 0
    for _ in range(60):
        gold, answer = _random_polynomial(chance), _random_polynomial(chance)
        if finding(gold, answer) is algebra.Finding.CONTRADICTORY:
            num_decided += 1
            assert not math_verify.accepts(math_verify.read_expected(gold), answer), (gold, answer)
    assert num_decided >= 20


def _random_polynomial(chance: random.Random) -> str:
    """Two powers of x or more, sometimes times another factor."""
    terms = (f"{chance.randint(2, 9)}x^{power}" for power in range(chance.randint(2, 4), 0, -1))
    text = "+".join(terms) + f"-{chance.randint(1, 9)}"
    return chance.choice((text, f"({text})(x+{chance.randint(1, 9)})"))
