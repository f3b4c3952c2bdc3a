"""Science answers made of expected ones, joins, units, words and other scripts, and what of them must earn nothing.

Two laws: an answer wins at most one of several expected answers that differ; and an answer that denies or doubts the
expected one, or says another beside it, wins none. What an answer without units computes to is its value: `12 – 6` says
6 and nothing beside it. It is worked out here by Python, which shares nothing with the verifier.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prorl_api.spec.values import AnswerFormat
from prorl_verifiers.stem.verifier import StemVerifier

QUANTITIES = (
    "5", "6", "12", "118", "1905", "-3", "0.75", "8.5", r"6.5 \times 10^{23}", "4e-19 J", "7 m", "7 km", "7 kg", "7 s",
    "7 N", "7 m/s", "7 m/s^2", "7 m^2", "7 Hz", "7 Bq", "7 rad/s", "7 Gy", "7 Sv", "7 K", "7 °C", "7 eV", "7 J",
    "7 mol", "7 mol/L", r"7 \Omega", "7 MeV/c^2", "7 J/(mol K)", "7 rpm", r"35\%", r"65^\circ", r"\$20", "9 apples",
    "9 electrons", "3 million", "2 dozen",
)  # fmt: skip
"""Expected quantities that differ, also where one side states no unit."""
OPTIONS: Mapping[str, str] = {"A": "iron", "B": "gold", "C": "3 m", "D": "none of these"}
_JOINS = (
    ", ", "; ", " ", r"\ ", r"\quad ", " or ", " and ", " to ", "-", " – ", "/", " : ", " = ", " < ", r" \ne ",
    r" \approx ", r" \pm ", r" \to ", " -> ", " → ", r" \Rightarrow ", "|", " & ", "\n", r"\\", r" \text{ or } ",
    r" \times ", r" \cdot ", "^", "_", r" \in ", "...", "~", r" \sim ", r" \cup ", " × ", " per ", " of ", " over ",
)  # fmt: skip
_WORDS = (
    " is wrong", " minus one", " not ", " million", " dozen", " squared", " cubed", " halves", " and a half",
    " times two", " or so", " at most", "at least ", "more than ", "less than ", "not ", "maybe ", " too many",
    " too few", r"\text{ rejected}", " (or 4)", "?", "!", "'", "> ", "< ", r"\neg ", r"\ne ", "twice ", "half of ",
    " short of ten", " percent less", " bananas", " zorks", r"\cancel", "~~", "❌ ", " pairs", " fold", "th", "e", "x",
    "i", "k", "M", r"\ldots ", r"\pi ", " 五", "٤", "或", " или ", "не ", "４", "\u202e", "²", "½",
)  # fmt: skip
_CHOICE_TEMPLATES = (
    "I would eliminate option {G}.", "Everything except {G}.", "Answer: {G} is impossible", "Answer: {G} ({O})",
    "Answer: {G}, {O}", "Answer: {G} / {O}", "The answer is {G} or {O}.", "The answer is not {G}.", "Not {G}",
    "If the answer is {G}, energy is lost.", "The answer is {O}, not {G}, or {G}.", "Answer: {G}?",
    "The answer is {G}. No, {O}.", "Answer: {G}\nor {O}", "{G} {O}", "{G} is wrong", r"\boxed{{G}, {O}}",
    r"\boxed{{G}} \boxed{{O}}", r"\boxed{\neg {G}}", r"\boxed{\text{not } {G}}", r"\boxed{{G}^c}", r"\boxed{{G}'}",
    r"\boxed{{G} \to {O}}", "<answer>{G} or {O}</answer>", "<answer>not {G}</answer>", "<think>The answer is {G}.",
    "答案不是{G}", "答案是{G}或{O}", "Ответ: не {G}", "Die Antwort ist nicht {G}.", "La réponse est {G} ou {O}.",
    "La respuesta no es {G}.", "Compare option {G} and option {O}.", "The naive answer is {G}.",
    "The student's answer is {G}.", "It is hard to see why the answer is {G}.", "Answer: ~~{G}~~",
    "The answer is {G}. On second thought, {O}.", "Option {G} is {W}.", "The answer is {G} ({W}).",
    "The {W} answer is {G}.", "I {W} option {G}.", "Answer: {G} is {W}", "Which is {W}, option {G}", "{G} vs {O}",
    "{G}{O}", "{O}{G}", "Neither {G} nor {O}",
)  # fmt: skip
_CHOICE_WORDS = (
    "wrong", "false", "rejected", "excluded", "unlikely", "impossible", "incorrect", "doubtful", "dismissed",
    "eliminated", "least likely", "ruled out", "worst", "invalid", "not right", "untrue", "contradicted", "refuted",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """An answer that earns what it must not."""

    law: str
    answer: str
    won: tuple[str, ...]


def faults(verifier: StemVerifier, *, number: int, seed: int) -> Iterator[Fault]:
    """Judge that many answers, a half of them quantities and a half choices."""
    chance = random.Random(seed)
    for index in range(number):
        yield from _of_quantity(verifier, chance) if index % 2 else _of_choice(verifier, chance)


def wins(verifier: StemVerifier, gold: str, answer: str) -> bool:
    """Tell whether the boxed quantity earns the reward."""
    row = {"answer": gold, "kind": "number"}
    return verifier.judge(row, AnswerFormat.BOXED, rf"\boxed{{{answer}}}").reward == 1.0


def _of_quantity(verifier: StemVerifier, chance: random.Random) -> Iterator[Fault]:
    golds = chance.sample(QUANTITIES, chance.choice((1, 1, 2, 2, 3)))
    pieces = [*golds, *(chance.choice(chance.choice((_JOINS, _WORDS))) for _ in range(chance.randint(1, 2)))]
    chance.shuffle(pieces)
    answer = "".join(pieces)
    asked = list(dict.fromkeys([*golds, *chance.sample(QUANTITIES, 4)]))
    won = tuple(gold for gold in asked if wins(verifier, gold, answer))
    values = {_number(gold) for gold in won}
    if len(won) > 1 and (len(values) > 1 or len({gold for gold in won if _unit(gold)}) > 1):
        yield Fault("wins two", answer, won)
    elif won and len(golds) > 1 and not _says_nothing_else(answer, won[0]):
        yield Fault("wins with another beside it", answer, won)


def _says_nothing_else(answer: str, gold: str) -> bool:
    """Tell whether the pieces of an answer make up one number: 0.75 and 5 are 0.755, 12 – 6 is 6."""
    return bool(re.search(rf"{re.escape(gold)}[0-9]", answer)) or computes_to(answer, gold)


def computes_to(answer: str, gold: str) -> bool:
    """Tell whether an answer is arithmetic on plain numbers whose value is the expected one.

    A whole number exactly, another within 1 %, as docs/verifiers.md has it. Where the expected number has no unit, one
    behind the answer adds nothing to it: `6.5e23 – 7 rad/s` is 6.5e23.
    """
    if _value(gold) is not None:
        unit = next((unit for unit in _UNITS if answer.endswith(f" {unit}")), "")
        answer = answer.removesuffix(unit)
    value, wanted = _value(answer), _value(gold)
    if value is None or wanted is None:
        return False
    if re.fullmatch(r"-?[0-9]+", gold):
        return value == wanted
    return abs(value - wanted) <= abs(wanted) / 100


_UNITS = sorted({text.partition(" ")[2] for text in QUANTITIES if re.fullmatch(r"7 \S.*", text)}, key=len, reverse=True)


def _value(text: str) -> float | None:
    """Return the value of plain arithmetic; None for anything else."""
    for sign, plain in _ARITHMETIC.items():
        text = text.replace(sign, plain)
    text = re.sub(r"\^\{([0-9]+)\}", r"**\1", text)
    text = re.sub(r"(?<=[0-9)])\s*pi", "*pi", text).strip()
    if not re.fullmatch(r"(?:[0-9.+*/() -]|pi)+", text) or re.search(r"[0-9]\s+[0-9]|\*\*[0-9]{3}|\*\*.*\*\*", text):
        return None
    try:
        return float(eval(text, {"__builtins__": {}}, {"pi": math.pi}))
    except (SyntaxError, TypeError, ArithmeticError):
        return None


_ARITHMETIC = {
    "–": "-", "−": "-", "×": "*", r"\times": "*", r"\cdot": "*", r"\pi": "pi", r"\quad": " ", r"\ ": " ",
}  # fmt: skip


def _of_choice(verifier: StemVerifier, chance: random.Random) -> Iterator[Fault]:
    gold, other = chance.sample(sorted(OPTIONS), 2)
    spoken = chance.choice((gold, gold, f"({gold})", f"**{gold}**", rf"\text{{{gold}}}", f"${gold}$"))
    template = chance.choice(_CHOICE_TEMPLATES)
    answer = template.replace("{G}", spoken).replace("{O}", other).replace("{W}", chance.choice(_CHOICE_WORDS))
    answer = chance.choice(("", "", "Let us see. ", "We compute it.\n", "So ", "Hence, ", "**")) + answer
    won = tuple(
        letter for letter in OPTIONS for choices in ({}, OPTIONS) if _chooses(verifier, letter, choices, answer)
    )
    if len(set(won)) > 1:
        yield Fault("wins two", answer, won)
    elif gold in won:
        yield Fault("wins although denied or doubted", answer, won)


def _chooses(verifier: StemVerifier, letter: str, choices: Mapping[str, str], answer: str) -> bool:
    row: dict[str, Any] = {"answer": letter, "kind": "choice", "choices": dict(choices)}
    return verifier.judge(row, AnswerFormat.TEXT, answer).reward == 1.0


def _number(gold: str) -> str:
    return re.sub(r"[^0-9.-].*", "", gold.lstrip("\\$"))


def _unit(gold: str) -> str:
    return gold.replace(_number(gold), "", 1).strip()
