"""What is sent to the judge to check a row, and what its verdict says about the row."""

from __future__ import annotations

from typing import Any

import pytest

from prorl_api.spec.values import AnswerFormat, Domain
from prorl_api.wire.sandbox import ScoreResult, Verdict
from prorl_cli.data.gold import Probe, Probes, fault_of, probes_of

STDIO = {"type": "stdio", "stdin": "1", "expected_stdout": "2"}


def sole_probe(domain: Domain, row: dict[str, Any]) -> Probe:
    (probe,) = proving(probes_of(domain, row, "rows.jsonl:3"))
    return probe


def proving(found: Probes) -> list[Probe]:
    """Those that must be correct, or only judged."""
    return [probe for probe in found.probes if not probe.must_not_win]


def result(verdict: Verdict, reward: float | None = 0.0, detail: str = "why") -> ScoreResult:
    return ScoreResult(item_id="0", verdict=verdict, reward=reward, detail=detail)


def test_every_expected_answer_is_sent_in_a_box() -> None:
    probes = proving(probes_of(Domain.MATH, {"answer": [r"\frac{1}{2}", 0.5]}, "rows.jsonl:3"))
    assert [probe.item.completion for probe in probes] == [
        r"The answer is \boxed{\frac{1}{2}}.",
        r"The answer is \boxed{0.5}.",
    ]
    assert all(probe.must_be_correct and probe.item.answer_format is AnswerFormat.BOXED for probe in probes)


def test_a_science_answer_is_sent_in_a_box_with_its_row() -> None:
    row = {"answer": "1.5 km", "kind": "number"}
    item = sole_probe(Domain.STEM, row).item
    assert (item.domain, item.row, item.completion) == (Domain.STEM, row, r"The answer is \boxed{1.5 km}.")


def test_a_logic_answer_is_sent_in_its_tag() -> None:
    row = {"task": "chain_sum", "entry": {"question": "1+1", "answer": "2", "metadata": {}}}
    probe = sole_probe(Domain.LOGIC, row)
    assert (probe.item.completion, probe.must_be_correct) == ("<answer>2</answer>", True)


@pytest.mark.parametrize(
    ("domain", "row"),
    [
        (Domain.LOGIC, {"task": "boxnet", "entry": {"question": "?", "answer": None, "metadata": {}}}),
        (Domain.INSTRUCTION_FOLLOWING, {"instructions": [{"id": "punctuation:no_comma"}]}),
        (Domain.CODE, {"tests": [STDIO]}),
    ],
)
def test_a_row_without_an_answer_is_unproven_and_must_only_be_judgeable(domain: Domain, row: dict[str, Any]) -> None:
    found = probes_of(domain, row, "rows.jsonl:3")
    assert found.lacks_solution
    assert [probe.must_be_correct for probe in proving(found)] == [False]


def test_a_solution_is_sent_in_a_fenced_block_of_its_language() -> None:
    probe = sole_probe(Domain.CODE, {"tests": [STDIO], "language": "cpp", "solution": "int main() {}"})
    assert probe.item.completion == "```cpp\nint main() {}\n```\n"
    assert probe.must_be_correct


def test_every_test_of_a_program_is_reached() -> None:
    assert sole_probe(Domain.CODE, {"tests": [STDIO], "reward": "all"}).item.row["reward"] == "fraction"


@pytest.mark.parametrize(("wanted", "allowed"), [(5.0, 15.0), (600.0, 600.0)])
def test_a_program_gets_its_own_time_within_what_a_request_may_ask(wanted: float, allowed: float) -> None:
    assert sole_probe(Domain.CODE, {"tests": [STDIO], "total_wall_seconds": wanted}).timeout_seconds == allowed


@pytest.mark.parametrize("verdict", [verdict for verdict in Verdict if verdict is not Verdict.CORRECT])
def test_an_expected_answer_that_is_not_correct_is_a_fault(verdict: Verdict) -> None:
    probe = sole_probe(Domain.MATH, {"answer": "2"})
    fault = fault_of(probe, result(verdict, 0.0 if verdict.has_reward else None))
    assert "why" in fault


def test_a_correct_answer_is_no_fault() -> None:
    assert fault_of(sole_probe(Domain.MATH, {"answer": "2"}), result(Verdict.CORRECT, 1.0)) == ""


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_judgeable_row_is_a_fault_only_if_it_is_not_judged(verdict: Verdict) -> None:
    probe = sole_probe(Domain.CODE, {"tests": [STDIO]})
    assert bool(fault_of(probe, result(verdict, 0.0 if verdict.has_reward else None))) == (not verdict.has_reward)


def test_the_fault_names_verdict_reward_and_detail() -> None:
    probe = sole_probe(Domain.CODE, {"tests": [STDIO], "solution": "pass"})
    fault = fault_of(probe, result(Verdict.PARTIAL, 0.5, "1 of 2 tests passed"))
    assert fault == "the solution is judged `partial` with reward 0.5: 1 of 2 tests passed"


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_lazy_answer_is_a_fault_only_if_it_wins(verdict: Verdict) -> None:
    found = probes_of(Domain.CODE, {"tests": [STDIO], "solution": "print(2)"}, "rows.jsonl:3")
    lazy = [probe for probe in found.probes if probe.must_not_win]
    assert [probe.what for probe in lazy] == [
        "a program that does nothing",
        "a program that repeats its input",
        "a program that always prints the first test's output",
    ]
    for probe in lazy:
        fault = fault_of(
            probe, result(verdict, 1.0 if verdict is Verdict.CORRECT else 0.0 if verdict.has_reward else None)
        )
        assert bool(fault) == (verdict is Verdict.CORRECT)


@pytest.mark.parametrize(
    ("domain", "row", "completions"),
    [
        (Domain.MATH, {"answer": "12"}, [r"\boxed{}", r"\boxed{25}"]),
        (Domain.MATH, {"answer": [r"\frac{1}{2}", "2"]}, [r"\boxed{}", r"\boxed{\frac{3}{2}}"]),
        (Domain.MATH, {"answer": "x"}, [r"\boxed{}", r"\boxed{7919}"]),
        (Domain.STEM, {"answer": "B", "kind": "choice"}, [r"\boxed{}", r"\boxed{A}"]),
        (Domain.STEM, {"answer": "A", "kind": "choice", "choices": {"A": "x", "C": "y"}}, [r"\boxed{}", r"\boxed{C}"]),
        (
            Domain.LOGIC,
            {"task": "chain_sum", "entry": {"question": "1+1", "answer": "2", "metadata": {}}},
            ["<answer></answer>", "<answer>1+1</answer>", "<answer>2 7919</answer>"],
        ),
        (Domain.INSTRUCTION_FOLLOWING, {"instructions": [{"id": "punctuation:no_comma"}]}, []),
        (Domain.CODE, {"tests": [{"type": "asserts", "source": "f()", "functions": ["f"]}]}, []),
    ],
)
def test_every_domain_has_its_lazy_answers(domain: Domain, row: dict[str, Any], completions: list[str]) -> None:
    found = probes_of(domain, row, "rows.jsonl:3")
    assert [probe.item.completion for probe in found.probes if probe.must_not_win] == completions


def test_lazy_functions_are_called_like_the_tests_call_them() -> None:
    tests = [{"type": "call", "function": "Solution.f", "arguments": [1], "expected": [1, None]}]
    found = probes_of(Domain.CODE, {"tests": tests}, "rows.jsonl:3")
    last = [probe for probe in found.probes if probe.must_not_win][-1].item.completion
    namespace: dict[str, Any] = {}
    exec(last.replace("```python\n", "").replace("```", ""), namespace)
    assert namespace["Solution"]().f(1) == [1, None]
