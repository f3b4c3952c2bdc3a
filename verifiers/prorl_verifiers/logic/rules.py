"""How far each reasoning-gym task's scorer may be trusted, as data: task -> rule -> why.

Measured with reasoning-gym 0.1.25 over all 105 tasks (all but `composite`), with constant answers such as "0",
"True", "[]" or "nan", and with the entry as it is after a round trip through JSON (as it travels here).

The round trip breaks arc_agi's and rearc's scorers alone (boards are tuples there, and lists behind JSON): they are not
asked. boxnet and rush_hour have no example answer; their metadata is strings and lists of strings only.

Scorers are built with each task's default configuration, since an entry does not carry its own. The scorers that read
it use it for partial credit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

PARTICIPATION = 0.05
"""Many scorers pay up to this for any answer that parses. It is not for being near: it counts as 0."""


class Rule(StrEnum):
    """How a task's score becomes a reward."""

    OWN = "own"
    """The task's own scorer, its partial credit above `PARTICIPATION` included."""
    STRICT = "strict"
    """The task's own scorer, but only full score counts."""
    EXACT = "exact"
    """Equal to the expected answer after trimming; the scorer is not asked."""
    REPAIRED = "repaired"
    """A judge of our own (`repairs`, `readings`); the library's scorer is not asked."""
    REFUSED = "refused"
    """Not judged here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRule:
    """A rule and the reason for it."""

    rule: Rule
    reason: str


_BASE = TaskRule(rule=Rule.EXACT, reason="the base scorer pays for any text that contains the answer")
_OWN = TaskRule(rule=Rule.OWN, reason="the task defines its own scorer")

EVALUATING_TASKS = (
    "binary_matrix",
    "countdown",
    "intermediate_integration",
    "n_queens",
    "polynomial_multiplication",
    "puzzle24",
    "simple_integration",
    "spiral_matrix",
    "string_insertion",
)
"""Their scorers hand the model's answer to `eval` or to sympy's `parse_expr`, so they are never called."""
_EVALUATES = "the scorer evaluates the answer as code"
_REPAIRED_REASONS = {
    **dict.fromkeys(EVALUATING_TASKS, _EVALUATES),
    "puzzle24": f"{_EVALUATES}, takes any four numbers for the given ones, and cuts 24.9 down to 24",
    "intermediate_integration": f"{_EVALUATES}; it pays 1.0 for the question itself, written as Integral(...)",
    "fraction_simplification": "the scorer takes the first fraction of any text",
    "game_of_life": "an empty board earns the share of dead cells, and one wrong cell of a hundred almost everything",
    "knights_knaves": 'the scorer pays 1.0 with "not" before it and other text behind, and 0.3 for any assignment',
    "number_sorting": "the scorer evaluates the entry's answer, and takes numbers that are near",
    "codeio": "the scorer pays for text around the answer, and compares floats letter by letter",
}

_PAYS_FOR_CONTAINING = "the scorer pays for text that contains the answer"
_CONTAINING_TASKS = ("manipulate_matrix", "tsumego")
_PAYS_FOR_SHARE = "the scorer pays for the share that is right: a spoilt answer earns 0.8 and more"
_SHARE_TASKS = ("emoji_mystery", "futoshiki", "mini_sudoku", "sentence_reordering", "sudoku")
_READ_REASONS = {
    "advanced_geometry": "the scorer drops what stands around a point's coordinates",
    "arc_agi": "the scorer does not know its own boards behind JSON, and overlooks lines that begin with a shape",
    "bitwise_arithmetic": "the scorer takes numbers of any base",
    "calendar_arithmetic": "the scorer pays for numbers that are near, and 1.0 for any number where -1 is expected",
    "chain_sum": "text that contains the answer earns the answer's share of it",
    "coin_flip": 'the scorer pays 1.0 for "0": any prefix of the answer',
    "complex_arithmetic": "the scorer pays for numbers that are near",
    "decimal_arithmetic": "the scorer takes numbers that differ in the last digit",
    "decimal_chain_sum": "the scorer takes digits of other scripts and underscores",
    "graph_color": "the scorer takes true for the colour 1, and vertices that are not there",
    "gsm_symbolic": 'the scorer takes the first number of any text: "not 5"',
    "number_format": "the scorer takes numbers that are near",
    "palindrome_partitioning": "the scorer takes the same partition many times",
    "polynomial_equations": '"0" earns 0.4 on average, and the scorer reads numbers out of any text',
    "pool_matrix": "the scorer takes numbers within 1 %, and pays 0.1 for any numbers of the right shape",
    "prime_factorization": "the scorer pays 0.5 for the number itself",
    "products": "text that contains the answer earns the answer's share of it",
    "propositional_logic": "any trivial letter earns 0.25, a premise said again 1.0, and any text counts as a letter",
    "rearc": "the scorer does not know its own boards behind JSON, and overlooks lines that begin with a shape",
    "rectangle_count": '"1" earns up to 0.32',
    "survo": "the scorer drops whatever is no number",
    "time_intervals": '"1" earns up to 0.67, and what follows the time is dropped',
    "word_sorting": "the scorer pays 1.0 with further words behind the right ones",
}

TASK_RULES: Mapping[str, TaskRule] = {
    **{task: TaskRule(rule=Rule.REPAIRED, reason=reason) for task, reason in _REPAIRED_REASONS.items()},
    **{task: TaskRule(rule=Rule.REPAIRED, reason=reason) for task, reason in _READ_REASONS.items()},
    "composite": TaskRule(rule=Rule.REFUSED, reason="a mixture; send the entry under its own task's name"),
    "game_of_life_halting": TaskRule(rule=Rule.EXACT, reason="the scorer pays 1.0 for any text"),
    "letter_jumble": TaskRule(rule=Rule.EXACT, reason="any further text leaves almost the full score"),
    "rubiks_cube": TaskRule(rule=Rule.STRICT, reason="any moves earn the share of stickers that are in place"),
    "word_ladder": TaskRule(rule=Rule.STRICT, reason="a ladder over words that do not exist earns up to 0.5"),
    **{task: TaskRule(rule=Rule.STRICT, reason=_PAYS_FOR_CONTAINING) for task in _CONTAINING_TASKS},
    **{task: TaskRule(rule=Rule.STRICT, reason=_PAYS_FOR_SHARE) for task in _SHARE_TASKS},
    "figlet_font": TaskRule(rule=Rule.STRICT, reason="any word of the right length earns up to 0.2"),
    "spell_backward": TaskRule(rule=Rule.EXACT, reason="the answer with text behind it earns 1.0"),
}
"""Every task whose rule does not follow from who wrote its scorer."""

OWN_TASKS: Mapping[str, TaskRule] = {
    "composition": TaskRule(rule=Rule.EXACT, reason="a chain has one result, and nothing else is worth anything"),
}
"""Tasks that are not of the library: rows of the manifest's `composition` sources."""

NON_FINITE_ANSWERS = ("nan", "inf")
"""An answer with one of these and without a letter in the expected answer is wrong: complex_arithmetic's scorer pays
1.0 for "nan", because `min(1.0, nan)` is 1.0."""


def rule_for(task: str, *, uses_base_scorer: bool) -> TaskRule:
    """Return the rule of a task that reasoning-gym knows."""
    return TASK_RULES.get(task, _BASE if uses_base_scorer else _OWN)
