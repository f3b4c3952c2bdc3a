"""What a manifest sets without effect in its run is named by its path; what has an effect is not spoken of."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prorl_api.errors import SpecError
from prorl_api.manifest import read_job
from prorl_control.notices import notices
from prorl_control.resets.decide import replay

sys.path.insert(0, str(Path(__file__).parent))
from control_builders import make_job

TOTAL = 20
"""Steps of the builder's job."""
EXAMPLES = Path(__file__).parents[3] / "examples"
OFF: dict[str, Any] = {"mode": "disabled"}
UNVALIDATED = {"sources": [{"name": "sums", "domain": "math", "jsonl": "rows.jsonl"}]}
GYM = {"name": "sums", "domain": "logic", "reasoningGym": {"tasks": [{"name": "chain_sum"}]}}


def resets(*triggers: dict[str, Any], **policy: Any) -> dict[str, Any]:
    named = [{"name": f"t{number}", **trigger} for number, trigger in enumerate(triggers)]
    return {"referenceReset": {"cooldownSteps": 0, **policy, "triggers": named}}


def spike(window: int) -> dict[str, Any]:
    return {"klSpike": {"above": 0.1, "windowSteps": window}}


def every(steps: int) -> dict[str, Any]:
    return {"interval": {"everySteps": steps}}


def entropy(steps: int) -> dict[str, Any]:
    return {"threshold": {"metric": "entropy", "below": 9.0, "forSteps": steps}}


def accuracy(validations: int) -> dict[str, Any]:
    return {"threshold": {"metric": "validation_accuracy", "below": 0.95, "forSteps": validations}}


SHARE = {"klSpike": {"metric": "klLossShare", "above": 0.5, "windowSteps": 2}}
"""The series of `causes` lacks it."""
RESETS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("cooldownSteps", resets(spike(2), cooldownSteps=20), resets(spike(2), cooldownSteps=19)),
    ("cooldownSteps", resets(spike(2), cooldownSteps=1000), resets(spike(2), cooldownSteps=1000, warmupSteps=0)),
    ("cooldownSteps", resets(spike(2), cooldownSteps=100), resets(spike(2), cooldownSteps=100, warmupSteps=19)),
    ("warmupSteps", resets(spike(2), warmupSteps=20), resets(spike(2), warmupSteps=19)),
    ("triggers[0].interval.everySteps", resets(every(20)), resets(every(19))),
    ("triggers[1].interval.everySteps", resets(SHARE, every(500)), resets(SHARE, every(5))),
    ("triggers[0].klSpike.windowSteps", resets(spike(20)), resets(spike(19))),
    ("triggers[0].threshold.forSteps", resets(entropy(20)), resets(entropy(19))),
    (
        "triggers[0].all[1].interval.everySteps",
        resets({"all": [spike(2), every(20)]}),
        resets({"all": [spike(2), every(9)]}),
    ),
    (
        "triggers[0].any[0].interval.everySteps",
        resets({"any": [every(99), spike(2)]}),
        resets({"any": [every(3), spike(2)]}),
    ),
    (
        "triggers[0].klSpike.windowSteps",
        resets({"klSpike": {"deviations": 4, "baselineSteps": 18, "windowSteps": 2}}),
        resets({"klSpike": {"above": 0.5, "windowSteps": 2}}),
    ),
    (
        "triggers[0].threshold.forSteps",
        {**resets(accuracy(5)), "validation": {"everySteps": 5}},
        {**resets(accuracy(3)), "validation": {"everySteps": 5}},
    ),
    (
        "triggers[0].validationStalled.patience",
        resets({"validationStalled": {"patience": 6}}),
        resets({"validationStalled": {"patience": 1}}),
    ),
    (
        "triggers[0].validationStalled.patience",
        {**resets({"validationStalled": {"patience": 2, "minGain": 0.0}}), "validation": {"everySteps": 10}},
        {**resets({"validationStalled": {"patience": 1, "minGain": 0.0}}), "validation": {"everySteps": 10}},
    ),
    (
        "triggers[0].validationDropped.validations",
        {**resets({"validationDropped": {"belowBest": 0.1, "validations": 4}}), "validation": {"everySteps": 5}},
        {**resets({"validationDropped": {"belowBest": 0.1, "validations": 3}}), "validation": {"everySteps": 5}},
    ),
]
"""Under `spec.referenceReset`: the notice's path, a policy that never resets by that trigger, and one that does."""

OTHERS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("referenceReset.triggers", resets(spike(2), mode="disabled"), resets(spike(2), mode="dry-run")),
    (
        "referenceReset.triggers[0].maxResets",
        resets({**spike(2), "maxResets": 3}, maxResets=2),
        resets({**spike(2), "maxResets": 2}, maxResets=2),
    ),
    ("validation.everySteps", {"validation": {"everySteps": 21}}, {"validation": {"everySteps": 20}}),
    (
        "validation.samplesPerPrompt",
        {"validation": {"temperature": 0, "samplesPerPrompt": 4}},
        {"validation": {"temperature": 0.6, "samplesPerPrompt": 4}},
    ),
    (
        "validation.topP",
        {"validation": {"temperature": 0, "topP": 0.9}},
        {"validation": {"temperature": 0, "topP": 1.0}},
    ),
    ("validation", {"data": UNVALIDATED, "validation": {"everySteps": 5}}, {"data": UNVALIDATED}),
    (
        "checkpoint.exportBest",
        {"data": UNVALIDATED, "checkpoint": {"exportBest": True}},
        {"checkpoint": {"exportBest": True}},
    ),
    ("checkpoint.everySteps", {"checkpoint": {"everySteps": 50}}, {"checkpoint": {"everySteps": 10}}),
    (
        "learner.optimizer.warmupSteps",
        {"learner": {"optimizer": {"warmupSteps": 40}}},
        {"learner": {"optimizer": {"warmupSteps": 39}}},
    ),
    (
        "learner.deepspeed",
        {"learner": {"engine": "plain", "deepspeed": {"zeroStage": 3}}},
        {"learner": {"deepspeed": {"zeroStage": 3}}},
    ),
    (
        "algorithm.engineMismatch.cap",
        {"algorithm": {"engineMismatch": {"correction": "none", "cap": 3}}},
        {"algorithm": {"engineMismatch": {"cap": 3}}},
    ),
    (
        "algorithm.kl.estimator",
        {"algorithm": {"kl": {"coefficient": 0, "estimator": "k3"}}},
        {"algorithm": {"kl": {"coefficient": 0.1, "estimator": "k3"}}},
    ),
    (
        "algorithm.kl.logRatioClamp",
        {"algorithm": {"kl": {"coefficient": 0, "logRatioClamp": 3}}},
        {"algorithm": {"kl": {"logRatioClamp": 3}}},
    ),
    (
        "algorithm.length.offSteps",
        {"algorithm": {"length": {"penalty": "cosine", "onSteps": 20, "offSteps": 5}}},
        {"algorithm": {"length": {"penalty": "cosine", "onSteps": 19, "offSteps": 5}}},
    ),
    (
        "data.sources[0].prompt.system",
        {"data": {"sources": [{**GYM, "prompt": {"chat": False, "system": "Be brief."}}]}},
        {"data": {"sources": [{**GYM, "prompt": {"chat": True, "system": "Be brief."}}]}},
    ),
    (
        "data.sources[0].heldOut",
        {"data": {"sources": [{**GYM, "heldOut": 8}]}, "validation": {"sources": [{"name": "sums", "size": 4}]}},
        {"data": {"sources": [{**GYM, "heldOut": 8}]}},
    ),
]


def told(spec: dict[str, Any]) -> list[str]:
    return [notice.path for notice in notices(make_job(**{"referenceReset": OFF, **spec}).spec)]


@pytest.mark.parametrize(
    ("path", "without", "effective"),
    [*((f"referenceReset.{path}", *rest) for path, *rest in RESETS), *OTHERS],
    ids=[path for path, *_ in (*RESETS, *OTHERS)],
)
def test_a_setting_without_effect_is_named_and_one_with_an_effect_is_not(
    path: str, without: dict[str, Any], effective: dict[str, Any]
) -> None:
    assert told(without) == [f"spec.{path}"]
    assert told(effective) == []


def causes(spec: dict[str, Any]) -> set[str]:
    """The triggers that reset before the last step, over a series in which each holds once it has seen enough."""
    job = make_job(**spec).spec
    lines = [
        {
            "step": step,
            "attempt": 1,
            **({"kl": 1.0, "entropy": 1.0} if step else {}),
            **({"validation_accuracy": 0.1 if step else 0.9} if step % job.validation.every_steps == 0 else {}),
        }
        for step in range(TOTAL)
    ]
    return {proposal.evidence.trigger for proposal in replay(job.reference_reset, lines)}


@pytest.mark.parametrize(("path", "without", "effective"), RESETS, ids=[path for path, *_ in RESETS])
def test_a_trigger_that_is_said_to_be_without_effect_resets_nothing_before_the_last_step(
    path: str, without: dict[str, Any], effective: dict[str, Any]
) -> None:
    named = f"t{path.partition('[')[2][:1] or '0'}"
    assert named in causes(effective)
    if ".any[" not in path:  # of which another condition may hold
        assert named not in causes(without)


def test_the_default_cooldown_is_told_of_as_the_default() -> None:
    (notice,) = notices(make_job().spec)
    assert (notice.path, notice.got) == ("spec.referenceReset.cooldownSteps", "100, the default")
    assert str(TOTAL) in notice.want
    said = (
        f"no reset can happen in the {TOTAL} steps of the run, since no trigger fires in its first 100; harmless in a"
    )
    assert str(notice).startswith(f"spec.referenceReset.cooldownSteps: got 100, the default: {said}")


def test_an_evaluation_trains_nothing_and_is_told_nothing() -> None:
    job = make_job(schedule={"totalSteps": 0}, validation={"everySteps": 50}, checkpoint={"everySteps": 50})
    assert notices(job.spec) == ()


def test_stages_count_the_optimizer_steps_of_a_warm_up() -> None:
    stage = {"name": "long", "fromStep": 11, "overrides": {"minibatchPrompts": 1}}
    many = {"schedule": {"totalSteps": 20, "stages": [stage]}, "learner": {"optimizer": {"warmupSteps": 99}}}
    assert told(many) == []  # 10 x 2 + 10 x 8
    many["learner"]["optimizer"]["warmupSteps"] = 100  # type: ignore[index]
    assert told(many) == ["spec.learner.optimizer.warmupSteps"]


def examples() -> Iterator[Path]:
    for path in sorted(EXAMPLES.rglob("*.yaml")):
        try:
            read_job(path)
        except SpecError:  # a file of volumes
            continue
        yield path


@pytest.mark.parametrize("path", list(examples()), ids=lambda path: path.name)
def test_no_example_sets_what_has_no_effect(path: Path) -> None:
    assert notices(read_job(path).spec) == ()
