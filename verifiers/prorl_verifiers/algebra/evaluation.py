"""The value of an expression: an exact fraction where that is cheap, else 60 digits at given values of its symbols.

Every operation is bounded before it runs (bits of fractions, magnitude of exponents, size of factorials), so that no
tree of the reader's size takes long: what would is `UnreadableError`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import mpmath

from prorl_verifiers.algebra.tree import (
    Call,
    Constant,
    Expression,
    Foreign,
    Number,
    Power,
    Product,
    Quotient,
    Sum,
    Symbol,
    TooCostlyError,
    UnreadableError,
)

MAX_BITS = 20_000
"""Of an exact numerator or denominator."""
MAX_EXPONENT_BITS = 100_000
"""Of a numeric result's magnitude: 2 to this power is the largest number that is computed."""
MAX_FACTORIAL = 2_000
"""Of exact factorials and binomials."""
_MAX_NUMERIC_FACTORIAL = 20_000


class NotFiniteError(Exception):
    """A division by zero, or a function where it has no finite value."""


class NotExactError(Exception):
    """The exact value is irrational, depends on a symbol, or has too many digits; not an error."""


def exact(expression: Expression) -> Fraction:  # noqa: PLR0911  (one case a node type)
    """Return the exact rational value.

    Raises:
        NotExactError: There is none, or it is too long.
        NotFiniteError: It divides by zero.
    """
    match expression:
        case Number(value):
            return value
        case Sum(terms):
            return _bounded(sum((exact(term) for term in terms), Fraction(0)))
        case Product(factors):
            product = Fraction(1)
            for factor in factors:
                product = _bounded(product * exact(factor))
            return product
        case Quotient(numerator, denominator):
            divisor = exact(denominator)
            if divisor == 0:
                raise NotFiniteError("a division by zero")
            return _bounded(exact(numerator) / divisor)
        case Power(base, exponent):
            return _exact_power(exact(base), exact(exponent))
        case Call("factorial", (argument,)):
            return _exact_factorial(exact(argument))
        case Call("binomial", (upper, lower)):
            return _exact_binomial(exact(upper), exact(lower))
        case Call("abs", (argument,)):
            return abs(exact(argument))
        case Call("floor", (argument,)):
            return Fraction(math.floor(exact(argument)))
        case Call("ceil", (argument,)):
            return Fraction(math.ceil(exact(argument)))
    raise NotExactError


def _bounded(value: Fraction) -> Fraction:
    if value.numerator.bit_length() > MAX_BITS or value.denominator.bit_length() > MAX_BITS:
        raise NotExactError
    return value


def _exact_power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        raise NotExactError
    if base == 0 and exponent <= 0:
        raise NotFiniteError("zero to a power that is not positive")
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if abs(exponent) * bits > MAX_BITS:
        raise NotExactError
    return base ** int(exponent)


def _exact_factorial(argument: Fraction) -> Fraction:
    if argument.denominator != 1 or argument < 0:
        raise NotFiniteError("the factorial of something that is no natural number")
    if argument > MAX_FACTORIAL:
        raise NotExactError
    return _bounded(Fraction(math.factorial(int(argument))))


def _exact_binomial(upper: Fraction, lower: Fraction) -> Fraction:
    if upper.denominator != 1 or lower.denominator != 1 or upper < 0 or lower < 0:
        raise NotExactError
    if upper > MAX_FACTORIAL:
        raise NotExactError
    return _bounded(Fraction(math.comb(int(upper), int(lower))))


class NumericEvaluator:
    """Evaluates trees with a fixed number of digits, complex where need be (principal values)."""

    def __init__(self, digits: int) -> None:
        self._context = mpmath.MPContext()
        self._context.dps = digits
        self._functions: Mapping[str, Callable[..., Any]] = self._make_functions()
        self._bits = int(digits * 3.32)
        self.ten = self._context.mpf(10)
        self.lost: int | None = None
        """The magnitude of the smallest part since this was last None that had no part in the result's digits: a term
        beside a far larger one, or an argument so near to zero that a function takes it for zero."""

    def value(self, expression: Expression, symbols: Mapping[str, Any]) -> Any:
        """Return the value as a number of this evaluator's context.

        Raises:
            NotFiniteError: It has none.
            UnreadableError: It would be too large to compute.
        """
        try:
            result = self._context.mpmathify(self._value(expression, symbols))
        except (ZeroDivisionError, ValueError, OverflowError) as error:
            raise NotFiniteError(str(error)) from error
        if not self._context.isfinite(result):
            raise NotFiniteError("an infinite value")
        return result

    def derivative(self, expression: Expression, variable: str, point: Mapping[str, Fraction]) -> Any:
        """Return the derivative by one symbol at a point, as a central difference over a quarter of the digits.

        Its error is of the square of that distance, and the same again of rounding: half of the digits are right. Of
        |u| it is the derivative for real u; branches are the principal ones.

        Raises:
            NotFiniteError: There is no value on one of the sides.
            UnreadableError: A value would be too large to compute.
        """
        step = Fraction(1, 10 ** (self._context.dps // 4))
        above, below = (self.value(expression, {**point, variable: point[variable] + shift}) for shift in (step, -step))
        return (above - below) * (step.denominator // 2)

    def forget_lost(self) -> None:
        """Begin anew with what `lost` notes."""
        self.lost = None

    def rounded(self, value: Any) -> Any:
        """Return a number of another evaluator's context as one of this."""
        return +self._context.convert(value)

    def _value(self, expression: Expression, symbols: Mapping[str, Any]) -> Any:  # noqa: PLR0911  (as above)
        context = self._context
        match expression:
            case Number(value):
                return context.mpf(value.numerator) / value.denominator
            case Symbol(name):
                return context.mpmathify(symbols[name])
            case Constant(name):
                if name == "infinity":
                    raise NotFiniteError("infinity within an expression")
                return {"pi": +context.pi, "e": +context.e, "i": context.j}[name]
            case Sum(terms):
                values = [self._value(term, symbols) for term in terms]
                self._note_lost_terms(values)
                return context.fsum(values)
            case Product(factors):
                return self._bounded(context.fprod([self._value(factor, symbols) for factor in factors]))
            case Quotient(numerator, denominator):
                return self._bounded(self._value(numerator, symbols) / self._value(denominator, symbols))
            case Power(base, exponent):
                below, raised = self._value(base, symbols), self._value(exponent, symbols)
                self._note_lost([raised], below=-self._bits // 3)
                if context.im(below) == 0 and context.re(below) < 0 and (root := _odd_root(exponent)) is not None:
                    return self._of_negative(below, root)
                return self._power(below, raised)
            case Call(function, arguments):
                values = [self._value(argument, symbols) for argument in arguments]
                self._note_lost(values, below=-self._bits // 3)
                return self._bounded(self._functions[function](*values))
            case Foreign():
                raise UnreadableError("a formula that is not read here")

    def _note_lost_terms(self, values: list[Any]) -> None:
        magnitudes = [self._context.mag(value) for value in values if value]
        if magnitudes:
            self._note_lost(values, below=max(magnitudes) - self._bits + 64)

    def _note_lost(self, values: list[Any], *, below: int) -> None:
        for value in values:
            if value and self._context.mag(value) < below:
                magnitude = int(self._context.mag(value))
                self.lost = magnitude if self.lost is None else min(self.lost, magnitude)

    def _bounded(self, value: Any) -> Any:
        if value and abs(self._context.mag(value)) > MAX_EXPONENT_BITS:
            raise TooCostlyError("a number with too many digits")
        return value

    def _power(self, base: Any, exponent: Any) -> Any:
        context = self._context
        if base == 0:
            if context.re(exponent) <= 0:
                raise NotFiniteError("zero to a power that is not positive")
            return context.zero
        if abs(exponent) * max(1, abs(context.mag(base)) + 4) > MAX_EXPONENT_BITS:
            raise TooCostlyError("a power with too many digits")
        return self._bounded(context.power(base, exponent))

    def _of_negative(self, base: Any, exponent: Fraction) -> Any:
        """Return the real value, so that a cube root of x is x^(1/3) for negative x, too."""
        size = self._power(-base, self._context.mpf(exponent.numerator) / exponent.denominator)
        return -size if exponent.numerator % 2 else size

    def _make_functions(self) -> Mapping[str, Callable[..., Any]]:
        context = self._context
        return {
            "sin": context.sin, "cos": context.cos, "tan": context.tan, "cot": context.cot, "sec": context.sec,
            "csc": context.csc, "arcsin": context.asin, "arccos": context.acos, "arctan": context.atan,
            "arccot": context.acot, "arcsec": context.asec, "arccsc": context.acsc, "sinh": self._small(context.sinh),
            "cosh": self._small(context.cosh), "tanh": self._small(context.tanh), "ln": self._log, "log": self._log,
            "exp": lambda value: self._power(+context.e, value), "sqrt": context.sqrt, "root": self._root,
            "abs": abs, "floor": context.floor, "ceil": context.ceil, "factorial": self._factorial,
            "binomial": self._binomial, "degrees": lambda value: value * context.pi / 180,
        }  # fmt: skip

    def _small(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def bounded(value: Any) -> Any:
            if abs(value) > MAX_EXPONENT_BITS:
                raise TooCostlyError("a function of a large number")
            return function(value)

        return bounded

    def _log(self, value: Any, base: Any = None) -> Any:
        if value == 0 or base in (0, 1):
            raise NotFiniteError("a logarithm without value")
        return self._context.ln(value) if base is None else self._context.ln(value) / self._context.ln(base)

    def _root(self, value: Any, degree: Any) -> Any:
        """Return the real root where there is one, so that the cube root of -8 is -2."""
        is_odd = degree == int(self._context.re(degree)) and int(self._context.re(degree)) % 2 == 1
        if degree == 0:
            raise NotFiniteError("a root of degree zero")
        if is_odd and self._context.im(value) == 0 and self._context.re(value) < 0:
            return -self._power(-value, 1 / degree)
        return self._power(value, 1 / degree)

    def _factorial(self, value: Any) -> Any:
        if abs(value) > _MAX_NUMERIC_FACTORIAL:
            raise TooCostlyError("a factorial of a large number")
        return self._context.factorial(value)

    def _binomial(self, upper: Any, lower: Any) -> Any:
        if max(abs(upper), abs(lower)) > _MAX_NUMERIC_FACTORIAL:
            raise TooCostlyError("a binomial of large numbers")
        return self._context.binomial(upper, lower)


def _odd_root(exponent: Expression) -> Fraction | None:
    """Return the exponent if it is a fraction with an odd denominator."""
    try:
        value = exact(exponent)
    except (NotExactError, NotFiniteError):
        return None
    return value if value.denominator % 2 == 1 and value.denominator > 1 else None
