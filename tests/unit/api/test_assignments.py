"""`--set path=value`: set as the manifest would, judged as the manifest is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from prorl_api.assignments import with_assignments
from prorl_api.errors import SpecError
from prorl_api.manifest import read_job

SOURCES = [{"name": "sums", "weight": 1}, {"name": "math", "jsonl": "m.jsonl"}]
DOCUMENT: dict[str, Any] = {"spec": {"data": {"sources": SOURCES}, "learner": {"groupSize": 8}, "validation": None}}


@pytest.mark.parametrize(
    ("assignment", "place", "value"),
    [
        ("learner.groupSize=16", ["learner", "groupSize"], 16),
        ("spec.learner.groupSize=16", ["learner", "groupSize"], 16),
        ("learner.optimizer.learningRate=1e-6", ["learner", "optimizer", "learningRate"], 1e-6),
        ("rollout.stop=[a, b]", ["rollout", "stop"], ["a", "b"]),
        ("rollout.stop=['a=b']", ["rollout", "stop"], ["a=b"]),
        ("model={path: /m}", ["model"], {"path": "/m"}),
        ("suspend=true", ["suspend"], True),
        ("data.sources[1].weight=2.5", ["data", "sources", 1, "weight"], 2.5),
        ("data.sources[math].weight=2.5", ["data", "sources", 1, "weight"], 2.5),
        ("data.sources.1.weight=2.5", ["data", "sources", 1, "weight"], 2.5),
        ("data.sources.0={name: other}", ["data", "sources", 0], {"name": "other"}),
        ("data.sources[0]={name: other}", ["data", "sources", 0], {"name": "other"}),
        ("validation.everySteps=5", ["validation", "everySteps"], 5),
        ("initFrom=", ["initFrom"], None),
        ("initFrom=null", ["initFrom"], None),
    ],
)
def test_an_assignment_sets_its_place_alone(assignment: str, place: list[str | int], value: object) -> None:
    made: Any = with_assignments(DOCUMENT, [assignment])
    found = made["spec"]
    for step in place:
        found = found[step]
    assert found == value
    assert DOCUMENT["spec"]["learner"] == {"groupSize": 8}, "the document itself stays"


def test_the_last_of_two_wins() -> None:
    assert with_assignments(DOCUMENT, ["learner.groupSize=2", "learner.groupSize=4"])["spec"]["learner"] == {
        "groupSize": 4
    }


@pytest.mark.parametrize(
    ("assignment", "wanted"),
    [
        ("learner.groupSize", "path=value"),
        ("=3", "path=value"),
        ("learner..groupSize=3", "path=value"),
        ("learner.=3", "path=value"),
        ("data.sources[]=3", "path=value"),
        ("learner.groupSize={", "a YAML value"),
        ("data.sources[2].weight=1", "0 to 1, or sums, math"),
        ("data.sources[maths].weight=1", "0 to 1, or sums, math"),
        ("data.sources.2.weight=1", "0 to 1, or sums, math"),
        ("learner.0=1", "there is none here"),
        ("0=1", "path=value"),
        ("data.sources.math.weight=1", "named in brackets"),
        ("learner[0]=1", "there is none here"),
        ("learner.groupSize.more=1", "a path through objects"),
    ],
)
def test_what_is_no_assignment_is_named_with_the_option(assignment: str, wanted: str) -> None:
    with pytest.raises(SpecError, match="--set") as caught:
        with_assignments(DOCUMENT, [assignment, "learner.groupSize=2"])
    assert wanted in str(caught.value)


def test_faults_of_all_assignments_come_together() -> None:
    with pytest.raises(SpecError) as caught:
        with_assignments(DOCUMENT, ["a", "b"])
    assert len(caught.value.faults) == 2


def test_the_manifest_judges_what_was_set(tmp_path: Path) -> None:
    full = yaml.safe_load((Path(__file__).parent / "data/full.yaml").read_text())
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(full))
    assert read_job(path, ["learner.groupSize=12"]).spec.learner.group_size == 12
    with pytest.raises(SpecError, match="did you mean `groupSize`"):
        read_job(path, ["learner.groupSiz=12"])
    with pytest.raises(SpecError, match=r"spec\.learner\.groupSize"):
        read_job(path, ["learner.groupSize=1"])
