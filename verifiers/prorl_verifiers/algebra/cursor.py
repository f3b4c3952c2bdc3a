"""What the parser of expressions stands on: a position within tokens, and the names that it knows."""

from __future__ import annotations

from prorl_verifiers.algebra.tokens import Token
from prorl_verifiers.algebra.tree import (
    Constant,
    Expression,
    Number,
    Product,
    Quotient,
    Sum,
    Symbol,
    UnreadableError,
)

FUNCTION_WORDS = {
    "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "asin", "acos", "atan", "sinh", "cosh",
    "tanh", "ln", "lg", "log", "exp", "sqrt", "abs",
}  # fmt: skip
ENGLISH_WORDS = frozenset({
    "all", "and", "any", "are", "but", "for", "if", "in", "is", "it", "no", "nor", "not", "of", "on", "or",
    "so", "the", "to", "was", "yes", "yet",
})  # fmt: skip
"""Short words that nobody means as a product of their letters."""
TRIGONOMETRIC = {"sin", "cos", "tan", "cot", "sec", "csc"}
ALIASES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan"}
GREEK = {
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi",
    "rho", "sigma", "tau", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Sigma", "Phi", "Psi",
    "Omega", "ell", "hbar",
}  # fmt: skip
CONSTANT_WORDS = {"pi": "pi", "infinity": "infinity", "oo": "infinity", "infty": "infinity"}
END = Token("end", "", -1, -1)


class Cursor:
    """Tokens with a position that moves forward."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.position = 0

    def peek(self, ahead: int = 0) -> Token:
        """Return a token that is still to come; `END` behind the last one."""
        position = self.position + ahead
        return self.tokens[position] if position < len(self.tokens) else END

    def take(self) -> Token:
        """Return the next token, and on."""
        token = self.peek()
        self.position += 1
        return token

    def accept(self, *texts: str) -> bool:
        """Tell whether the next token is one of these; if so, on."""
        if self.peek().text in texts and self.peek() is not END:
            self.position += 1
            return True
        return False

    def expect(self, text: str) -> None:
        """On behind this token.

        Raises:
            UnreadableError: It is another one.
        """
        if not self.accept(text):
            raise UnreadableError(f"{text!r} expected, got {self.peek().text!r}")


def letter(name: str) -> Expression:
    """Return a symbol, or the constant of that name."""
    return Constant(name) if name in ("e", "i") else Symbol(name)


def times(left: Expression, right: Expression) -> Expression:
    """Return the product, flat."""
    factors = (*(left.factors if isinstance(left, Product) else (left,)), right)
    return Product(factors)


def mixed(whole: Number, fraction: Expression) -> Expression:
    """`3\\frac{1}{2}` as three and a half; a product where the fraction is not one of positive integers."""
    if (
        isinstance(fraction, Quotient)
        and isinstance(fraction.numerator, Number)
        and isinstance(fraction.denominator, Number)
    ):
        if whole.value.denominator == 1 and 0 < fraction.numerator.value < fraction.denominator.value:
            return Sum((whole, fraction))
        raise UnreadableError("a number before a fraction that is no mixed number")
    return Product((whole, fraction))
