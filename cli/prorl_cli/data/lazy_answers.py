r"""Completions that must not win a row: what a policy without the skill would try first. Pure.

math, stem     another value, another letter, an empty box
logic          an empty answer, the question itself, the entry's answer with something behind it
code           a program that does nothing, one that repeats its input, one that always answers the same

A row that one of them wins teaches the policy just that. Instructions are left out: some rows ask for nothing that a
text without content would not do, as IFEval's own have it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prorl_api.rows import type_of_test
from prorl_api.spec.values import AnswerFormat, Domain

_FENCE = "```"


@dataclass(frozen=True, slots=True)
class LazyAnswer:
    """A completion, with what it is for people and, for programs of other languages, the row to judge it by."""

    what: str
    completion: str
    answer_format: AnswerFormat
    row: Mapping[str, Any]


def lazy_answers(domain: Domain, row: Mapping[str, Any]) -> tuple[LazyAnswer, ...]:
    """Return what must not win a valid row of a domain."""
    return tuple(_MAKERS[domain](row))


def _math(row: Mapping[str, Any]) -> Iterator[LazyAnswer]:
    golds = row["answer"] if isinstance(row["answer"], list) else [row["answer"]]
    accepted = {str(gold) for gold in golds}
    for what, text in (("an empty box", ""), ("another value", _other_value(str(golds[0])))):
        if text not in accepted:
            yield LazyAnswer(f"{what} {text!r}".removesuffix(" ''"), rf"\boxed{{{text}}}", AnswerFormat.BOXED, row)


def _stem(row: Mapping[str, Any]) -> Iterator[LazyAnswer]:
    if row["kind"] != "choice":
        yield from _math(row)
        return
    letters = sorted(row.get("choices") or ("A", "B"))
    other = next((letter for letter in letters if letter != row["answer"]), "Z")
    for what, text in (("an empty box", ""), ("another option", other)):
        yield LazyAnswer(what, rf"\boxed{{{text}}}", AnswerFormat.BOXED, row)


def _other_value(gold: str) -> str:
    """Double the first number in it and add one, which no tolerance covers; without a number, something unrelated."""
    changed, count = re.subn(r"[0-9]+", lambda match: str(2 * int(match.group()[:300]) + 1), gold, count=1)
    return changed if count else "7919"


def _logic(row: Mapping[str, Any]) -> Iterator[LazyAnswer]:
    entry = row["entry"]
    texts = {"an empty answer": "", "the question itself": str(entry["question"])[:4000]}
    if entry["answer"] is not None:
        texts["the entry's answer with something behind it"] = f"{entry['answer']} 7919"
    for what, text in texts.items():
        if text.strip() != (entry["answer"] or "").strip() or not text:
            yield LazyAnswer(what, f"<answer>{text}</answer>", AnswerFormat.ANSWER_TAG, row)


def _code(row: Mapping[str, Any]) -> Iterator[LazyAnswer]:
    """Programs in Python, whatever the row's language: its tests say nothing about it."""
    kinds = {type_of_test(test) for test in row["tests"]}
    if len(kinds) > 1 or "asserts" in kinds:
        return
    judged = {key: value for key, value in row.items() if key not in ("language", "solution")}
    judged["reward"] = "all"
    programs = _stdio_programs(row["tests"]) if kinds == {"stdio"} else _functions(row["tests"])
    for what, source in programs.items():
        yield LazyAnswer(what, f"{_FENCE}python\n{source}\n{_FENCE}\n", AnswerFormat.TEXT, judged)


def _stdio_programs(tests: list[Mapping[str, Any]]) -> dict[str, str]:
    return {
        "a program that does nothing": "pass",
        "a program that repeats its input": "import sys\nsys.stdout.write(sys.stdin.read())",
        "a program that always prints the first test's output": (
            f"import sys\nsys.stdout.write({str(tests[0]['expected_stdout'])!r})"
        ),
    }


def _functions(tests: list[Mapping[str, Any]]) -> dict[str, str]:
    first = json.dumps(tests[0]["expected"])
    bodies = {
        "a function that returns nothing": "return None",
        "a function that returns its first argument": "return arguments[0] if arguments else None",
        "a function that always returns the first test's result": f"import json; return json.loads({first!r})",
    }
    names = sorted({str(test["function"]) for test in tests})
    return {what: "\n".join(_definition(name, body) for name in names) for what, body in bodies.items()}


def _definition(name: str, body: str) -> str:
    owner, _, function = name.rpartition(".")
    if owner:
        return f"class {owner}:\n    def {function}(self, *arguments):\n        {body}"
    return f"def {function}(*arguments):\n    {body}"


def _nothing(_: Mapping[str, Any]) -> Iterator[LazyAnswer]:
    return iter(())


_MAKERS: Mapping[Domain, Callable[[Mapping[str, Any]], Iterator[LazyAnswer]]] = {
    Domain.MATH: _math,
    Domain.STEM: _stem,
    Domain.LOGIC: _logic,
    Domain.INSTRUCTION_FOLLOWING: _nothing,
    Domain.CODE: _code,
    Domain.CUSTOM: _nothing,
}
