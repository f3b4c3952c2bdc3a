"""Rows that are too few for a step, or to tell anything by, are named with their number."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from prorl_control.few_rows import few_rows

sys.path.insert(0, str(Path(__file__).parent))
from control_builders import make_job

GYM = {"name": "sums", "domain": "logic", "reasoningGym": {"tasks": [{"name": "chain_sum"}]}}
HELD, STEP = "spec.data.sources[0].heldOut", "spec.learner.promptsPerStep"


def own(held_out: int, **fields: Any) -> dict[str, Any]:
    return {"name": "own", "domain": "math", "jsonl": "rows.jsonl", "heldOut": held_out, **fields}


@pytest.mark.parametrize(
    ("sources", "rows", "named"),
    [
        ([own(1)], {"own": 6}, [HELD, STEP]),
        ([own(19)], {"own": 27}, [HELD]),
        ([own(20)], {"own": 28}, []),
        ([own(20)], {"own": 27}, [STEP]),
        ([own(0)], {"own": 8}, []),
        ([own(0)], {"own": 7}, [STEP]),
        ([own(1), GYM], {"own": 6}, [HELD]),  # generated prompts fill the steps
        ([own(1), own(0, name="more")], {"own": 6, "more": 3}, [HELD]),
        ([own(6, weight=0.0), GYM], {"own": 6}, [HELD]),
        ([GYM], {}, []),
        ([own(1)], {}, []),  # not read
    ],
)
def test_few_rows_are_named(sources: list[dict[str, Any]], rows: dict[str, int], named: list[str]) -> None:
    spec = make_job(data={"sources": sources}, referenceReset={"mode": "disabled"}).spec
    assert [notice.path for notice in few_rows(spec, rows)] == named


@pytest.mark.parametrize(
    ("held_out", "said"), [(1, "the accuracy is 0 or 1"), (4, "each of 4 answers is 25% of the accuracy")]
)
def test_what_one_answer_weighs_is_said(held_out: int, said: str) -> None:
    (notice,) = few_rows(make_job(data={"sources": [own(held_out)]}).spec, {"own": 100})
    assert said in str(notice)


def test_an_evaluation_fills_no_step() -> None:
    spec = make_job(data={"sources": [own(5)]}, schedule={"totalSteps": 0}).spec
    assert [notice.path for notice in few_rows(spec, {"own": 6})] == [HELD]
