"""Runs and evaluations made of counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prorl_analysis.prolonged.arms import Arm, Arms, Contrast, EvaluationPlan
from prorl_analysis.prolonged.record import BaseRecord, Cost, Counted, Ending, Evaluation, Level, Record, Reset

SAMPLES = 8
PLAN = EvaluationPlan(depths=(2, 5), items=4, samples=SAMPLES, temperature=1.0, top_p=1.0, checkpoints=2, guess=0.01)
ARMS = Arms(
    seeds=(1, 2, 3),
    arms=(
        Arm(name="metric", title="resets by metrics", set=()),
        Arm(name="no-reset", title="no reset", set=("referenceReset.mode=disabled",)),
        Arm(name="divided-kl", title="divided", set=(), kl_divided_by_resets_of="metric"),
    ),
    contrasts=(Contrast(arm="metric", other="no-reset", asks="what resets add"),),
    evaluation=PLAN,
)


def make_level(right: Sequence[int], *, novelty: float | None = None) -> Level:
    """By item, so many of eight samples right, the first ones."""
    items = tuple(Counted(judged=SAMPLES, right=count, first=0 if count else None) for count in right)
    return Level(items=items, entropy=0.5, tokens=20.0, truncated=0.0, novelty=novelty)


def make_evaluation(levels: Mapping[str, Sequence[int]], *, novelty: float | None = None) -> Evaluation:
    return Evaluation(
        samples=SAMPLES,
        temperature=1.0,
        top_p=1.0,
        items_digest="d" * 64,
        levels={source: make_level(right, novelty=novelty) for source, right in levels.items()},
    )


DIGEST = "b" * 64
BASE = BaseRecord(base=DIGEST, evaluation=make_evaluation({"depth-2": (8, 8, 8, 7), "depth-5": (0,) * 8}))


def make_record(
    arm: str = "metric",
    seed: int = 1,
    *,
    evaluations: Mapping[int, Evaluation] | None = None,
    ended: Ending = Ending.FINISHED,
    steps: int = 20,
    base: str = DIGEST,
) -> Record:
    return Record(
        arm=arm,
        seed=seed,
        base=base,
        run="uid-1",
        assignments=(f"seed={seed}",),
        planned_steps=20,
        steps=steps,
        ended=ended,
        every=10,
        curves={"reward_mean": (0.25, 0.5), "kl": (None, 0.1)},
        validation_steps=(0, 10, 20),
        validations={"all": (0.25, 0.75, 0.5)},
        resets=(Reset(step=12, trigger="kl-share", reason="the KL term's share averaged 0.6"),),
        cost=Cost(hours=0.5, step_seconds=1.5, step_seconds_high=2.0, tokens_generated=2_000_000, attempts=1),
        evaluations=evaluations or {},
    )


SOLVED = make_evaluation({"depth-2": (8, 8, 8, 8), "depth-5": (8, 7, 6, 5, 4, 3, 2, 0)}, novelty=2.5)


def doubled(evaluation: Evaluation, right: Mapping[str, Sequence[int]]) -> Evaluation:
    """The same items with twice the samples, so many of them right."""
    levels = {
        source: level.model_copy(
            update={
                "items": tuple(
                    Counted(judged=2 * SAMPLES, right=count, first=0 if count else None) for count in right[source]
                )
            }
        )
        for source, level in evaluation.levels.items()
    }
    return evaluation.model_copy(update={"samples": 2 * SAMPLES, "levels": levels})
