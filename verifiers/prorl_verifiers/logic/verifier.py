"""The logic verifier: reasoning-gym's scorers, as far as `rules` trusts them, and a task of our own.

Row: `{"task": name, "entry": {question, answer, metadata}}`, the entry as reasoning-gym made it and JSON carried it.
A scorer that raises on the model's answer is the model's failure; one that raises on the expected answer too shows a
broken entry, which is `unsupported`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from prorl_api.spec.values import AnswerFormat
from prorl_api.wire.sandbox import Verdict
from prorl_verifiers.algebra.tree import UnreadableError
from prorl_verifiers.extraction import extract
from prorl_verifiers.judgement import FULL_REWARD, Judgement, shorten
from prorl_verifiers.logic.forms import has_form
from prorl_verifiers.logic.repairs import REPAIRS
from prorl_verifiers.logic.rules import (
    NON_FINITE_ANSWERS,
    OWN_TASKS,
    PARTICIPATION,
    Rule,
    TaskRule,
    rule_for,
)

MAX_ANSWER_CHARACTERS = 16384
"""The largest right answers (boards) have about 2 000; some scorers are quadratic."""

Scorer = Callable[..., float]


class LogicVerifier:
    """Judges reasoning-gym entries, and those of the toy world."""

    def __init__(self) -> None:
        from reasoning_gym.dataset import ProceduralDataset
        from reasoning_gym.factory import DATASETS, get_score_answer_fn

        self._base_scorer = ProceduralDataset.score_answer
        self._datasets: Mapping[str, tuple[type[Any], type[Any]]] = DATASETS
        self._scorer: Callable[[str], Scorer] = lru_cache(maxsize=None)(get_score_answer_fn)

    def warm_up(self) -> None:
        """Score one entry; most scorers cost nothing before their first use."""
        entry = {"question": "1 + 1?", "answer": "2", "metadata": {}}
        self.judge({"task": "chain_sum", "entry": entry}, AnswerFormat.TEXT, "2")

    def judge(self, row: Mapping[str, Any], answer_format: AnswerFormat, completion: str) -> Judgement:
        """Return the task's score under its rule."""
        fault = _fault(row)
        if fault:
            return Judgement.unsupported(fault)
        task, entry = row["task"], row["entry"]
        task_rule = OWN_TASKS.get(task) or self._library_rule(task)
        if task_rule is None:
            return Judgement.unsupported(f"reasoning-gym has no task {shorten(task)!r}")
        needs_answer = task_rule.rule is Rule.EXACT
        if task_rule.rule is Rule.REFUSED or (needs_answer and entry["answer"] is None):
            reason = "the entry's answer is null" if needs_answer else task_rule.reason
            return Judgement.unsupported(f"task {task!r}: {reason}")
        answer = extract(completion, answer_format)
        if answer is None:
            return Judgement.failed(Verdict.FORMAT_ERROR, f"no answer in the form {answer_format.value!r} was found")
        return self._apply(task, task_rule, entry, answer)

    def _library_rule(self, task: str) -> TaskRule | None:
        """Return the rule of one of reasoning-gym's tasks; None if it has no such task."""
        if task not in self._datasets:
            return None
        uses_base_scorer = getattr(self._datasets[task][0], "score_answer", None) is self._base_scorer
        return rule_for(task, uses_base_scorer=uses_base_scorer)

    def _apply(self, task: str, task_rule: TaskRule, entry: Mapping[str, Any], answer: str) -> Judgement:
        """Apply a rule that is not `REFUSED` to an extracted answer."""
        if len(answer) > MAX_ANSWER_CHARACTERS:
            detail = f"the answer has {len(answer)} characters; at most {MAX_ANSWER_CHARACTERS} are judged"
            return Judgement.failed(Verdict.WRONG, detail)
        if task_rule.rule is Rule.REPAIRED:
            return _judge_repaired(task, entry, answer)
        expected = entry["answer"]
        detail = f"found {shorten(answer)}"
        if task_rule.rule is Rule.EXACT:
            return Judgement.of_score(float(answer == expected.strip()), detail)
        has_own_form = has_form(task, answer) and not _has_foreign_letters(answer, expected)
        if not has_own_form or _is_non_finite(answer, expected):
            return Judgement.failed(Verdict.WRONG, detail)
        return self._above_participation(task_rule, self._score(task, copy.deepcopy(dict(entry)), answer))

    @staticmethod
    def _above_participation(task_rule: TaskRule, judgement: Judgement) -> Judgement:
        """Return the judgement, or zero for a score that pays for less than the rule counts."""
        reward = judgement.reward
        counts_partly = task_rule.rule is Rule.OWN and reward is not None and reward > PARTICIPATION
        if reward is None or reward >= FULL_REWARD or counts_partly:
            return judgement
        return Judgement.failed(Verdict.WRONG, judgement.detail)

    def _score(self, task: str, entry: dict[str, Any], answer: str) -> Judgement:
        """Ask the task's scorer."""
        scorer = self._scorer(task)
        score, error = _call(scorer, answer, entry)
        if not error:
            return Judgement.of_score(min(score, 1.0), f"found {shorten(answer)}")
        probe = entry["answer"] if entry["answer"] is not None else ""
        _, error_on_expected = _call(scorer, probe, entry)
        if error_on_expected:
            return Judgement.unsupported(f"task {task!r}: its scorer rejects the entry itself: {error_on_expected}")
        return Judgement.failed(Verdict.WRONG, f"the scorer rejects the answer: {error}")


def _judge_repaired(task: str, entry: Mapping[str, Any], answer: str) -> Judgement:
    """Ask the judge of our own."""
    try:
        score = REPAIRS[task](answer, entry)
    except UnreadableError as error:
        return Judgement.failed(Verdict.WRONG, f"answer {shorten(answer)!r}: {error}")
    except RecursionError:
        return Judgement.failed(Verdict.WRONG, f"answer {shorten(answer)!r}: nested too deep")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return Judgement.unsupported(f"task {task!r}: the entry is broken: {type(error).__name__}: {error}")
    return Judgement.of_score(score, f"found {shorten(answer)}")


def _fault(row: Mapping[str, Any]) -> str:
    """Return what is wrong with the row; empty if nothing."""
    missing = [key for key in ("task", "entry") if key not in row]
    if missing:
        return f"the row has no {' and no '.join(map(repr, missing))}"
    entry = row["entry"]
    if not isinstance(row["task"], str) or not isinstance(entry, dict):
        return "the row's 'task' must be a string and its 'entry' an object"
    missing = [key for key in ("question", "answer", "metadata") if key not in entry]
    if missing:
        return f"the entry has no {' and no '.join(map(repr, missing))}"
    if not isinstance(entry["metadata"], dict):
        return "the entry's 'metadata' must be an object"
    answer = entry["answer"]
    if answer is not None and (not isinstance(answer, str) or not answer.strip()):
        return "the entry's 'answer' must be a non-empty string or null"
    return ""


def _call(scorer: Scorer, answer: str, entry: dict[str, Any]) -> tuple[float, str]:
    """Return the score and no error, or 0 and the error."""
    try:
        score = float(scorer(answer=answer, entry=entry))
    except MemoryError:
        raise  # the worker's own memory may be to blame: the pool decides on a fresh worker
    except Exception as error:  # noqa: BLE001  (edge to a hundred scorers that raise anything on junk)
        return 0.0, f"{type(error).__name__}: {shorten(str(error))}"
    # NaN compares false with everything and so ends as 0.
    return (score if score >= 0.0 else 0.0), ""


def _is_non_finite(answer: str, expected: str | None) -> bool:
    """Return whether the answer says nan or inf where a number is expected."""
    if expected is None or any(character.isalpha() and character not in "eEijIJ" for character in expected):
        return False
    return any(word in answer.lower() for word in NON_FINITE_ANSWERS)


def _has_foreign_letters(answer: str, expected: str | None) -> bool:
    """Return whether there are small (or capital) letters where the expected answer has none: "not 5", "5 or 6".

    Many scorers look for what they want to see and pay for it amid any text.
    """
    if expected is None:
        return False
    has_small, has_capital = (any(map(test, expected)) for test in (str.islower, str.isupper))
    return (not has_small and any(map(str.islower, answer))) or (not has_capital and any(map(str.isupper, answer)))
