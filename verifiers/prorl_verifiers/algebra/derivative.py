"""The derivative of an expression at a point, by carrying value and derivative through the tree together.

No symbolic derivative is built, so nothing grows. Principal branches as in `evaluation`; of |u| it is the derivative
for real u.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prorl_verifiers.algebra.evaluation import NotFiniteError, NumericEvaluator, symbols_of
from prorl_verifiers.algebra.tree import (
    MINUS_ONE,
    Call,
    Expression,
    Number,
    Power,
    Product,
    Quotient,
    Sum,
    Symbol,
    UnreadableError,
    negated,
)

_TWO = Number(MINUS_ONE.value * -2)
_ONE = Number(MINUS_ONE.value * -1)


def _call(name: str, argument: Expression) -> Expression:
    return Call(name, (argument,))


# The derivative of each function at its argument.
_OUTER: Mapping[str, Callable[[Expression], Expression]] = {
    "sin": lambda u: _call("cos", u),
    "cos": lambda u: negated(_call("sin", u)),
    "tan": lambda u: Power(_call("sec", u), _TWO),
    "cot": lambda u: negated(Power(_call("csc", u), _TWO)),
    "sec": lambda u: Product((_call("sec", u), _call("tan", u))),
    "csc": lambda u: negated(Product((_call("csc", u), _call("cot", u)))),
    "arcsin": lambda u: Quotient(_ONE, _call("sqrt", Sum((_ONE, negated(Power(u, _TWO)))))),
    "arccos": lambda u: Quotient(MINUS_ONE, _call("sqrt", Sum((_ONE, negated(Power(u, _TWO)))))),
    "arctan": lambda u: Quotient(_ONE, Sum((_ONE, Power(u, _TWO)))),
    "sinh": lambda u: _call("cosh", u),
    "cosh": lambda u: _call("sinh", u),
    "tanh": lambda u: Quotient(_ONE, Power(_call("cosh", u), _TWO)),
    "ln": lambda u: Quotient(_ONE, u),
    "exp": lambda u: _call("exp", u),
    "sqrt": lambda u: Quotient(_ONE, Product((_TWO, _call("sqrt", u)))),
    "abs": lambda u: Quotient(_call("abs", u), u),
}


class Differentiator:
    """Derivatives by one symbol; the others are constants."""

    def __init__(self, evaluator: NumericEvaluator, variable: str) -> None:
        self._evaluator = evaluator
        self._variable = variable

    def derivative(self, expression: Expression, point: Mapping[str, Any]) -> Any:
        """The derivative at the point.

        Raises:
            NotFiniteError: There is none.
            UnreadableError: It holds a function that is not differentiated here, or is too costly.
        """
        try:
            return self._derivative(expression, point)
        except (ZeroDivisionError, ValueError, OverflowError) as error:
            raise NotFiniteError(str(error)) from error

    def _derivative(self, expression: Expression, point: Mapping[str, Any]) -> Any:  # noqa: PLR0911  (one a node)
        if self._variable not in symbols_of(expression):
            return 0
        value = self._evaluator.value
        match expression:
            case Symbol():
                return 1
            case Sum(terms):
                return sum(self._derivative(term, point) for term in terms)
            case Product(factors):
                values = [value(factor, point) for factor in factors]
                total = 0
                for index, factor in enumerate(factors):
                    part = self._derivative(factor, point)
                    for other, other_value in enumerate(values):
                        part = part if other == index else part * other_value
                    total += part
                return total
            case Quotient(numerator, denominator):
                below = value(denominator, point)
                above = self._derivative(numerator, point) * below
                return (above - value(numerator, point) * self._derivative(denominator, point)) / below**2
            case Power(base, exponent):
                return self._of_power(base, exponent, point)
            case Call(name, (argument,)) if name in _OUTER:
                return value(_OUTER[name](argument), point) * self._derivative(argument, point)
        raise UnreadableError("a function that is not differentiated here")

    def _of_power(self, base: Expression, exponent: Expression, point: Mapping[str, Any]) -> Any:
        value = self._evaluator.value
        lowered = Power(base, Sum((exponent, MINUS_ONE)))
        result = value(exponent, point) * value(lowered, point) * self._derivative(base, point)
        if self._variable in symbols_of(exponent):
            logarithm = value(Product((Power(base, exponent), _call("ln", base))), point)
            result += logarithm * self._derivative(exponent, point)
        return result
