"""What is kept of samples is enough for pass@k and boundaries."""

from __future__ import annotations

from pathlib import Path

import pytest

from prorl_analysis.boundary import boundary
from prorl_analysis.prolonged.record import BaseRecord, Counted, Record, as_results, counted, read, write
from prorl_analysis.prolonged.reduction import evaluation_of
from prorl_api.errors import SpecError
from tests.unit.analysis.builders import make_results
from tests.unit.analysis.prolonged.builders import BASE, make_evaluation, make_record


@pytest.mark.parametrize(
    ("rewards", "kept"),
    [
        ([0.0, 1.0, None, 1.0, 0.5], Counted(judged=4, right=2, first=1)),
        ([None, 1.0], Counted(judged=1, right=1, first=0)),  # places count what was judged
        ([0.0, 0.5], Counted(judged=2, right=0, first=None)),
        ([None], Counted(judged=0, right=0, first=None)),
    ],
)
def test_rewards_are_counted(rewards: list[float | None], kept: Counted) -> None:
    assert counted(rewards) == kept


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_boundaries_of_what_is_kept_are_those_of_the_samples(k: int) -> None:
    base = make_results({0: [1, 0, 0, 0], 1: [0, 0, 0, 0], 2: [0, 1, 1, 1], 3: [0, 0, 0, 0]})
    after = make_results({0: [0, 0, 0, 1], 1: [0, 0, 1, 0], 2: [1, 1, 1, 1], 3: [0, 0, 0, 0]})
    first, second = (as_results(evaluation_of(results, None), "kept") for results in (base, after))
    assert boundary(first, second, "math", k=k) == boundary(base, after, "math", k=k)


def test_a_record_is_read_back(tmp_path: Path) -> None:
    record = make_record(evaluations={20: make_evaluation({"depth-2": (8, 8, 8, 8)}, novelty=1.5)})
    write(tmp_path / "a" / "metric-seed-1.json", record)
    assert read(tmp_path / "a" / "metric-seed-1.json", Record) == record
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["metric-seed-1.json"]


def test_something_else_is_no_record(tmp_path: Path) -> None:
    write(tmp_path / "base.json", BASE)
    assert read(tmp_path / "base.json", BaseRecord) == BASE
    with pytest.raises(SpecError, match="what `make prolonged` keeps of a run"):
        read(tmp_path / "base.json", Record)
