r"""Recursive descent over tokens to an expression tree. It computes nothing and guesses nothing.

What people read in two ways is refused: `1/2x`, `\sqrt12`, `x^-y!`. Depth and token count are bounded.
"""

from __future__ import annotations

from fractions import Fraction

from prorl_verifiers.algebra.cursor import (
    ALIASES,
    CONSTANT_WORDS,
    END,
    ENGLISH_WORDS,
    FUNCTION_WORDS,
    GREEK,
    TRIGONOMETRIC,
    Cursor,
    letter,
    mixed,
    times,
)
from prorl_verifiers.algebra.tokens import Token
from prorl_verifiers.algebra.tree import (
    Call,
    Constant,
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

MAX_DEPTH = 40
_FUNCTION_LETTERS = frozenset("fghFGH")
_ACCENTS = {"vec": "vec", "bar": "bar", "overline": "bar", "hat": "hat", "tilde": "tilde", "overrightarrow": "vec"}
_TEN = Number(Fraction(10))
_CLOSING = {"(": ")", "[": "]", "{": "}"}


def parse_expression(tokens: list[Token]) -> Expression:
    """Return the tree of all tokens.

    Raises:
        UnreadableError: They are not one expression of the grammar.
    """
    parser = _Parser(tokens)
    expression = parser.sum()
    if parser.peek() is not END:
        raise UnreadableError(f"unexpected {parser.peek().text!r}")
    return expression


class _Parser(Cursor):
    def __init__(self, tokens: list[Token]) -> None:
        super().__init__(tokens)
        self._depth = 0
        self._open_bars = 0

    def sum(self) -> Expression:
        """`term (+|-) term ...`, with leading signs."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise UnreadableError(f"nested more than {MAX_DEPTH} deep")
        terms = [self._signed_term()]
        while self.peek().text in ("+", "-"):
            terms.append(self._signed_term())
        self._depth -= 1
        return terms[0] if len(terms) == 1 else Sum(tuple(terms))

    def _signed_term(self) -> Expression:
        is_negative = False
        for _ in range(3):  # `a + -b` is read, `a +-+- b` is not
            if self.accept("-"):
                is_negative = not is_negative
            elif not self.accept("+"):
                break
        term = self._product()
        return negated(term) if is_negative else term

    def _product(self) -> Expression:
        result = self._implicit_product()
        while True:
            if self.accept("*", r"\cdot", r"\times"):
                if self.peek().text == "*":
                    raise UnreadableError("'**' in a place without meaning")
                result = times(result, self._signed_factor())
            elif self.accept("/", r"\div"):
                divisor_is_grouped = self.peek().text in ("(", "{")
                divisor = self._signed_factor(is_divisor=True)
                if self._starts_factor() and not divisor_is_grouped:
                    raise UnreadableError("a product without sign behind a slash reads in two ways")
                if self._starts_factor():
                    raise UnreadableError("a product without sign behind a divisor reads in two ways")
                result = Quotient(result, divisor)
            else:
                return result

    def _signed_factor(self, *, is_divisor: bool = False) -> Expression:
        if self.accept("-"):
            return negated(self._signed_factor(is_divisor=is_divisor))
        return self._power() if is_divisor else self._implicit_product()

    def _implicit_product(self) -> Expression:
        """Factors side by side; an integer before a fraction of integers is a mixed number."""
        first = self._power()
        if isinstance(first, Number) and first.value == 0 and self._starts_factor():
            raise UnreadableError("anything behind a bare zero")
        if isinstance(first, Number) and self.peek().text == r"\frac":
            fraction = self._power()
            first = mixed(first, fraction)
        factors = [first]
        while self._starts_factor():
            if self.peek().kind == "number":
                raise UnreadableError("two numbers side by side")
            if isinstance(factors[-1], Number) and self._is_number_in_parentheses():
                raise UnreadableError("a number in parentheses behind a number")
            factors.append(self._power())
        return factors[0] if len(factors) == 1 else Product(tuple(factors))

    def _is_number_in_parentheses(self) -> bool:
        texts = [self.peek(ahead).text for ahead in range(3)]
        return texts[0] == "(" and self.peek(1).kind == "number" and texts[2] == ")"

    def _starts_factor(self) -> bool:
        token = self.peek()
        if token.kind in ("number", "word"):
            return True
        if token.kind == "command":
            return token.text not in (r"\cdot", r"\times", r"\div", r"\}", "\\,", r"\%", r"\rfloor", r"\rceil")
        if token.text == "|":
            return self._open_bars == 0
        return token.text in ("(", "[", "{")

    def _power(self) -> Expression:
        base = self._postfix(self._atom())
        if self.peek().text == "^" or (self.peek().text == "*" and self.peek(1).text == "*"):
            self.position += 1 if self.peek().text == "^" else 2
            if self._is_degree():
                return self._postfix(Call("degrees", (base,)))
            exponent = self._exponent()
            base = self._postfix(Power(base, exponent))
            if self.peek().text == "^":
                raise UnreadableError("a double exponent without braces")
        return base

    def _is_degree(self) -> bool:
        if self.accept(r"\circ"):
            return True
        if self.peek().text == "{" and self.peek(1).text == r"\circ" and self.peek(2).text == "}":
            self.position += 3
            return True
        return False

    def _exponent(self) -> Expression:
        if self.accept("-"):
            return negated(self._exponent())
        if self.peek().text in ("{", "("):
            return self._group()
        return self._atom()

    def _postfix(self, expression: Expression) -> Expression:
        while self.accept("!"):
            if self.peek().text == "!":
                raise UnreadableError("a double factorial")
            expression = Call("factorial", (expression,))
        return expression

    def _group(self) -> Expression:
        closing = _CLOSING[self.take().text]
        bars, self._open_bars = self._open_bars, 0
        expression = self.sum()
        self._open_bars = bars
        self.expect(closing)
        return expression

    def _atom(self) -> Expression:
        token = self.peek()
        if token.text in ("(", "[", "{"):
            return self._group()
        if token.text == "|":
            return self._absolute()
        self.position += 1
        if token.kind == "number":
            return Number(Fraction(token.text))
        if token.kind == "word":
            return self._word(token)
        if token.kind == "command":
            return self._command(token)
        raise UnreadableError(f"unexpected {token.text!r}" if token is not END else "it ends too early")

    def _absolute(self) -> Expression:
        self.expect("|")
        self._open_bars += 1
        expression = self.sum()
        self._open_bars -= 1
        self.expect("|")
        return Call("abs", (expression,))

    def _word(self, token: Token) -> Expression:
        """Return a function's name, a constant, or letters side by side."""
        text = token.text
        if text in CONSTANT_WORDS:
            return Constant(CONSTANT_WORDS[text])
        if text in FUNCTION_WORDS:
            if self.peek().text not in ("(", "^") and text in ("abs", "exp", "sqrt"):
                raise UnreadableError(f"{text} without parentheses")
            return self._function(text)
        if len(text) == 1 and text in _FUNCTION_LETTERS and self.peek().text == "(":
            return self._unknown_function(text)
        if len(text) > 3 or text.lower() in ENGLISH_WORDS:
            raise UnreadableError(f"the word {text!r}")
        if len(text) > 1:  # an exponent or factorial behind them belongs to the last one
            letters = (Token("word", name, token.start + index, token.end) for index, name in enumerate(text))
            self.tokens[self.position - 1 : self.position] = letters
        return self._subscripted(text[0]) if len(text) == 1 else letter(text[0])

    def _unknown_function(self, name: str) -> Expression:
        """`f(...)` as a symbol of its own for each argument as written, so that f(x) and f(-x) stay apart."""
        start = self.position
        self._group()
        return Symbol(f"{name}{' '.join(token.text for token in self.tokens[start : self.position])}")

    def _command(self, token: Token) -> Expression:  # noqa: PLR0911  (one case a command)
        name = token.text[1:]
        if name == "frac":
            numerator = self._argument()
            return Quotient(numerator, self._argument())
        if name == "sqrt":
            return self._root()
        if name == "binom":
            upper = self._argument()
            return Call("binomial", (upper, self._argument()))
        if name in ("lfloor", "lceil"):
            expression = self.sum()
            self.expect(f"\\r{name[1:]}")
            return Call(name[1:], (expression,))
        if name in ("pi", "infty"):
            return Constant(CONSTANT_WORDS[name])
        if name in FUNCTION_WORDS:
            return self._function(name)
        if name in GREEK:
            return self._subscripted(name)
        if name in _ACCENTS:
            return self._accented(name)
        raise UnreadableError(f"the command {token.text}")

    def _accented(self, accent: str) -> Expression:
        r"""`\vec{a}` or `\bar z` as a symbol of its own."""
        has_braces = self.accept("{")
        token = self.take()
        if token.kind != "word" or len(token.text) != 1:
            raise UnreadableError("an accent over more than a letter")
        if has_braces:
            self.expect("}")
        return self._subscripted(f"{_ACCENTS[accent]} {token.text}")

    def _argument(self) -> Expression:
        r"""`{...}`, or one digit or letter, as LaTeX reads `\frac12`."""
        token = self.peek()
        if token.text == "{":
            return self._group()
        if token.kind == "number" and token.text.isdigit():
            digit, rest = token.text[0], token.text[1:]
            if rest:
                self.tokens[self.position] = Token("number", rest, token.start + 1, token.end)
                if len(rest) > 1:
                    raise UnreadableError("digits without braces")
            else:
                self.position += 1
            return Number(Fraction(digit))
        return self._atom()

    def _root(self) -> Expression:
        if self.accept("["):
            degree = self.sum()
            self.expect("]")
            return Call("root", (self._argument(), degree))
        if self.peek().kind == "number" and len(self.peek().text) > 1:
            raise UnreadableError(r"\sqrt before several digits without braces")
        return Call("sqrt", (self._group() if self.peek().text in ("(", "{") else self._atom(),))

    def _function(self, name: str) -> Expression:
        name = ALIASES.get(name, name)
        if name == "lg":
            return Call("log", (self._group() if self.peek().text in ("(", "{") else self._bare_argument(), _TEN))
        if name == "sqrt":
            return Call("sqrt", (self._group(),))
        base: Expression | None = None
        if name == "log" and self.accept("_"):
            base = self._argument()
        exponent: Expression | None = None
        if self.accept("^"):
            exponent = self._exponent()
        if exponent == Number(Fraction(-1)) and name in TRIGONOMETRIC:
            name, exponent = f"arc{name}", None
        argument = self._group() if self.peek().text in ("(", "{", "[") else self._bare_argument()
        if name == "log":
            # Without a base it is read as the natural one, which both sides then share.
            call: Expression = Call("log", (argument,) if base is None else (argument, base))
        else:
            call = Call(name, (argument,))
        return call if exponent is None else Power(call, exponent)

    def _bare_argument(self) -> Expression:
        r"""Return what `\sin 2x` applies to: factors side by side up to a sign or another function."""
        if self.peek().text == "-":
            raise UnreadableError("a function of a minus sign")
        factors = [self._power()]
        while self._starts_factor() and not self._starts_function():
            if self.peek().text in ("(", "[", "{"):
                raise UnreadableError("a function before a product with parentheses reads in two ways")
            factors.append(self._power())
        return factors[0] if len(factors) == 1 else Product(tuple(factors))

    def _starts_function(self) -> bool:
        return self.peek().text.removeprefix("\\") in FUNCTION_WORDS

    def _subscripted(self, name: str) -> Expression:
        if self.peek().text != "_":
            return letter(name)
        self.position += 1
        if self.peek().text != "{":
            return Symbol(f"{name}_{self.take().text}")
        parts: list[str] = []
        while not self.accept("}"):
            if self.peek() is END:
                raise UnreadableError("a subscript does not end")
            parts.append(self.take().text)
        return Symbol(f"{name}_{' '.join(parts[1:])}")
