"""Evaluations made of rewards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prorl_analysis.results import EvaluationSettings, Item, Results, Sample

SETTINGS = EvaluationSettings(
    model="base", samples=4, temperature=0.6, top_p=0.95, max_completion_tokens=64, seed=1, sources={"math": "a" * 64}
)


def make_sample(item: Item, number: int, reward: float | None, *, completion: str = "") -> Sample:
    return Sample(
        item=item,
        number=number,
        reward=reward,
        verdict="wrong" if reward == 0 else "correct",
        num_tokens=5,
        is_truncated=False,
        completion=completion,
    )


def make_results(rewards: Mapping[int, Sequence[float | None]], source: str = "math") -> Results:
    """By the item's index, the rewards of its samples."""
    items = {(source, index): values for index, values in rewards.items()}
    return Results(
        path="results.jsonl",
        settings=SETTINGS,
        samples={
            item: tuple(make_sample(item, number, reward) for number, reward in enumerate(values))
            for item, values in items.items()
        },
    )
