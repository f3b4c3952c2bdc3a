r"""One spelling for each piece of mathematics: Unicode signs, layout commands and other notations as plain LaTeX.

Only what has a single meaning is rewritten here. All patterns are linear in the text's length.
"""

from __future__ import annotations

import re
import unicodedata

from prorl_verifiers.algebra.tree import UnreadableError

_SIGNS = {
    "−": "-", "–": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "÷": r"\div ", "≤": r"\le ", "≥": r"\ge ",
    "⩽": r"\le ", "⩾": r"\ge ", "≠": r"\ne ", "π": r"\pi ", "∞": r"\infty ", "√": r"\sqrt ", "∛": r"\sqrt[3]",
    "∜": r"\sqrt[4]", "°": r"^{\circ}", "∪": r"\cup ", "±": r"\pm ", "∈": r"\in ", "θ": r"\theta ", "α": r"\alpha ",
    "β": r"\beta ", "γ": r"\gamma ", "λ": r"\lambda ", "φ": r"\phi ", "ω": r"\omega ", "∅": r"\emptyset ",
    "\u00a0": " ", "\u2009": " ", "\u202f": " ", "€": r"\euro ", "£": r"\pounds ", "ℝ": r"\mathbb{R}",
    "<=": r"\le ", ">=": r"\ge ",
    "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}", "≡": r"\equiv ", "…": r"\ldots ", "⟨": "(", "⟩": ")", "∖": r"\setminus ",
}  # fmt: skip
_SIGN = re.compile("|".join(map(re.escape, _SIGNS)))
_ROOT_OF_NUMBER = re.compile(r"([√∛∜])\s*([0-9]+(?:\.[0-9]+)?)")
_VULGAR = re.compile("[¼½¾⅐-⅞]")
_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿ"
_RAISED_RUN = re.compile(f"[{_RAISED}]+")
_LOWERED = "₀₁₂₃₄₅₆₇₈₉"
_LOWERED_RUN = re.compile(f"[{_LOWERED}]+")
_PLAIN = str.maketrans(_RAISED + _LOWERED, "0123456789+-()n0123456789")
_DOTS = re.compile(r"(?<!\.)\.\.\.(?!\.)")
_DEGREE_LETTER = re.compile(r"(?<=[0-9])\^\s*(?:\{\s*o\s*\}|o)(?![A-Za-z0-9])")
_ARRAY = re.compile(r"\\begin\s*\{array\}\s*\{[lcr| ]*\}|(\\end)\s*\{array\}")
_INVISIBLE = re.compile(r"\\text\s*\{\s*\.?\s*\}$|\\[hv]?phantom\s*\{[^{}]*\}|\\[hv]space\*?\s*\{[^{}]*\}")
_COLOUR = re.compile(r"\\textcolor\s*\{[A-Za-z]+\}|\\color\s*\{[A-Za-z]+\}")
_LOOK = re.compile(
    r"\\(?:underline|fbox|boxed|ensuremath|mathit|mathsf|textsf|textnormal|boldsymbol|bm|bf|rm|it|sf|em|large|Large"
    r"|normalsize|small|left|right|bigl|bigr|Bigl|Bigr|big|Big|bigg|Bigg|displaystyle|textstyle|limits|nolimits)"
    r"(?![A-Za-z])"
)
_ROMAN = re.compile(r"\\(?:mathrm|text|rm)\s*(?:\{\s*([ei])\s*\}| ([ei])(?![A-Za-z]))")
_PLAIN_IN_TEXT = re.compile(r"\\(?:text|mathrm|textbf|mbox)\s*\{\s*([-+]?[0-9][0-9.,]*|\^\{\\circ\}\s*[CF]?)\s*\}")
_BOLD = re.compile(r"\\mathbf\s*\{\s*([A-Za-z]|[-+]?[0-9][0-9.,]*)\s*\}")
_CURRENCY = re.compile(r"\\text\s*\{\s*\\\$\s*\}")
_EMPTY_GROUP = re.compile(r"\{\s*\}(?!\s*[_^])")
_CHOOSE = re.compile(r"\{([^{}]{1,40})\\choose(?![A-Za-z])([^{}]{1,40})\}")
_DIGITS = r"(?:\{\s*([0-9]{1,4})\s*\}|([0-9]{1,4}))"
_LETTER = r"(?:([CAP])|\\(?:mathrm|text|rm)\s*\{\s*([CAP])\s*\})"
# Before the letter, behind it from below, behind it from above, and as a function.
_CHOSEN = re.compile(
    rf"(?:\{{\s*\}}\s*|(?<![A-Za-z0-9}})\]]))[_^]{_DIGITS}\s*{_LETTER}\s*_{_DIGITS}"
    rf"|(?<![A-Za-z0-9\\]){_LETTER}\s*_{_DIGITS}\s*\^{_DIGITS}"
    rf"|(?<![A-Za-z0-9\\]){_LETTER}\s*\^{_DIGITS}\s*_{_DIGITS}"
    r"|(?<![A-Za-z0-9\\])(C)\(\s*([0-9]{1,4})\s*,\s*([0-9]{1,4})\s*\)"
)
_NUMBER_SETS = re.compile(r"\\mathbb\s*([RZN])(?![A-Za-z])|\\(?:mathbf|bf|Bbb)\s*\{\s*([RZN])\s*\}")
_OVERLINE = re.compile(r"([0-9]+)\.([0-9]*)\\overline\s*\{([0-9]+)\}")
_DOTTED = re.compile(r"([0-9]+)\.([0-9]*)\\dot\s*\{?([0-9])\}?(?:([0-9]*)\\dot\s*\{?([0-9])\}?)?(?![0-9])")
_PERIOD = re.compile(r"(?<![0-9])([0-9]+)\.\(([0-9]{1,30})\)")
_GOES_ON = re.compile(r"(?<![0-9.])([0-9]{1,20})\.([0-9]{2,60})\s*\\(?:ldots|cdots|dots)(?![A-Za-z])")


def respell(text: str) -> str:
    """Return the same mathematics in one spelling. Never raises."""
    text = _ROOT_OF_NUMBER.sub(lambda match: f"{match.group(1)}{{{match.group(2)}}}", text)
    text = _SIGN.sub(lambda match: _SIGNS[match.group()], text)
    text = _VULGAR.sub(_as_fraction, text)
    text = with_exponents(text)
    text = _LOWERED_RUN.sub(lambda match: f"_{{{match.group().translate(_PLAIN)}}}", text)
    text = _DOTS.sub(r"\\ldots ", text)
    text = _DEGREE_LETTER.sub(r"^{\\circ}", text)
    if "\\" not in text and "_" not in text and "C(" not in text:
        return text
    text = _INVISIBLE.sub("", text)
    text = _ARRAY.sub(lambda match: (match.group(1) or r"\begin") + "{pmatrix}", text)
    text = _CURRENCY.sub(r"\\$", text)
    text = _ROMAN.sub(lambda match: f"{{{match.group(1) or match.group(2)}}}", text)
    text = _BOLD.sub(r"{\1}", _PLAIN_IN_TEXT.sub(r"\1", text))
    text = _LOOK.sub("", _COLOUR.sub("", text))
    text = _EMPTY_GROUP.sub("", text)
    text = _CHOOSE.sub(r"\\binom{\1}{\2}", text)
    text = _NUMBER_SETS.sub(lambda match: rf"\mathbb{{{match.group(1) or match.group(2)}}}", text)
    return _CHOSEN.sub(_as_binomial, text)


def with_exponents(text: str) -> str:
    """Return the text with raised digits and signs (10⁴) as exponents in braces."""
    return _RAISED_RUN.sub(lambda match: f"^{{{match.group().translate(_PLAIN)}}}", text)


def exact_decimals(text: str) -> str:
    r"""Repeating decimals (`0.\overline{3}`, `0.\dot{3}`, `0.(3)`, `0.333\ldots`) as fractions.

    Raises:
        UnreadableError: The period is too long.
    """
    if "." not in text:
        return text
    text = _OVERLINE.sub(lambda match: _repeating(*match.groups()), text)
    text = _DOTTED.sub(_of_dots, text)
    text = _PERIOD.sub(lambda match: _repeating(match.group(1), "", match.group(2)), text)
    return _GOES_ON.sub(_that_goes_on, text)


def _as_fraction(match: re.Match[str]) -> str:
    upper, _, lower = unicodedata.normalize("NFKC", match.group()).partition("\u2044")
    return rf"\frac{{{upper}}}{{{lower}}}"


def _as_binomial(match: re.Match[str]) -> str:
    r"""Both `C_{10}^3` and `C^{10}_3` are written for ten choose three, and A or P for its ordered choices."""
    found = [group for group in match.groups() if group is not None]
    letter = next(group for group in found if group.isalpha())
    lower, upper = sorted(int(group) for group in found if group.isdigit())
    chosen = rf"\binom{{{upper}}}{{{lower}}}"
    return chosen if letter == "C" else rf"({chosen}\cdot {lower}!)"


def _repeating(whole: str, fixed: str, period: str) -> str:
    if len(fixed) + len(period) > 60:
        raise UnreadableError("a long repeating decimal")
    denominator = (10 ** len(period) - 1) * 10 ** len(fixed)
    numerator = int(whole + fixed + period) - int(whole + fixed)
    return rf"(\frac{{{numerator}}}{{{denominator}}})"


def _of_dots(match: re.Match[str]) -> str:
    whole, fixed, first, between, last = match.groups()
    return _repeating(whole, fixed, first + (between or "") + (last or ""))


def _that_goes_on(match: re.Match[str]) -> str:
    """Return a decimal whose digits end with at least two full periods.

    Any other is no exact number, and stays as it is.
    """
    whole, digits = match.groups()
    for length in range(1, len(digits) // 2 + 1):
        period = digits[-length:]
        if digits.endswith(period * 2) and period.strip("09"):
            start = len(digits) - 2 * length
            while digits[:start].endswith(period):
                start -= length
            # What remains of a period before the first full one belongs to it: 0.2323 2 is no such case, 0.123123 is.
            return _repeating(whole, digits[:start], period)
    return match.group()
