"""What changed in a manifest, and what may change in a begun run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from api_builders import make_job_of

from prorl_api.errors import SpecError
from prorl_api.spec.base import Change
from prorl_api.spec.edits import changes, immutable_faults, taken_up, waiting
from prorl_api.spec.job import ProRLJob
from prorl_control.plan import plan


def test_the_same_manifest_has_no_changes() -> None:
    assert changes(make_job_of(), make_job_of()) == []


def test_a_change_names_field_values_and_when_it_takes_effect() -> None:
    (change,) = changes(make_job_of(), make_job_of(schedule={"totalSteps": 5}))
    assert (str(change), change.mark) == ("spec.schedule.totalSteps: 2450 -> 5", Change.STEP_BOUNDARY)
    assert immutable_faults([change]) == []


def test_a_section_that_appears_is_a_change() -> None:
    (change,) = changes(make_job_of(), make_job_of(rollout={"resources": {"limits": {"cpu": 1}}}))
    assert change.path == "spec.rollout.resources.limits"


NAME = "a-source-with-quite-a-long-name"
LONG = {"name": NAME, "domain": "math", "jsonl": "/data/of/some/folder/rows.jsonl"}


@pytest.mark.parametrize(
    ("edited", "text"),
    [
        ([{**LONG, "heldOut": 8}], f"spec.data.sources: source {NAME} heldOut: 4 -> 8"),
        (
            [{**LONG, "heldOut": 4, "prompt": {"system": "Be brief."}}],
            f'spec.data.sources: source {NAME} prompt.system: null -> "Be brief."',
        ),
    ],
)
def test_of_a_long_value_only_what_differs_is_shown(edited: list[dict[str, Any]], text: str) -> None:
    before = make_job_of(data={"sources": [{**LONG, "heldOut": 4}]})
    (change,) = changes(before, make_job_of(data={"sources": edited}))
    assert str(change) == text
    (fault,) = immutable_faults([change])
    assert (fault.path, fault.got) == tuple(text.split(": ", 1))


def test_model_data_seed_and_name_are_fixed() -> None:
    other = make_job_of(name="other", model={"path": "./else"}, seed=3, local={"modelPath": "./third"})
    paths = [fault.path for fault in immutable_faults(changes(make_job_of(), other))]
    assert paths == ["metadata.name", "spec.seed", "spec.model.path", "spec.local.modelPath"]


def test_what_may_change_at_a_step_boundary_is_taken_up_and_the_rest_waits() -> None:
    edited = make_job_of(
        schedule={"totalSteps": 5},
        algorithm={"kl": {"coefficient": 0.5}},
        suspend=True,
        rollout={"dtype": "float32"},
        learner={"promptsPerStep": 16, "minibatchPrompts": 4, "precision": "float32"},
    )
    mixed = taken_up(make_job_of(), edited).spec
    assert (mixed.schedule.total_steps, mixed.algorithm.kl.coefficient, mixed.suspend) == (5, 0.5, True)
    assert mixed.learner.prompts_per_step == 16
    assert (mixed.rollout.dtype, mixed.learner.precision) == ("bfloat16", "bfloat16")


def test_taking_up_the_same_job_changes_nothing() -> None:
    job = make_job_of(rollout={"resources": {"limits": {"cpu": 1}}}, initFrom={"run": "./other"})
    assert taken_up(job, job) == job


STAGE = {"name": "late", "fromStep": 5, "overrides": {"minibatchPrompts": 4}}


def test_an_edit_whose_parts_only_hold_together_waits_as_a_whole() -> None:
    now = make_job_of(schedule={"stages": [STAGE]})
    edited = make_job_of(learner={"promptsPerStep": 6, "minibatchPrompts": 3})
    with pytest.raises(SpecError, match=r"stage late: `minibatchPrompts` must divide `promptsPerStep`, got 4 and 6"):
        taken_up(now, edited)


def lengths(completion: int, prompt: int = 100, *stages: int, microbatch: int = 5000) -> ProRLJob:
    found = [
        {"name": f"s{number}", "fromStep": number + 2, "overrides": {"maxCompletionTokens": stage}}
        for number, stage in enumerate(stages)
    ]
    return make_job_of(
        rollout={"maxPromptTokens": prompt, "maxCompletionTokens": completion},
        learner={"microbatchTokens": microbatch},
        schedule={"stages": found},
    )


@pytest.mark.parametrize(
    ("now", "edited", "engine_tokens", "taken", "mark"),
    [
        (lengths(400), lengths(300), None, 300, Change.STEP_BOUNDARY),
        (lengths(400), lengths(401), None, 400, Change.NEXT_ATTEMPT),
        (lengths(400), lengths(4000), None, 400, Change.NEXT_ATTEMPT),
        (lengths(400, 100, 900), lengths(900, 100, 900), None, 900, Change.STEP_BOUNDARY),
        (lengths(400, 100, 900), lengths(901, 100, 900), None, 400, Change.NEXT_ATTEMPT),
        (lengths(300), lengths(400), 500, 400, Change.NEXT_ATTEMPT),
        (lengths(300), lengths(401), 500, 300, Change.NEXT_ATTEMPT),
        (lengths(400), lengths(450, 50), None, 400, Change.STEP_BOUNDARY),
    ],
    ids=[
        "shorter",
        "longer by one",
        "far longer",
        "as long as the longest stage",
        "longer than the longest stage",
        "back to what the engines were started for",
        "beyond that",
        "longer where prompts get shorter, which waits",
    ],
)
def test_completions_are_raised_at_most_to_what_the_engines_were_started_for(
    now: ProRLJob, edited: ProRLJob, engine_tokens: int | None, taken: int, mark: Change
) -> None:
    job = taken_up(now, edited, engine_tokens=engine_tokens)
    assert job.spec.rollout.max_completion_tokens == taken
    assert job.spec.max_sequence_tokens <= (engine_tokens or now.spec.max_sequence_tokens)
    (change,) = (found for found in changes(now, edited) if found.path == "spec.rollout.maxCompletionTokens")
    assert change.mark is mark


def test_the_rest_of_an_edit_that_raises_the_length_is_taken_up() -> None:
    long = lengths(4000).spec
    algorithm = make_job_of(algorithm={"kl": {"coefficient": 0.5}}).spec.algorithm
    edited = lengths(4000).model_copy(update={"spec": long.model_copy(update={"algorithm": algorithm})})
    job = taken_up(lengths(400), edited)
    assert (job.spec.algorithm.kl.coefficient, job.spec.rollout.max_completion_tokens) == (0.5, 400)
    assert waiting(job, edited) == ["spec.rollout.maxCompletionTokens (the engines are sized when they start)"]


def test_engines_are_sized_for_the_longest_stage() -> None:
    assert lengths(400).spec.max_sequence_tokens == 500
    assert lengths(400, 100, 300, 900, 200).spec.max_sequence_tokens == 1000
    assert plan(lengths(400, 100, 300, 900)).rollout_settings.max_model_tokens == 1000


NUMBERS: list[dict[str, Any]] = [
    {"learner": {"precision": "float32"}},
    {"learner": {"engine": "plain"}},
    {"local": {"learner": {"precision": "float32"}}},
    {"local": {"learner": {"engine": "plain"}}},
]


@pytest.mark.parametrize("sections", NUMBERS, ids=str)
def test_what_a_checkpoints_numbers_come_of_is_fixed_once_there_is_one(sections: dict[str, Any]) -> None:
    base = {"promptsPerStep": 8, "minibatchPrompts": 4}
    edited = make_job_of(**{**sections, "learner": {**base, **sections.get("learner", {})}})
    found = changes(make_job_of(), edited)
    (fault,) = immutable_faults(found)
    assert "hold the numbers of this one; put it back" in fault.want
    assert "checkpoint: best" in fault.want
    assert immutable_faults(found, has_checkpoint=False) == []
    assert taken_up(make_job_of(), edited).spec.learner == make_job_of().spec.learner


SHAPES: list[dict[str, Any]] = [
    {"learner": {"deepspeed": {"zeroStage": 3}}},
    {"learner": {"deepspeed": {"zeroStage": 0}}},
    {"learner": {"replicas": 2}},
    {"learner": {"processesPerReplica": 4}},
    {"learner": {"replicas": 4, "processesPerReplica": 2, "deepspeed": {"zeroStage": 1}}},
    {"local": {"learner": {"processesPerReplica": 2}}},
]


@pytest.mark.parametrize("sections", SHAPES, ids=str)
def test_ranks_and_zero_stage_change_at_the_next_attempt(sections: dict[str, Any]) -> None:
    base = {"promptsPerStep": 8, "minibatchPrompts": 4}
    edited = make_job_of(**{**sections, "learner": {**base, **sections.get("learner", {})}})
    found = changes(make_job_of(), edited)
    assert {change.mark for change in found} == {Change.NEXT_ATTEMPT}
    assert immutable_faults(found) == []
    assert taken_up(make_job_of(), edited).spec.learner == make_job_of().spec.learner


def test_what_a_checkpoint_does_not_hold_may_change_at_the_next_attempt() -> None:
    learner = {"promptsPerStep": 8, "minibatchPrompts": 4, "deepspeed": {"offloadOptimizer": True}, "threads": 2}
    found = changes(make_job_of(), make_job_of(learner=learner, rollout={"dtype": "float32"}))
    assert {change.mark for change in found} == {Change.NEXT_ATTEMPT}


def test_seed_model_and_data_stay_fixed_without_a_checkpoint_too() -> None:
    found = changes(make_job_of(), make_job_of(seed=3, model={"path": "./else"}))
    assert len(immutable_faults(found, has_checkpoint=False)) == 2
