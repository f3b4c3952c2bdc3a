"""Bad manifests: every fault is found, at its path, with what was got and what is wanted."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from api_builders import REMOVED, faults_of, make_job, make_manifest, make_source, make_stage
from bad_manifests import SCHEMA_ROWS, UNKNOWN_FIELDS, Bad

from prorl_api.errors import SpecError
from prorl_api.manifest import read_job, validate_job

CONTRADICTION = "fields that contradict each other"


@pytest.mark.parametrize("row", SCHEMA_ROWS, ids=lambda row: row.path)
def test_a_field_wrong_by_itself_is_reported_once_at_its_path(row: Bad) -> None:
    (fault,) = faults_of(row.changes)
    assert fault.path == row.path
    assert row.wanted in fault.want
    assert fault.got != CONTRADICTION


@pytest.mark.parametrize(("field", "value", "path", "near"), UNKNOWN_FIELDS)
def test_an_unknown_field_is_refused_with_the_nearest_known_name(field: str, value: Any, path: str, near: str) -> None:
    (fault,) = faults_of({field: value})
    assert (fault.path, fault.want) == (path, f"unknown field; did you mean `{near}`?")


def test_a_name_like_no_other_lists_the_known_ones() -> None:
    (fault,) = faults_of({"spec.model.zzz": 1})
    assert fault.want == "unknown field; known here: path"


def test_faults_of_both_tiers_in_all_sections_are_reported_together() -> None:
    stages = ["first", {"name": "b", "fromStep": "2"}, make_stage("c", 5, maxCompletionTokens=99999)]
    faults = faults_of(
        {
            "metadata.names": "x",
            "spec.rollout.topP": 0.9,
            "spec.rollout.replicas": "2",
            "spec.validation.topP": "high",
            "spec.learner": {"minibatchPrompts": 48, "groupSize": 1},
            "spec.schedule.stages": stages,
        }
    )
    assert {(fault.got == CONTRADICTION, fault.path) for fault in faults} == {
        (False, "metadata.names"),
        (False, "spec.rollout.replicas"),
        (False, "spec.validation.topP"),
        (False, "spec.learner.groupSize"),
        (False, "spec.schedule.stages[0]"),
        (False, "spec.schedule.stages[1].fromStep"),
        (True, "spec.rollout"),
        (True, "spec.learner"),
        (True, "spec"),
    }
    assert len(faults) == 9


def test_faulty_items_do_not_shift_the_paths_of_the_others() -> None:
    sources = [3, make_source("a", weight="x"), make_source("b", domain="code"), 4, make_source("c", domain="stem")]
    assert [fault.path for fault in faults_of({"spec.data.sources": sources})] == [
        "spec.data.sources[0]",
        "spec.data.sources[1].weight",
        "spec.data.sources[3]",
        "spec.data.sources[2]",
        "spec.data.sources[4]",
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"spec.model.path": 3},
        {"spec.data.sources.0.domain": "logik"},
        {"spec.data.sources.0.reasoningGym.tasks.0.name": 3},
        {"spec.data.sources.0.name": REMOVED},
        {"spec.learner.minibatchPrompts": "48"},
        {"spec.referenceReset.triggers": [{"name": "spike", "klSpike": {"above": "high"}}]},
        {"spec.validation.sources": [{"name": "sums"}], "spec.data.sources.0.name": "Sums!"},
    ],
)
def test_a_faulty_field_is_no_reason_to_call_another_one_faulty(changes: dict[str, Any]) -> None:
    assert len(faults_of(changes)) == 1


def test_a_missing_field_does_not_hide_broken_rules_elsewhere() -> None:
    faults = faults_of({"spec.schedule.stages": [{"name": "a"}], "spec.rollout.topP": 0.9})
    assert [fault.path for fault in faults] == ["spec.schedule.stages[0].fromStep", "spec.rollout"]


def test_what_was_got_is_shortened() -> None:
    (fault,) = faults_of({"metadata.name": "A" * 500})
    assert len(fault.got) == 80


def test_an_error_says_how_many_faults_and_lists_each_with_its_path() -> None:
    faults = faults_of({"spec.seed": -1, "spec.rollout.topP": 2})
    assert str(faults[0]) == "spec.seed: got -1; at least 0"
    assert [fault.path for fault in faults] == ["spec.seed", "spec.rollout.topP"]


@pytest.mark.parametrize(
    "path",
    [
        "spec.initFrom", "metadata.namespace", "spec.algorithm", "spec.algorithm.advantage", "spec.rollout.replicas",
        "spec.data.sources.0.weight", "spec.data.sources.0.reasoningGym.tasks.0.config", "spec.validation.sources",
    ],
)  # fmt: skip
def test_null_stands_for_a_field_that_is_not_set(path: str) -> None:
    assert make_job({path: None}) == make_job()


def test_a_null_in_a_map_of_ours_is_no_entry() -> None:
    weights = {"sums": 2, "products": None}
    job = make_job({"spec.schedule.stages": [make_stage("a", 5, sourceWeights=weights)]})
    assert job.spec.schedule.stages[0].overrides.source_weights == {"sums": 2.0}


@pytest.mark.parametrize(
    "path", ["spec.model", "spec.model.path", "spec.unknown", "spec.data.sources.0", "spec.rollout.stop.0"]
)
def test_a_null_is_refused_where_something_must_stand(path: str) -> None:
    (fault,) = faults_of({"spec.rollout.stop": ["x"], path: None})
    assert fault.path == re.sub(r"\.(\d+)", r"[\1]", path)


def test_a_status_is_no_part_of_a_manifest() -> None:
    (fault,) = faults_of({"status": {}})
    assert (fault.path, fault.want) == ("status", "unknown field; known here: apiVersion, kind, metadata, spec")


@pytest.mark.parametrize("text", ["{", "[]", "3"])
def test_a_json_file_that_holds_no_job_is_a_fault_of_the_manifest(tmp_path: Path, text: str) -> None:
    path = tmp_path / "job.json"
    path.write_text(text)
    with pytest.raises(SpecError, match=r"job.json"):
        read_job(path)


@pytest.mark.parametrize(
    ("section", "name", "wanted"),
    [
        ("spec.learner.optimizer", "lr", "spec.learner.optimizer.learningRate"),
        ("spec.learner", "num_generations", "spec.learner.groupSize"),
        ("metadata", "uid", "the API server sets it"),
    ],
)
def test_a_word_of_another_trainer_or_of_the_server_leads_to_ours(section: str, name: str, wanted: str) -> None:
    document = make_manifest()
    place = document
    for part in section.split("."):
        place = place.setdefault(part, {})
    place[name] = 1
    with pytest.raises(SpecError) as caught:
        validate_job(document)
    assert f"{section}.{name}: got 1; unknown field" in str(caught.value)
    assert wanted in str(caught.value)
