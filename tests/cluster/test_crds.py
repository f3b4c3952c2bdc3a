"""The ProRLJob definition in a real API server: what it takes, refuses, fills in, freezes and shows."""

from __future__ import annotations

import copy
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import ApiException, ApiextensionsV1Api
from pydantic import BaseModel
from typer.testing import CliRunner

from prorl_api import API_GROUP, yaml12
from prorl_api.crd import job_from_object, status_from_object, status_to_object
from prorl_api.manifest import read_job, validate_job
from prorl_api.spec.base import Change, change_marks, rules_of
from prorl_api.spec.job import ProRLJobSpec
from prorl_api.status import Condition, ConditionStatus, ConditionType, JobStatus
from prorl_cli.main import app
from tests.cluster.definitions import GOOD_FILES, Definitions, conditions, install, refusal
from tests.testbed.control_plane import ControlPlane

sys.path.insert(0, str(Path(__file__).parents[1] / "unit/api"))
from api_builders import REMOVED, changed, make_manifest, make_source, make_stage
from bad_manifests import BROKEN_RULES, ONE_MACHINE_ROWS, SCHEMA_ROWS, UNKNOWN_FIELDS, Bad, Tier
from test_manifest_rules import spec_models

JOBS = "prorljobs"


@pytest.fixture(scope="module")
def crds(cluster: ControlPlane) -> Definitions:
    return install(cluster.client())


def document(path: Path) -> dict[str, Any]:
    """A manifest without its namespace."""
    found: dict[str, Any] = yaml12.load(path.read_text(encoding="utf-8"))[0]
    found["metadata"].pop("namespace", None)
    return found


def completed(model: BaseModel, *, is_in_list: bool = False) -> dict[str, Any]:
    """A model with its defaults, as the server is to store it: within lists only what was given."""
    found: dict[str, Any] = {}
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if value is None or (is_in_list and name not in model.model_fields_set):
            continue
        if isinstance(value, BaseModel):
            stored: Any = completed(value, is_in_list=is_in_list)
        elif isinstance(value, tuple) and any(isinstance(item, BaseModel) for item in value):
            is_given = name in model.model_fields_set  # a list that is a default is stored as the default is written
            stored = [completed(item, is_in_list=is_given) for item in value]
        else:
            stored = json.loads(json.dumps(value))
        found[field.alias or name] = stored
    return found


def fixed_texts(row: Bad) -> list[list[str]]:
    """Of every CEL form of the row's rule, the parts of its message that hold no values."""
    model_name, name = row.rule.split(".")
    model = next(model for model in spec_models() if model.__name__ == model_name)
    return [re.split(r"\{[^{}]+\}", form.message) for form in rules_of(model)[name]]


def test_the_definitions_are_taken_without_a_warning_and_are_structural(crds: Definitions) -> None:
    assert crds.warnings == {}
    for plural in (JOBS, "prorlresets"):
        found = conditions(ApiextensionsV1Api(crds.client), f"{plural}.{API_GROUP}")
        assert found == {"NamesAccepted": "True", "Established": "True"}


@pytest.mark.parametrize("path", GOOD_FILES, ids=lambda path: path.name)
def test_a_good_manifest_is_taken_and_read_back_as_the_same_job(crds: Definitions, namespace: str, path: Path) -> None:
    stored = crds.create(JOBS, namespace, document(path))
    assert job_from_object(stored).spec == read_job(path).spec


@pytest.mark.parametrize("path", GOOD_FILES, ids=lambda path: path.name)
def test_defaults_are_filled_in_as_pydantic_fills_them_in(crds: Definitions, namespace: str, path: Path) -> None:
    stored = crds.create(JOBS, namespace, document(path), keep=False)
    assert stored["spec"] == completed(read_job(path).spec)


def test_the_defaults_of_a_minimal_manifest_are_those_of_pydantic(crds: Definitions, namespace: str) -> None:
    stored = crds.create(JOBS, namespace, make_manifest(), keep=False)
    assert stored["spec"] == completed(validate_job(make_manifest()).spec)


@pytest.mark.parametrize("row", [row for row in SCHEMA_ROWS if row.tier is Tier.SCHEMA], ids=lambda row: row.path)
def test_the_schema_refuses_a_field_wrong_by_itself_and_names_it(crds: Definitions, namespace: str, row: Bad) -> None:
    found = crds.refusal(JOBS, namespace, make_manifest(row.changes))
    assert found is not None
    assert (row.server_says or row.path) in found.message


@pytest.mark.parametrize("row", [row for row in SCHEMA_ROWS if row.tier is Tier.TEXT], ids=lambda row: row.path)
def test_a_number_that_json_does_not_have_is_no_object_at_all(crds: Definitions, namespace: str, row: Bad) -> None:
    found = crds.refusal(JOBS, namespace, make_manifest(row.changes))
    assert found is not None
    assert found.code == 400
    assert "invalid character" in found.message


@pytest.mark.parametrize(("name", "value", "path", "near"), UNKNOWN_FIELDS, ids=lambda value: str(value)[:40])
def test_an_unknown_field_is_refused_by_its_path(
    crds: Definitions, namespace: str, name: str, value: Any, path: str, near: str
) -> None:
    found = crds.refusal(JOBS, namespace, make_manifest({name: value}))
    assert found is not None
    assert f'unknown field "{path}"' in found.message


@pytest.mark.parametrize("row", BROKEN_RULES, ids=lambda row: row.rule)
def test_a_broken_rule_is_refused_by_the_tier_that_the_table_names(crds: Definitions, namespace: str, row: Bad) -> None:
    found = crds.refusal(JOBS, namespace, make_manifest(row.changes))
    assert found is not None
    (field,) = found.fields
    assert field == row.path if row.tier is Tier.CEL else field.startswith(f"{row.path}.")
    speaks = any(all(text in found.message for text in texts) for texts in fixed_texts(row))
    assert speaks is (row.tier is Tier.CEL)
    assert ("Duplicate value" in found.message) is (row.tier is Tier.SCHEMA)


@pytest.mark.parametrize("row", ONE_MACHINE_ROWS, ids=lambda row: row.path)
def test_what_only_one_machine_cannot_hold_is_taken(crds: Definitions, namespace: str, row: Bad) -> None:
    assert crds.refusal(JOBS, namespace, make_manifest(row.changes)) is None


@pytest.mark.parametrize("row", [*SCHEMA_ROWS, *BROKEN_RULES, *ONE_MACHINE_ROWS], ids=lambda row: row.rule or row.path)
def test_prorl_validate_refuses_every_bad_manifest_and_says_where(tmp_path: Path, row: Bad) -> None:
    manifest = tmp_path / "job.yaml"
    manifest.write_text(json.dumps(make_manifest(row.changes)), encoding="utf-8")
    result = CliRunner().invoke(app, ["validate", str(manifest)])
    assert result.exit_code != 0
    assert f"{row.path}: got" in result.output


def large_manifest() -> dict[str, Any]:
    """As many sources, stages and triggers as the schema allows, in half the size of the largest object."""
    names = [f"source-with-a-rather-long-name-{number:02}" for number in range(64)]
    tasks = [{"name": f"task_{number}", "config": {"min_terms": number}} for number in range(16)]
    sources = [make_source(name, reasoningGym={"tasks": tasks}, prompt={"system": "s" * 4096}) for name in names]
    weights = dict.fromkeys(names, 1.5)
    stages = [make_stage(f"stage-{step}", step, promptsPerStep=128, sourceWeights=weights) for step in range(1, 65)]
    return make_manifest(
        {
            "spec.data.sources": sources,
            "spec.schedule.stages": stages,
            "spec.validation.sources": [{"name": name} for name in names],
            "spec.referenceReset.triggers": [
                {"name": f"trigger-{number}", "validationStalled": {}} for number in range(32)
            ],
        }
    )


def test_the_rules_can_be_afforded_for_the_largest_job_and_its_edits(crds: Definitions, namespace: str) -> None:
    """The API server gives up on rules that cost too much, and refuses the object."""
    stored = crds.create(JOBS, namespace, large_manifest())
    stored["spec"]["rollout"]["replicas"] = 2
    assert crds.replace(JOBS, namespace, stored)["metadata"]["generation"] == 2


IMMUTABLE_EDITS: list[tuple[str, Any]] = [
    ("spec.seed", 9),
    ("spec.model.path", "./other"),
    ("spec.initFrom", REMOVED),
    ("spec.initFrom.run", "./other"),
    ("spec.initFrom.checkpoint", "best"),
    ("spec.initFrom.optimizer", True),
    ("spec.data.sources.0.weight", 3),
    ("spec.data.sources.0.reasoningGym.tasks.0.config.min_terms", 3),
    ("spec.data.sources.0.prompt.system", "Think."),
    ("spec.data.sources.1", make_source("products")),
    ("spec.scheduling", REMOVED),
    ("spec.scheduling.gang", REMOVED),
    ("spec.scheduling.gang.scheduleTimeoutSeconds", 60),
    ("spec.learner.engine", "plain"),
    ("spec.learner.precision", "float32"),
    ("spec.local.learner.precision", "float32"),
    ("spec.local.learner", {"engine": "deepspeed"}),
]
LATER_EDITS: list[tuple[str, Any]] = [
    ("spec.rollout.replicas", 5),
    ("spec.rollout.temperature", 0.7),
    ("spec.suspend", True),
    ("spec.algorithm.kl.coefficient", 0),
    ("spec.schedule.totalSteps", 9),
    ("spec.schedule.stages", [make_stage("late", 5, groupSize=4)]),
    ("spec.referenceReset.mode", "approve"),
    ("spec.sandbox.podTemplate", {"spec": {"nodeSelector": {"a": "b"}}}),
    ("spec.local.modelPath", "./elsewhere"),
    ("spec.learner.deepspeed.zeroStage", 3),
    ("spec.learner.deepspeed", {"zeroStage": 0}),
    ("spec.learner.replicas", 2),
    ("spec.learner.processesPerReplica", 8),
    ("spec.learner", {"replicas": 1, "processesPerReplica": 1, "threads": 2, "deepspeed": {"offloadOptimizer": True}}),
    ("spec.rollout.maxCompletionTokens", 10_000),
    ("metadata.labels", {"team": "a"}),
]
BEGUN: dict[str, Any] = {
    "spec.initFrom": {"run": "./before"},
    "spec.scheduling": {"gang": {"scheduler": "coscheduling"}},
    "spec.data.sources.0.reasoningGym.tasks.0.config": {"min_terms": 2},
}


def edited(stored: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    return changed(copy.deepcopy(stored), {path: value})


@pytest.mark.parametrize(("path", "value"), IMMUTABLE_EDITS, ids=lambda value: str(value)[:60])
def test_an_edit_of_what_is_immutable_is_refused_with_the_remedy(
    crds: Definitions, namespace: str, path: str, value: Any
) -> None:
    stored = crds.create(JOBS, namespace, make_manifest(BEGUN))
    with pytest.raises(ApiException) as caught:
        crds.replace(JOBS, namespace, edited(stored, path, value))
    found = refusal(caught.value)
    (field,) = set(found.fields)
    assert f"{path}.".startswith(f"{field}.") or f"{field}.".startswith(f"{path}.")
    assert field.split(".")[:2] == path.split(".")[:2]
    assert "create another job, with `initFrom`" in found.message
    assert "to continue this one's weights" in found.message


def test_every_immutable_section_is_edited_above() -> None:
    marked = {f"spec.{path}" for path, mark in change_marks(ProRLJobSpec).items() if mark is Change.IMMUTABLE}
    assert {".".join(path.split(".")[:2]) for path in marked} == {
        ".".join(path.split(".")[:2]) for path, _ in IMMUTABLE_EDITS
    }


def test_an_optional_section_cannot_come_later(crds: Definitions, namespace: str) -> None:
    stored = crds.create(JOBS, namespace, make_manifest())
    with pytest.raises(ApiException, match=r"`initFrom` cannot be changed"):
        crds.replace(JOBS, namespace, edited(stored, "spec.initFrom", {"run": "./before"}))


def test_sources_cannot_change_places(crds: Definitions, namespace: str) -> None:
    stored = crds.create(JOBS, namespace, make_manifest({"spec.data.sources.1": make_source("products")}))
    stored["spec"]["data"]["sources"].reverse()
    with pytest.raises(ApiException, match="must keep their order"):
        crds.replace(JOBS, namespace, stored)


@pytest.mark.parametrize(("path", "value"), LATER_EDITS, ids=lambda value: str(value)[:60])
def test_every_other_edit_is_taken(crds: Definitions, namespace: str, path: str, value: Any) -> None:
    stored = crds.create(JOBS, namespace, make_manifest(BEGUN))
    replaced = crds.replace(JOBS, namespace, edited(stored, path, value))
    assert replaced["metadata"]["generation"] == (1 if path.startswith("metadata") else 2)


STATUS = JobStatus(
    conditions=(
        Condition(
            type=ConditionType.SUCCEEDED,
            status=ConditionStatus.UNKNOWN,
            reason="Training",
            message="step 7 of 100",
            last_transition_time=1_800_000_000.0,
        ),
    ),
    step=7,
    total_steps=100,
    stage="wide",
    attempt=2,
    weights_id="2-7-0123456789abcdef",
    restarts={"learner": 1},
    last_checkpoint_step=5,
    last_kl="0.0123",
    last_accuracy="0.625",
    last_metrics_time=1_800_000_010.0,
    last_reset="demo-reset-1",
    resets=1,
    updated=1_800_000_011.0,
)


def with_status(crds: Definitions, namespace: str) -> dict[str, Any]:
    stored = crds.create(JOBS, namespace, make_manifest({"spec.rollout.replicas": 3}))
    stored["status"] = status_to_object(STATUS, job_name="demo", generation=1, rollout_replicas=2)
    return crds.replace_status(JOBS, namespace, stored)


def test_a_written_status_comes_back_as_the_same_status(crds: Definitions, namespace: str) -> None:
    assert status_from_object(with_status(crds, namespace)["status"]) == STATUS


def test_columns_show_where_a_job_stands(crds: Definitions, namespace: str) -> None:
    with_status(crds, namespace)
    (row,) = crds.table(JOBS, namespace)
    assert re.fullmatch(r"\d+s", row.pop("Age"))
    assert row == {
        "Name": "demo", "State": "Training", "Step": 7, "Total": 100, "Stage": "wide", "KL": "0.0123",
        "Accuracy": "0.625", "Resets": 1, "Last reset": "demo-reset-1", "Succeeded": "Unknown", "Attempt": 2,
        "Checkpoint": 5, "Servers": 2, "Message": "step 7 of 100",
    }  # fmt: skip


def test_an_autoscaler_sees_and_sets_the_rollout_servers(crds: Definitions, namespace: str) -> None:
    with_status(crds, namespace)
    scale = crds.scale(JOBS, namespace, "demo")
    assert scale["spec"] == {"replicas": 3}
    assert scale["status"] == {"replicas": 2, "selector": "prorl.dev/job=demo,prorl.dev/role=rollout"}
    crds.set_scale(JOBS, namespace, "demo", 4)
    assert crds.read(JOBS, namespace, "demo")["spec"]["rollout"]["replicas"] == 4
