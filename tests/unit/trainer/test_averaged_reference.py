"""When the reference follows the policy."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest

from prorl_trainer.averaged_reference import follow_policy
from tests.unit.trainer.trainer_builders import make_spec


def stages(**coefficients: float) -> dict[str, Any]:
    named = [
        {"name": name, "fromStep": int(name[1:]), "overrides": {"klCoefficient": value}}
        for name, value in coefficients.items()
    ]
    return {"totalSteps": 50, "stages": named}


@pytest.mark.parametrize(
    ("kl", "schedule", "follows"),
    [
        pytest.param({"coefficient": 0.1}, stages(), False, id="not asked for"),
        pytest.param({"coefficient": 0.1, "referenceDecay": 0.9}, stages(), True, id="asked for"),
        pytest.param(
            {"coefficient": 0.1, "referenceDecay": 0.9}, stages(s20=0), True, id="through a stage without a term"
        ),
        pytest.param({"coefficient": 0, "referenceDecay": 0.9}, stages(s20=0.1), True, id="before a stage with a term"),
        pytest.param(
            {"coefficient": 0.1, "referenceDecay": 0.9}, stages(s1=0), False, id="nowhere a term: no reference"
        ),
    ],
)
def test_the_reference_follows_where_the_kl_is_measured_at_any_step(
    kl: dict[str, Any], schedule: dict[str, Any], follows: bool
) -> None:
    spec = make_spec(algorithm={"kl": kl}, schedule=schedule, referenceReset={"mode": "disabled"})
    parts = Mock()
    follow_policy(spec, parts)
    assert parts.engine.average_reference.call_args_list == ([((0.9,),)] if follows else [])
