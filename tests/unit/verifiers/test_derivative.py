"""The derivative at a point, against formulas worked by hand."""

from __future__ import annotations

from fractions import Fraction

import pytest

from prorl_verifiers.algebra.evaluation import NotFiniteError, NumericEvaluator
from prorl_verifiers.algebra.tree import Expression
from prorl_verifiers.logic.formulas import read_formula

DIGITS = 120


def formula(text: str) -> Expression:
    return read_formula(text, symbols={"x"}, with_functions=True)


@pytest.mark.parametrize(
    ("function", "derivative"),
    [
        ("x**5", "5*x**4"),
        ("sin(x)", "cos(x)"),
        ("tan(x)", "1 + tan(x)**2"),
        ("asin(x/3)", "1/sqrt(9 - x**2)"),
        ("atan(x)", "1/(1 + x**2)"),
        ("log(x)", "1/x"),
        ("exp(x**2)", "2*x*exp(x**2)"),
        ("x**x", "x**x*(log(x) + 1)"),
        ("sqrt(x)", "1/(2*sqrt(x))"),
        ("tanh(x)", "1 - tanh(x)**2"),
        ("log(Abs(x))", "1/x"),
        ("7", "0"),
    ],
)
@pytest.mark.parametrize("place", [Fraction(137, 100), Fraction(47, 100), Fraction(291, 100)])
def test_the_derivative_is_the_one_worked_by_hand(function: str, derivative: str, place: Fraction) -> None:
    evaluator, point = NumericEvaluator(DIGITS), {"x": place}
    wanted = evaluator.value(formula(derivative), point)
    assert abs(evaluator.derivative(formula(function), "x", point) - wanted) < 1e-45


def test_where_there_is_no_value_there_is_no_derivative() -> None:
    with pytest.raises(NotFiniteError):
        NumericEvaluator(DIGITS).derivative(formula("1/(x - x)"), "x", {"x": Fraction(2)})
