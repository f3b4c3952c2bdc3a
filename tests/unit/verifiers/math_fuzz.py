"""Answers made of expected ones, separators, arrows, words and other scripts, and what of them must earn nothing.

Two laws: an answer wins at most one of several expected answers that differ; and an answer that says anything beside
the expected one (another answer, an arrow, a word of doubt) wins none.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from prorl_api.spec.values import AnswerFormat
from prorl_verifiers.math.verifier import MathVerifier

GOLDS = (
    "42", "17", "-3", r"\frac{5}{8}", "0.75", "6.5\\times 10^{23}", r"\sqrt{2}", r"\pi", r"\frac{\pi}{4}", "x^2", "e^3",
    "2+3i", "n!", "a+b", r"\ln 3", r"\sin x", r"\log_2 5", r"\binom{n}{2}", r"\frac{1}{2004!}", "2^{1000}", r"\infty",
    "(1,2)", "(2,1)", "[0,1)", "(0,1]", r"\{3,4\}", "3,4,5", r"(-\infty,4)\cup(6,\infty)", r"\emptyset", r"\mathbb{R}",
    "x>1", "x<1", r"-2\le x\le 3", "y=2x+1", "x^2+y^2=9", "x^2+1=0", "f(x)=f(-x)", "x=7,y=8", r"x=\pm 9",
    r"\begin{pmatrix}1\\2\\3\end{pmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"7\text{ cm}", r"7\text{ kg}",
    r"30\%", r"\$12.50", r"65^\circ", "9:15", "5:6", "110_2", r"x\equiv 1\pmod 3", r"k\pi, k\in\mathbb{Z}",
    r"\text{Friday}", "Monday", "B", "ABC", r"\sum_{k=1}^{10} k^3", r"\int_0^1 x^5 dx",
    r"\begin{cases}x&x>0\\-x&x\le 0\end{cases}",
)  # fmt: skip
"""Expected answers that differ, under every convention."""
_NAMES = frozenset({"B", "ABC"})
_SEPARATORS = (
    ", ", "; ", " ", r"\ ", r"\quad ", r" \text{ or } ", r" \text{ and } ", " or ", " and ", r"\\", " | ", " / ", " : ",
    " = ", " < ", r" \ne ", r" \approx ", r" \cup ", r" \cap ", r" \in ", r" \pm ", r" \vee ", "\n", " & ", r" \mid ",
    r" \sim ", r" \equiv ", r" \le ", r"\, ", "...", r"\ldots ",
)  # fmt: skip
_ARROWS = (
    r" \to ", r" \Rightarrow ", r" \iff ", r" \implies ", r" \Longrightarrow ", r" \mapsto ", r" \leftarrow ", " -> ",
    " => ", " → ", " ⇒ ", r" \rightarrow ", r" \therefore ", r" \because ", r" \leadsto ",
)  # fmt: skip
_WORDS = (
    r"\text{ is wrong}", r"\text{ (could also be 3)}", r"\text{not }", r"\text{maybe }", r"\text{, no: }", " is wrong",
    " minus one", " not ", "approximately ", r"\text{ is a guess}", r"\text{ if } x<0", r"\text{ unless }",
    r"\text{ instead of }", r"\text{ rejected}", r"\text{not sure: }", " million", " dozen", r"\text{ thousand}",
    r"\neg ", r"\not ", r"\cancel", "?", "'", r"\text{False: }", r"\ne ", "> ", "<", r"\approx ", r"\sim ",
)  # fmt: skip
_SCRIPTS = (
    "五", "٤٢", "४२", "или", "ou", "或", "не", "ではない", "はず", "не равно", "４２", "Ⅳ", "𝟒𝟐", "\u202e", "\u200b",
    r"\text{或}", r"\text{ou}", "ο", "х",
)  # fmt: skip
_TEMPLATES = (
    r"{O} \to {G}", r"{G} \text{ (} {O} \text{)}", "{O}, {G}", "{G}, {O}", r"\{{O}, {G}\}", "({O}, {G})", "[{O}, {G}]",
    r"{O} \text{ or } {G}", r"\text{not } {O} \text{ but } {G}", r"{O}\ ({G})", "{O} = {G}", "{G} = {O}", "{G}; {O}",
    r"\begin{cases}{O}\\{G}\end{cases}", r"\begin{pmatrix}{O}\\{G}\end{pmatrix}", r"\overline{{G}}",
    r"\cancel{{O}} {G}",
    r"{G} \text{ or } {G} \text{ or } {O}", r"{G} \Rightarrow {O}", r"\text{{O}, {G}}", r"{O} \text{, then } {G}",
    r"{G} \ldots", r"\ldots {G}", r"\left( {G}", r"{G} \right)", r"\underbrace{{O}}_{{G}}", r"\overset{{G}}{{O}}",
    r"{G} \text{ is not the answer}", r"{G}_{{O}}", r"{O} \cup {G}", r"{O} \approx {G}", r"{O} : {G}", r"{O} \in {G}",
    r"{G}\text{, }{O}", r"{O}\\{G}", r"{O} & {G}", r"\boxed{{O}} {G}", r"{G} \vee {O}", r"{G} < {O}", r"{G} \ne {O}",
    r"\text{True}", r"0=0", r"1=1", "x=x", r"\text{any}", r"{G} \text{ for } x>0", r"\{x : {G}\} \cup {O}",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """An answer that earns what it must not."""

    law: str
    answer: str
    won: tuple[str, ...]


def faults(verifier: MathVerifier, *, number: int, seed: int) -> Iterator[Fault]:
    """Judge that many answers, half of them assembled at random and half from templates."""
    chance = random.Random(seed)
    for index in range(number):
        if index % 2:
            gold, other = chance.sample(GOLDS, 2)
            if {gold, other} & _NAMES:  # `ABC = 42` names the answer
                continue
            answer = chance.choice(_TEMPLATES).replace("{G}", gold).replace("{O}", other)
            involved, is_tainted = [gold, other], True
        else:
            answer, involved, is_tainted = _assembled(chance)
        asked = list(dict.fromkeys([*involved, *chance.sample(GOLDS, 4)]))
        won = tuple(gold for gold in asked if wins(verifier, gold, answer))
        if len(won) > 1:
            yield Fault("wins two", answer, won)
        elif won and is_tainted and not _is_fair(answer, won[0]):
            yield Fault("wins with more than the answer", answer, won)


def wins(verifier: MathVerifier, gold: str, answer: str) -> bool:
    """Whether the boxed answer earns the reward."""
    return verifier.judge({"answer": gold}, AnswerFormat.BOXED, rf"\boxed{{{answer}}}").reward == 1.0


def _assembled(chance: random.Random) -> tuple[str, list[str], bool]:
    """Two to five pieces side by side, at least one an expected answer; tainted if another is no separator."""
    golds = chance.sample(GOLDS, chance.choice((1, 1, 2, 2, 3)))
    if len(golds) > 1 and _NAMES & set(golds):  # as above
        return _assembled(chance)
    kinds = (_SEPARATORS, _ARROWS, _WORDS, _SCRIPTS)
    others = [chance.choice(chance.choice(kinds)) for _ in range(chance.randint(1, 3))]
    pieces = [*golds, *others]
    chance.shuffle(pieces)
    is_tainted = len(golds) > 1 or any(piece not in _SEPARATORS for piece in others)
    return "".join(pieces), golds, is_tainted


def _is_fair(answer: str, gold: str) -> bool:
    """Whether the rest of the answer is nothing but layout."""
    rest = answer.replace(gold, "", 1)
    for separator in (r"\quad", r"\ ", r"\,", "\u200b"):
        rest = rest.replace(separator, "")
    return not rest.strip()
