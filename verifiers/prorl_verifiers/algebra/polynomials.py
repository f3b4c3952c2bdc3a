"""Expand a formula into a polynomial with exact coefficients, bounded in terms and degree."""

from __future__ import annotations

from fractions import Fraction

from prorl_verifiers.algebra.evaluation import NotExactError, NotFiniteError, exact
from prorl_verifiers.algebra.inspection import symbols_of
from prorl_verifiers.algebra.tree import (
    Expression,
    Power,
    Product,
    Quotient,
    Sum,
    Symbol,
    UnreadableError,
)

Monomial = tuple[tuple[str, int], ...]
Polynomial = dict[Monomial, Fraction]
MAX_TERMS = 500
MAX_DEGREE = 200


def expand(expression: Expression) -> Polynomial:
    """Return the coefficients by monomial, without zeros.

    Raises:
        UnreadableError: It is no polynomial, or too large.
    """
    if not symbols_of(expression):
        return _without_zeros({(): _number(expression)})
    match expression:
        case Symbol(name):
            return {((name, 1),): Fraction(1)}
        case Sum(terms):
            total: Polynomial = {}
            for term in terms:
                for monomial, coefficient in expand(term).items():
                    total[monomial] = total.get(monomial, Fraction(0)) + coefficient
            return _without_zeros(total)
        case Product(factors):
            product: Polynomial = {(): Fraction(1)}
            for factor in factors:
                product = _multiplied(product, expand(factor))
            return product
        case Quotient(numerator, denominator) if not symbols_of(denominator):
            divisor = _number(denominator)
            if divisor == 0:
                raise UnreadableError("a division by zero")
            return {monomial: coefficient / divisor for monomial, coefficient in expand(numerator).items()}
        case Power(base, exponent):
            return _raised(expand(base), _number(exponent))
    raise UnreadableError("no polynomial")


def is_expanded(expression: Expression) -> bool:
    """Tell whether no product, quotient or power holds a sum: the question itself is no answer."""
    match expression:
        case Sum(terms):
            return all(is_expanded(term) for term in terms)
        case Product(parts):
            return not any(_holds_sum(part) for part in parts) or _is_negated_sum(expression)
        case Quotient(left, right) | Power(left, right):
            return not _holds_sum(left) and not _holds_sum(right)
    return True


def _is_negated_sum(product: Product) -> bool:
    """Tell whether it is `-(a + b)`, as subtraction is read."""
    sign, *rest = product.factors
    return not symbols_of(sign) and len(rest) == 1 and exact(sign) == -1 and is_expanded(rest[0])


def _holds_sum(expression: Expression) -> bool:
    match expression:
        case Sum():
            return bool(symbols_of(expression))
        case Product(parts):
            return any(_holds_sum(part) for part in parts)
        case Quotient(left, right) | Power(left, right):
            return _holds_sum(left) or _holds_sum(right)
    return False


def _number(expression: Expression) -> Fraction:
    try:
        return exact(expression)
    except (NotExactError, NotFiniteError) as error:
        raise UnreadableError("a coefficient or exponent that is no rational number") from error


def _raised(base: Polynomial, exponent: Fraction) -> Polynomial:
    if exponent.denominator != 1 or not 0 <= exponent <= MAX_DEGREE:
        raise UnreadableError("an exponent that is no small natural number")
    result: Polynomial = {(): Fraction(1)}
    for _ in range(int(exponent)):
        result = _multiplied(result, base)
    return result


def _multiplied(left: Polynomial, right: Polynomial) -> Polynomial:
    if len(left) * len(right) > MAX_TERMS**2:
        raise UnreadableError("too many terms")
    product: Polynomial = {}
    for one, one_coefficient in left.items():
        for other, other_coefficient in right.items():
            degrees = dict(one)
            for name, degree in other:
                degrees[name] = degrees.get(name, 0) + degree
            monomial = tuple(sorted(degrees.items()))
            product[monomial] = product.get(monomial, Fraction(0)) + one_coefficient * other_coefficient
    if len(product) > MAX_TERMS or any(sum(degree for _, degree in monomial) > MAX_DEGREE for monomial in product):
        raise UnreadableError("too many terms, or too high a degree")
    return _without_zeros(product)


def _without_zeros(polynomial: Polynomial) -> Polynomial:
    return {monomial: coefficient for monomial, coefficient in polynomial.items() if coefficient}
