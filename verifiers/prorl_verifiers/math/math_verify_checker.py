"""The other checker: math-verify's grammar and comparison, for single formulas, behind time limits.

It is asked about formulas that the own reader keeps as text (sums, integrals, limits, ambiguous products), never about
a whole answer: its extraction takes a number out of any text and drops the rest. So its grammar is called itself, which
reads to the end or not at all, and what it finds equal must also agree in value: two numbers relatively, formulas with
variables at points, because six decimals say nothing about small numbers.

For a worker's main thread only: the time limits are SIGALRM (they also cancel any alarm set around them), and they do
not work in threads. They are the first line; the deadline from outside is the second, because a bare `except:` deep in
sympy can swallow them. The comparison is asymmetric: the expected formula comes first.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

TIMEOUT_SECONDS = 2
"""For parsing, and for each comparison; whole seconds, as SIGALRM counts."""
_CACHED_FORMULAS = 4096
_DIGITS = 40
_TOLERANCE = 1e-30
_POINTS = (("0.7310585786", "1.9221997931"), ("2.3130352855", "0.4161468365"), ("1.2091995762", "3.0298832528"))
_WHOLE_POINTS = (("3", "4"), ("5", "2"), ("2", "7"))
"""Of the first variable and, in turn, of the others; whole where a sum's end may be one of them."""
_BARE_FRACTION = re.compile(r"\\frac\s*([0-9A-Za-z])")
_BARE_DENOMINATOR = re.compile(r"(\\frac\s*\{[^{}]*\})\s*([0-9A-Za-z])")
_BARE_ROOT = re.compile(r"\\sqrt\s*([0-9A-Za-z])")


class TooSlowError(Exception):
    """The checker gave up after its time limit."""


class RejectedError(Exception):
    """The checker cannot take this text as a formula. The message says why."""


class MathVerifyChecker:
    """Parses and compares; holds no state but caches."""

    def __init__(self) -> None:
        import math_verify
        from latex2sympy2_extended import latex2sympy
        from math_verify.errors import TimeoutException
        from math_verify.utils import timeout

        self._latex2sympy = latex2sympy
        self._verify = math_verify.verify
        self._timeout: type[BaseException] = TimeoutException
        self._limited = timeout(timeout_seconds=TIMEOUT_SECONDS)
        self.read = lru_cache(maxsize=_CACHED_FORMULAS)(self._read)

    def are_same(self, expected: str, answer: str) -> bool:
        """Tell whether two formulas are the same.

        Raises:
            TooSlowError: It takes too long to tell.
            RejectedError: One of them is not read.
        """
        left, right = self.read(expected), self.read(answer)
        if left.free_symbols != right.free_symbols:
            return False
        if not left.free_symbols:
            return bool(self._call(_agree, left, right))
        is_same = self._call(self._verify, left, right, timeout_seconds=TIMEOUT_SECONDS, raise_on_error=True)
        return bool(is_same and self._call(_agree_at_points, left, right))

    def _read(self, text: str) -> Any:
        """Return the formula as a sympy expression. Public as `read`, which remembers.

        Raises:
            TooSlowError: Parsing it takes too long.
            RejectedError: It is not read to its end, or is no finite number.
        """
        import sympy  # type: ignore[import-untyped]

        is_real = "i" not in text.replace(r"\int", "").replace(r"\pi", "")
        text = _BARE_DENOMINATOR.sub(r"\1{\2}", _BARE_FRACTION.sub(r"\\frac{\1}", text))
        text = _BARE_ROOT.sub(r"\\sqrt{\1}", text)
        expression = self._call(
            self._latex2sympy, text, is_real=is_real, convert_degrees=False, normalization_config=None
        )
        if not isinstance(expression, sympy.Expr):
            raise RejectedError("is no formula")
        if expression.has(sympy.nan, sympy.zoo, sympy.oo) and not expression.has(
            sympy.Sum, sympy.Product, sympy.Integral, sympy.Limit
        ):
            raise RejectedError("is not a finite number")
        return expression

    def _call(self, function: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return self._limited(function)(*arguments, **options)
        except self._timeout as error:
            raise TooSlowError from error
        except MemoryError:
            raise  # the worker's own memory may be to blame: the pool decides on a fresh worker
        except Exception as error:  # a parser that raises anything on junk
            raise RejectedError(f"raises {type(error).__name__}") from error


def _agree(left: Any, right: Any) -> bool:
    """Tell whether two formulas without variables have the same value, relative to its size."""
    left, right = left.doit(), right.doit()
    if left.is_Rational and right.is_Rational:
        return bool(left == right)
    one, other = complex_value(left), complex_value(right)
    return bool(abs(one - other) <= _TOLERANCE * max(abs(one), abs(other)))


def _agree_at_points(left: Any, right: Any) -> bool:
    """Tell whether two formulas have the same values wherever both have one, at one point or more."""
    import sympy

    names = sorted(left.free_symbols, key=str)
    has_ends = left.has(sympy.Sum, sympy.Product) or right.has(sympy.Sum, sympy.Product)
    num_compared = 0
    for point in _WHOLE_POINTS if has_ends else _POINTS:
        places = {name: _number(point[index % 2], index) for index, name in enumerate(names)}
        try:
            one, other = complex_value(left.subs(places)), complex_value(right.subs(places))
        except ValueError:
            continue
        if abs(one - other) > _TOLERANCE * max(abs(one), abs(other)):
            return False
        num_compared += 1
    return num_compared > 0


def _number(digits: str, index: int) -> Any:
    import sympy

    return sympy.Rational(digits) + index


def complex_value(expression: Any) -> Any:
    """Return the value as an mpmath number.

    Raises:
        ValueError: It has none.
    """
    import mpmath

    value = expression.doit().evalf(_DIGITS)
    if not value.is_number or not value.is_finite:
        raise ValueError("no finite value")
    real, imaginary = value.as_real_imag()
    with mpmath.workdps(_DIGITS):
        return mpmath.mpc(str(real), str(imaginary))
