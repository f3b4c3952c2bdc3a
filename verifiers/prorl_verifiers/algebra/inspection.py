"""What an expression holds."""

from __future__ import annotations

from prorl_verifiers.algebra.tree import Call, Constant, Expression, Power, Product, Quotient, Sum, Symbol


def symbols_of(expression: Expression) -> frozenset[str]:
    """Return the names of all symbols in it."""
    match expression:
        case Symbol(name):
            return frozenset((name,))
        case Sum(parts) | Product(parts) | Call(_, parts):
            return frozenset().union(*(symbols_of(part) for part in parts))
        case Quotient(left, right) | Power(left, right):
            return symbols_of(left) | symbols_of(right)
    return frozenset()


def holds_constant(expression: Expression, constant: str) -> bool:
    """Tell whether `pi`, `e`, `i` or `infinity` is anywhere in it."""
    match expression:
        case Constant(name):
            return name == constant
        case Sum(parts) | Product(parts) | Call(_, parts):
            return any(holds_constant(part, constant) for part in parts)
        case Quotient(left, right) | Power(left, right):
            return holds_constant(left, constant) or holds_constant(right, constant)
    return False


def contains_infinity(expression: Expression) -> bool:
    """Tell whether it has an infinity anywhere."""
    return holds_constant(expression, "infinity")
