"""The spec as a whole: every field can be set and comes back, defaults are the documented ones, all is bounded."""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

sys.path.insert(0, str(Path(__file__).parent))
from api_builders import make_job

import prorl_api
from prorl_api.manifest import parse_job, read_job
from prorl_api.spec.base import Change, SpecModel, change_marks
from prorl_api.spec.job import ProRLJob, ProRLJobSpec
from prorl_api.wire.base import WireModel

FULL = Path(__file__).parent / "data/full.yaml"
# Fields that exclude one another: the full manifest has the other one.
LEFT_OUT = {"bufferTokens", "prometheusUrl"}

for _module in pkgutil.walk_packages(prorl_api.__path__, "prorl_api."):
    importlib.import_module(_module.name)


def below(base: type[Any]) -> Iterator[type[Any]]:
    for child in base.__subclasses__():
        yield child
        yield from below(child)


MODELS: list[type[BaseModel]] = [
    model for model in (*below(SpecModel), *below(WireModel)) if model.__module__.startswith("prorl_api.")
]
KUBERNETES_OWN = {"ConditionStatus"}  # no manifest holds these words
WORDS: list[type[StrEnum]] = [
    kind for kind in below(StrEnum) if kind.__module__.startswith("prorl_api.") and kind.__name__ not in KUBERNETES_OWN
]


def set_fields(model: BaseModel) -> Iterator[tuple[type[BaseModel], str]]:
    for name in model.model_fields_set:
        yield type(model), name
        value = getattr(model, name)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, BaseModel):
                yield from set_fields(item)


def test_the_full_manifest_sets_every_field_of_every_model() -> None:
    found = {(model.__name__, name) for model, name in set_fields(read_job(FULL))}
    fields = {
        (model.__name__, name)
        for model in below(SpecModel)
        if model.__module__ != "prorl_api.reset_manifest"  # of another object than the job
        if not model.model_config.get("defer_build")  # a part of one
        for name, field in model.model_fields.items()
        if field.alias not in LEFT_OUT
    }
    assert found == fields


def test_a_dumped_manifest_reads_back_equal() -> None:
    job = read_job(FULL)
    document = job.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert parse_job(json.dumps(document, ensure_ascii=False)) == job


def test_a_dumped_minimal_manifest_reads_back_equal() -> None:
    job = make_job()
    assert parse_job(job.model_dump_json(by_alias=True)) == job


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed", 0), ("rollout.replicas", 1), ("rollout.temperature", 1.2), ("rollout.max_completion_tokens", 8192),
        ("learner.prompts_per_step", 256), ("learner.group_size", 16), ("learner.minibatch_prompts", 64),
        ("learner.optimizer.learning_rate", 2e-6), ("learner.deepspeed.zero_stage", 2), ("algorithm.advantage", "grpo"),
        ("algorithm.clip.low", 0.2), ("algorithm.clip.high", 0.4), ("algorithm.loss_aggregation", "token-mean"),
        ("algorithm.dynamic_sampling.enabled", True), ("algorithm.dynamic_sampling.max_rounds", 8),
        ("algorithm.kl.coefficient", 1e-4), ("algorithm.kl.estimator", "k2"), ("algorithm.kl.log_ratio_clamp", 10.0),
        ("algorithm.engine_mismatch.correction", "tis"), ("algorithm.engine_mismatch.cap", 2.0),
        ("algorithm.length.penalty", "none"), ("schedule.total_steps", 2450), ("validation.every_steps", 10),
        ("validation.samples_per_prompt", 4), ("validation.temperature", 0.6), ("validation.top_p", 0.95),
        ("reference_reset.mode", "automatic"), ("reference_reset.optimizer", "clear"),
        ("reference_reset.source", "current"), ("reference_reset.cooldown_steps", 100), ("checkpoint.every_steps", 50),
        ("checkpoint.every_minutes", 30.0), ("checkpoint.keep", 3), ("suspend", False),
    ],
)  # fmt: skip
def test_a_minimal_manifest_has_the_documented_defaults(path: str, value: Any) -> None:
    found: Any = make_job().spec
    for part in path.split("."):
        found = getattr(found, part)
    assert found == value


def test_a_job_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        setattr(make_job().spec, "seed", 3)  # noqa: B010


@pytest.mark.parametrize("kind", WORDS, ids=lambda kind: kind.__name__)
def test_no_word_of_ours_is_a_boolean_or_null_or_number_to_yaml(kind: type[StrEnum]) -> None:
    booleans = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", ""}
    for word in kind:
        assert word.value.lower() not in booleans
        assert not word.value[0].isdigit()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_is_described_by_itself_or_by_the_section_or_enum_it_holds(model: type[BaseModel]) -> None:
    bare = [
        name for name, field in model.model_fields.items() if not (field.description or described(field.annotation))
    ]
    assert bare == []


def described(annotation: Any) -> bool:
    options = (annotation,) if isinstance(annotation, type) else getattr(annotation, "__args__", (annotation,))
    held = [option for option in options if option is not type(None)]
    return all(isinstance(kind, type) and issubclass(kind, (BaseModel, Enum)) and bool(kind.__doc__) for kind in held)


def test_every_number_text_list_and_map_of_the_spec_is_bounded() -> None:
    assert list(unbounded(ProRLJob.model_json_schema(by_alias=True), "")) == []


BOUNDS = {
    "integer": ({"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}),
    "number": ({"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}),
    "string": ({"maxLength", "pattern"},),
    "array": ({"maxItems"},),
}


def unbounded(node: dict[str, Any], path: str) -> Iterator[str]:
    """Paths in a JSON schema of values that could be arbitrarily large."""
    wanted = () if {"enum", "const"} & node.keys() else BOUNDS.get(node.get("type", ""), ())
    if node.get("type") == "object" and node.get("additionalProperties", False) is not False:
        wanted = ({"maxProperties"},)
    if not all(bounds & node.keys() for bounds in wanted):
        yield path
    for key in ("properties", "$defs"):
        for name, child in node.get(key, {}).items():
            yield from unbounded(child, f"{path}.{name}")
    children = [*node.get("anyOf", []), node.get("items"), node.get("additionalProperties")]
    for child in children:
        if isinstance(child, dict):
            yield from unbounded(child, f"{path}[]")


@pytest.mark.parametrize(
    ("path", "mark"),
    [
        ("seed", Change.IMMUTABLE),
        ("data.sources", Change.IMMUTABLE),
        ("model.path", Change.IMMUTABLE),
        ("suspend", Change.LIVE),
        ("rollout.replicas", Change.LIVE),
        ("referenceReset.cooldownSteps", Change.LIVE),
        ("rollout.temperature", Change.STEP_BOUNDARY),
        ("algorithm.clip.high", Change.STEP_BOUNDARY),
        ("learner.optimizer.learningRate", Change.STEP_BOUNDARY),
        ("learner.optimizer.weightDecay", Change.NEXT_ATTEMPT),
        ("rollout.tensorParallelSize", Change.NEXT_ATTEMPT),
        ("rollout.resources.limits", Change.NEXT_ATTEMPT),
        ("schedule.stages", Change.NEXT_ATTEMPT),
    ],
)
def test_a_change_takes_effect_as_its_own_mark_says_or_else_its_section(path: str, mark: Change) -> None:
    assert change_marks(ProRLJobSpec)[path] is mark


def test_every_leaf_of_the_spec_has_a_mark() -> None:
    marks = change_marks(ProRLJobSpec)
    assert {path.partition(".")[0] for path in marks} == {
        field.alias or name for name, field in ProRLJobSpec.model_fields.items()
    }
    assert "initFrom.run" in marks
    assert "rollout" not in marks
