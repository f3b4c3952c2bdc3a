"""Equal faults of rows are told once, with their number and the first lines; different ones are all told."""

from __future__ import annotations

import pytest

from prorl_api.errors import Fault
from prorl_api.row_faults import RowFaults


def faults_of(
    *rows: tuple[int, str, str], limit: int = 20, want: str = "w", of_rows: int = 100, file: str = "a.jsonl"
) -> RowFaults:
    """Of rows, each with line, place and what was got."""
    faults = RowFaults(limit)
    for _ in range(of_rows):
        faults.saw(file)
    for line, place, got in rows:
        faults.add_row(file, line, Fault(path=f"{file}:{line} {place}".rstrip(), got=got, want=want))
    return faults


def said(faults: RowFaults) -> list[tuple[str, str]]:
    return [(fault.path, fault.got) for fault in faults.listed("all")]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([(3, "", "x"), (7, "", "x")], [("a.jsonl:3", "x"), ("a.jsonl:7", "x")]),
        ([(3, "", "x"), (7, "", "x"), (9, "", "x")], [("a.jsonl", "x in 3 of 100 rows (lines 3, 7, 9)")]),
        (
            [(n, "", f"{20 + n} tokens") for n in range(1, 8)],
            [("a.jsonl", "21 to 27 tokens in 7 of 100 rows (lines 1, 2, 3, 4, 5, ...)")],
        ),
        (
            [(n, "", "27 tokens") for n in (1, 2, 3)],
            [("a.jsonl", "27 tokens in 3 of 100 rows (lines 1, 2, 3)")],
        ),
        (
            [(n, "row.answer", got) for n, got in enumerate("abcdea", 1)],
            [("a.jsonl row.answer", "a, b, c and others in 6 of 100 rows (lines 1, 2, 3, 4, 5, ...)")],
        ),
        (
            [(1, "", "5 tokens"), (2, "", "a word"), (3, "", "7 tokens")],
            [("a.jsonl", "5 tokens, a word, 7 tokens in 3 of 100 rows (lines 1, 2, 3)")],
        ),
        ([(n, "row", "x") for n in range(1, 101)], [("a.jsonl row", "x in all 100 rows")]),
        (
            [(n, f"row.tests.{item}.code", "x") for n in (1, 2, 3) for item in (0, 1)],
            [("a.jsonl row.tests.*.code", "x in 3 of 100 rows (lines 1, 2, 3)")],
        ),
        (
            [(1, "prompt", "x"), (2, "row", "y"), (3, "row", "y"), (4, "row", "y")],
            [("a.jsonl:1 prompt", "x"), ("a.jsonl row", "y in 3 of 100 rows (lines 2, 3, 4)")],
        ),
    ],
)
def test_many_rows_with_a_fault_are_one_line(rows: list[tuple[int, str, str]], told: list[tuple[str, str]]) -> None:
    assert said(faults_of(*rows)) == told


def test_files_and_what_they_want_are_told_apart() -> None:
    faults = faults_of(*((n, "", "x") for n in (1, 2, 3)))
    for line in (1, 2, 3):
        faults.saw("b.jsonl")
        faults.add_row("b.jsonl", line, Fault(path=f"b.jsonl:{line}", got="x", want="w"))
    for line in (4, 5, 6):
        faults.add_row("a.jsonl", line, Fault(path=f"a.jsonl:{line}", got="x", want="other"))
    assert [fault.path for fault in faults.listed("all")] == ["a.jsonl", "b.jsonl", "a.jsonl"]
    assert (faults.total, faults.num_rows) == (9, 9)


def test_different_faults_are_bounded_and_all_are_counted() -> None:
    assert RowFaults(2).listed("all") == []
    faults = faults_of(*((number, f"field{'x' * number}", "g") for number in range(1, 6)), limit=2)
    assert (faults.total, [path for path, _ in said(faults)]) == (5, ["a.jsonl:1 fieldx", "a.jsonl:2 fieldxx", "all"])
    assert said(faults)[-1][1] == "3 more faults"


def test_what_is_wrong_with_a_file_is_always_told() -> None:
    faults = faults_of(*((number, f"field{'x' * number}", "g") for number in range(1, 6)), limit=2)
    faults.add(Fault(path="b.jsonl", got="a folder", want="a readable file"))
    assert ("b.jsonl", "a folder") in said(faults)
    assert said(faults)[-1] == ("all", "3 more faults")
