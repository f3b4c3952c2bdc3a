"""Letters, numbers and powers side by side mean to the reader what they mean to Python, worked out in fractions."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from prorl_verifiers.algebra.evaluation import NumericEvaluator
from prorl_verifiers.algebra.reader import read
from prorl_verifiers.algebra.tree import Value

PLACES = {"a": Fraction(3, 2), "b": Fraction(-2), "x": Fraction(5, 3), "y": Fraction(7), "m": Fraction(-4, 3)}
Written = tuple[str, Fraction]
LETTERS = st.sampled_from(sorted(PLACES)).map(lambda name: (name, PLACES[name]))
NUMBERS = st.integers(2, 12).map(lambda number: (str(number), Fraction(number)))


def raised(part: Written, exponent: int, *, has_braces: bool) -> Written:
    return f"{part[0]}^{{{exponent}}}" if has_braces else f"{part[0]}^{exponent}", part[1] ** exponent


FACTORS = LETTERS | st.builds(raised, LETTERS, st.integers(2, 5), has_braces=st.booleans())


@st.composite
def terms(draw: st.DrawFn) -> Written:
    """A number or none, and letters side by side, each with its own exponent."""
    factors = draw(st.lists(FACTORS, min_size=1, max_size=3))
    separator = draw(st.sampled_from(("", " ", r" \cdot ")))
    value = Fraction(1)
    for _, factor in factors:
        value *= factor
    text = separator.join(written for written, _ in factors)
    if draw(st.booleans()):
        number, size = draw(NUMBERS)
        return f"{number}{text}", size * value
    return text, value


def sums(parts: st.SearchStrategy[Written]) -> st.SearchStrategy[Written]:
    def joined(left: Written, sign: str, right: Written) -> Written:
        return f"{left[0]} {sign} {right[0]}", left[1] + right[1] if sign == "+" else left[1] - right[1]

    return st.builds(joined, parts, st.sampled_from("+-"), parts)


def built(parts: st.SearchStrategy[Written]) -> st.SearchStrategy[Written]:
    def fraction(upper: Written, lower: Written) -> Written:
        return rf"\frac{{{upper[0]}}}{{{lower[0]}}}", upper[1] / lower[1]

    def product(factor: Written, inner: Written) -> Written:
        return f"{factor[0]}({inner[0]})", factor[1] * inner[1]

    return st.builds(fraction, sums(parts), parts.filter(lambda part: part[1] != 0)) | st.builds(
        product, FACTORS, sums(parts)
    )


EXPRESSIONS = st.recursive(terms(), built, max_leaves=6)


@given(written=EXPRESSIONS)
@settings(deadline=None, max_examples=400)
def test_a_formula_has_the_value_that_python_gives_it(written: Written) -> None:
    text, value = written
    answer = read(f"{text} + 1")  # letters alone are a word
    assert isinstance(answer, Value), text
    got = NumericEvaluator(40).value(answer.expression, PLACES)
    assert abs((got - 1) * value.denominator - value.numerator) <= 1e-25 * max(1, abs(value.numerator)), text
