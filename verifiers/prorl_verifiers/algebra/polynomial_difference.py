"""Whether two answers are polynomials that certainly differ, so that no slower checker need be asked.

An ordinary wrong answer to "expand this" is such a polynomial, and simplifying the difference costs math-verify about
a hundred times what comparing coefficients does. Only what leaves no room for another reading is decided here: at
least two powers of variables in a sum. A lone term may be a number with a unit (`3m`), which math-verify drops.
"""

from __future__ import annotations

from fractions import Fraction

from prorl_verifiers.algebra.evaluation import NotFiniteError, symbols_of
from prorl_verifiers.algebra.polynomials import Polynomial, expand
from prorl_verifiers.algebra.tree import Expression, UnreadableError

_VARIABLES = frozenset("abcnpqrstuvwxyz")
"""Letters that nobody reads as a constant, a unit of a sum, a differential or a function."""
_ROUNDED = Fraction(1, 10**5)
"""Coefficients closer than this, of the larger one's size, may be roundings of each other."""


def are_different_polynomials(left: Expression, right: Expression) -> bool:
    """Whether both are polynomials in the same variables, or one is and the other a number, and they clearly differ.

    The answer False says nothing.
    """
    names = symbols_of(left) | symbols_of(right)
    if not names or not names <= _VARIABLES:
        return False
    try:
        first, second = expand(left), expand(right)
    except (UnreadableError, NotFiniteError):
        return False
    if not all(_is_number(side) or _is_sum_of_powers(side) for side in (first, second)):
        return False
    if not (_is_number(first) or _is_number(second)) and _names(first) != _names(second):
        return False
    return any(
        _differ(first.get(monomial, Fraction(0)), second.get(monomial, Fraction(0))) for monomial in first | second
    )


def _is_number(polynomial: Polynomial) -> bool:
    return polynomial.keys() <= {()}


def _is_sum_of_powers(polynomial: Polynomial) -> bool:
    return sum(monomial != () for monomial in polynomial) > 1


def _names(polynomial: Polynomial) -> set[str]:
    return {name for monomial in polynomial for name, _ in monomial}


def _differ(left: Fraction, right: Fraction) -> bool:
    return abs(left - right) > _ROUNDED * max(abs(left), abs(right))
