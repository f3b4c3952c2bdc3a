"""What differs between two values of a field is named; two texts that are shown are never equal."""

from __future__ import annotations

from typing import Any

import pytest

from prorl_api.spec.differences import differences

LONG = "You are careful. " * 10
SPIKE, STALLED = {"name": "spike", "maxResets": 2}, {"name": "stalled", "maxResets": None, "steps": 12}


@pytest.mark.parametrize(
    ("field", "before", "after", "text"),
    [
        ("totalSteps", 8, 4, "8 -> 4"),
        ("system", None, "Be brief.", 'null -> "Be brief."'),
        ("triggers", [SPIKE, STALLED], [SPIKE], "trigger stalled removed"),
        ("triggers", [SPIKE, STALLED], None, "trigger spike removed; trigger stalled removed"),
        ("triggers", [STALLED], [SPIKE, STALLED], "trigger spike added"),
        ("triggers", [SPIKE, STALLED], [STALLED, SPIKE], "in the order stalled, spike"),
        ("triggers", [SPIKE, STALLED], [SPIKE, {**STALLED, "steps": 6}], "trigger stalled steps: 12 -> 6"),
        (
            "sources",
            [{"name": "a", "reasoningGym": {"tasks": [{"name": "x", "weight": 1}, {"name": "y"}]}}],
            [{"name": "a", "reasoningGym": {"tasks": [{"name": "x", "weight": 2}]}, "heldOut": 3}],
            "source a reasoningGym task x weight: 1 -> 2; source a reasoningGym task y removed; "
            "source a heldOut: null -> 3",
        ),
        (
            "stages",
            [{"name": "late", "fromStep": 5, "overrides": None}],
            [{"name": "late", "fromStep": 5, "overrides": {"temperature": 0.5}}],
            "stage late overrides.temperature: null -> 0.5",
        ),
        ("limits", None, {"cpu": 1, "memory": "2Gi"}, 'cpu: null -> 1; memory: null -> "2Gi"'),
        ("stop", ["a", "b"], ["b", "c"], '"a" removed; "c" added'),
        ("stop", ["a", "b"], ["b", "a"], 'in the order "b", "a"'),
        ("passAt", [1, 8], [1, 8, 64], "64 added"),
        (
            "tolerations",
            [{"key": "gpu", "effect": "NoExecute"}],
            [{"key": "gpu", "effect": "NoSchedule"}, {"key": "spot"}],
            '[0].effect: "NoExecute" -> "NoSchedule"; [1] added',
        ),
        ("prompt", {"x": 1}, 2, '{"x": 1} -> 2'),
    ],
)
def test_every_part_that_differs_is_named(field: str, before: Any, after: Any, text: str) -> None:
    assert differences(field, before, after) == text


@pytest.mark.parametrize(
    ("before", "after"), [(f"{LONG}A.", f"{LONG}B."), (LONG, LONG * 2), (f"A{LONG}", f"B{LONG}"), ("", LONG)]
)
def test_long_texts_differ_where_they_are_shown(before: str, after: str) -> None:
    old, new = differences("system", before, after).split(" -> ")
    assert old != new
    assert max(len(old), len(new)) <= 82
