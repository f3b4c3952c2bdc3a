r"""From a row to what is sent to the judge to check the row itself, and from its verdict to what is wrong. Pure.

math, stem     every expected answer, written as `\boxed{answer}`, must be correct
logic          the library's own answer must be correct; where the row has none, the row must be judgeable
code           the row's `solution`, in a fenced block, must pass every test; without one, the tests must be supported
instructions   there is no right completion to send: the row must be judgeable
custom         the row's `solution`, if it is a text, must be rewarded fully; without one, the row must be judgeable

What `lazy_answers` names must not win. Judgeable means that a completion that says nothing gets a verdict about itself,
not `unsupported`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prorl_api.spec.values import AnswerFormat, Domain
from prorl_api.wire.sandbox import ScoreItem, ScoreResult, Verdict
from prorl_cli.data.lazy_answers import lazy_answers

CUSTOM_REWARD = "reward"
"""What the probes call the function of domain `custom`."""
_FENCE = "```"
_NOTHING = "I do not know."
_IDLE_PROGRAMS: Mapping[str, str] = {"python": "pass"}
"""A program that does nothing; in other languages a text that does not compile says as much about the tests."""
_MARGIN_SECONDS = 10.0
"""Beyond a row's own time limit: compilation and start."""
_MAX_SECONDS = 600.0
"""What a score request may ask for."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One completion to have judged."""

    where: str
    """File and line number of the row."""
    item: ScoreItem
    must_be_correct: bool
    """Else any verdict about the completion will do, unless it must not win."""
    what: str
    """What the completion is, for people."""
    timeout_seconds: float = 10.0
    must_not_win: bool = False


@dataclass(frozen=True, slots=True)
class Probes:
    """The probes of a row."""

    probes: tuple[Probe, ...]
    lacks_solution: bool = False
    """Nothing in the row can be checked for being right."""


def probes_of(domain: Domain, row: Mapping[str, Any], where: str) -> Probes:
    """Return what to have judged to check a valid row of a domain."""
    found = _MAKERS[domain](row, where)
    return Probes((*found.probes, *_lazy_probes(domain, row, where)), found.lacks_solution)


def _lazy_probes(domain: Domain, row: Mapping[str, Any], where: str) -> Iterator[Probe]:
    for number, lazy in enumerate(lazy_answers(domain, row)):
        item = _item(domain, lazy.row, lazy.completion, f"{where}!{number}", lazy.answer_format)
        yield Probe(
            where, item, must_be_correct=False, what=lazy.what, timeout_seconds=_seconds(row), must_not_win=True
        )


def _seconds(row: Mapping[str, Any]) -> float:
    return min(_MAX_SECONDS, float(row.get("total_wall_seconds", 5.0)) + _MARGIN_SECONDS)


def fault_of(probe: Probe, result: ScoreResult) -> str:
    """Return what is wrong with the row, judging by the verdict on a probe; empty if nothing."""
    if probe.must_not_win:
        # Whether the row can be judged at all is said once, by the other probes.
        return f"{probe.what} wins: it is judged `correct`" if result.verdict is Verdict.CORRECT else ""
    if result.verdict is Verdict.UNSUPPORTED:
        return f"cannot be judged: {result.detail}"
    if result.verdict is Verdict.SANDBOX_ERROR:
        return f"the judge failed on {probe.what}: {result.detail}"
    if not probe.must_be_correct or result.verdict is Verdict.CORRECT:
        return ""
    reward = "" if result.reward is None else f" with reward {result.reward:g}"
    detail = f": {result.detail}" if result.detail else ""
    return f"{probe.what} is judged `{result.verdict.value}`{reward}{detail}"


def _boxed(domain: Domain) -> Callable[[Mapping[str, Any], str], Probes]:
    def make(row: Mapping[str, Any], where: str) -> Probes:
        golds = row["answer"] if isinstance(row["answer"], list) else [row["answer"]]
        return Probes(
            tuple(
                Probe(
                    where,
                    _item(domain, row, rf"The answer is \boxed{{{gold}}}.", f"{where}#{number}", AnswerFormat.BOXED),
                    must_be_correct=True,
                    what=f"the expected answer {str(gold)[:80]!r}",
                )
                for number, gold in enumerate(golds)
            )
        )

    return make


def _logic(row: Mapping[str, Any], where: str) -> Probes:
    answer = row["entry"]["answer"]
    text = _NOTHING if answer is None else f"<answer>{answer}</answer>"
    item = _item(Domain.LOGIC, row, text, where, AnswerFormat.ANSWER_TAG)
    return Probes((Probe(where, item, answer is not None, "the entry's answer"),), lacks_solution=answer is None)


def _instructions(row: Mapping[str, Any], where: str) -> Probes:
    item = _item(Domain.INSTRUCTION_FOLLOWING, row, _NOTHING, where)
    return Probes((Probe(where, item, must_be_correct=False, what="a completion that says nothing"),), True)


def _code(row: Mapping[str, Any], where: str) -> Probes:
    language = row.get("language", "python")
    solution = row.get("solution")
    program = solution if solution is not None else _IDLE_PROGRAMS.get(language, "0")
    # Every test is to be reached, and `all` would stop at the first that fails.
    whole = {**row, "reward": "fraction"}
    item = _item(Domain.CODE, whole, f"{_FENCE}{language}\n{program}\n{_FENCE}\n", where)
    probe = Probe(
        where,
        item,
        must_be_correct=solution is not None,
        what="the solution" if solution is not None else "a program that does nothing",
        timeout_seconds=_seconds(row),
    )
    return Probes((probe,), lacks_solution=solution is None)


def _custom(row: Mapping[str, Any], where: str) -> Probes:
    solution = row.get("solution")
    is_given = isinstance(solution, str)
    item = _item(Domain.CUSTOM, row, str(solution) if is_given else _NOTHING, where)
    what = "the solution" if is_given else "a completion that says nothing"
    return Probes((Probe(where, item, must_be_correct=is_given, what=what),), lacks_solution=not is_given)


def _item(
    domain: Domain, row: Mapping[str, Any], completion: str, item_id: str, form: AnswerFormat = AnswerFormat.TEXT
) -> ScoreItem:
    return ScoreItem(
        item_id=item_id[-256:],
        domain=domain,
        answer_format=form,
        row=dict(row),
        completion=completion,
        reward=CUSTOM_REWARD if domain is Domain.CUSTOM else "",
    )


_MAKERS: Mapping[Domain, Callable[[Mapping[str, Any], str], Probes]] = {
    Domain.MATH: _boxed(Domain.MATH),
    Domain.STEM: _boxed(Domain.STEM),
    Domain.LOGIC: _logic,
    Domain.INSTRUCTION_FOLLOWING: _instructions,
    Domain.CODE: _code,
    Domain.CUSTOM: _custom,
}
