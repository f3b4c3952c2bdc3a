"""The two generated definitions as wholes: structural, bounded, described, and the same as the files of the chart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from prorl_api.crd import DEFINITIONS
from prorl_api.crd.__main__ import main
from prorl_api.spec.base import Change, change_marks
from prorl_api.spec.job import ProRLJobSpec

FILES = Path(__file__).parents[3] / "charts/prorl-operator/files/crds"
KINDS = sorted(DEFINITIONS)
# All that apiextensions v1 lets a structural schema say, as far as we use it.
KEYS = {
    "type", "format", "description", "default", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems", "maxProperties", "minProperties", "required",
    "properties", "items", "additionalProperties", "anyOf", "x-kubernetes-validations", "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys", "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields",
}  # fmt: skip


def schema_of(plural: str) -> dict[str, Any]:
    (version,) = DEFINITIONS[plural]()["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def nodes(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema node below `spec` and `status`, with its path."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in node:
            yield from nodes(node[key], f"{path}[]")


def ours(plural: str) -> list[tuple[str, dict[str, Any]]]:
    properties = schema_of(plural)["properties"]
    return [*nodes(properties["spec"], ".spec"), *nodes(properties["status"], ".status")]


@pytest.mark.parametrize("plural", KINDS)
def test_the_chart_s_file_is_what_the_models_say(plural: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([plural]) == 0
    file = FILES / f"{plural}.yaml"
    assert capsys.readouterr().out == file.read_text(encoding="utf-8"), f"{file} is outdated: run `make crd`"


@pytest.mark.parametrize("plural", KINDS)
def test_the_text_of_a_definition_reads_back_as_it(plural: str) -> None:
    assert yaml.safe_load((FILES / f"{plural}.yaml").read_text(encoding="utf-8")) == DEFINITIONS[plural]()


@pytest.mark.parametrize("arguments", [[], ["prorljob"], [*KINDS]])
def test_anything_but_one_known_name_is_answered_with_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert "usage: python -m prorl_api.crd prorljobs|prorlresets" in capsys.readouterr().err


@pytest.mark.parametrize("plural", KINDS)
def test_every_node_is_structural(plural: str) -> None:
    for path, node in ours(plural):
        assert set(node) <= KEYS, path
        assert "type" in node or node.get("x-kubernetes-int-or-string"), path
        assert node.get("type") != "null", path


BOUNDS: dict[str, list[set[str]]] = {
    "integer": [{"minimum"}, {"maximum", "format"}],
    "number": [{"minimum"}, {"maximum"}],
    "string": [{"maxLength", "enum"}],
    "array": [{"maxItems"}],
}


@pytest.mark.parametrize("plural", KINDS)
def test_every_value_is_bounded_so_that_the_cost_of_rules_is(plural: str) -> None:
    for path, node in ours(plural):
        wanted = BOUNDS.get(node.get("type", ""), [])
        if node.get("type") == "object" and "properties" not in node:
            wanted = [{"maxProperties"}]
        assert all(bounds & node.keys() for bounds in wanted), path


@pytest.mark.parametrize("plural", KINDS)
def test_every_field_is_described(plural: str) -> None:
    properties = schema_of(plural)["properties"]
    for part in ("spec", "status"):
        for path, node in nodes(properties[part], f".{part}"):
            bare = [name for name, child in node.get("properties", {}).items() if not child.get("description")]
            assert bare == [], path


@pytest.mark.parametrize("plural", KINDS)
def test_keyed_lists_require_their_keys(plural: str) -> None:
    keyed = {path: node for path, node in ours(plural) if node.get("x-kubernetes-list-type") == "map"}
    for path, node in keyed.items():
        assert set(node["x-kubernetes-list-map-keys"]) <= set(node["items"]["required"]), path
    assert ".status.conditions" in keyed


@pytest.mark.parametrize("plural", KINDS)
def test_every_field_that_a_rule_speaks_of_exists(plural: str) -> None:
    for path, node in ours(plural):
        for validation in node.get("x-kubernetes-validations", []):
            said = " ".join(validation.values())
            for chain in re.findall(r"\b(?:self|oldSelf)((?:\.[A-Za-z]\w*)+)", said):
                assert leads_somewhere(node, chain.split(".")[1:]), f"{path}: {chain}"


def leads_somewhere(node: dict[str, Any], names: list[str]) -> bool:
    """Whether names lead from field to field; what follows a list or a map is a function of CEL."""
    for name in names:
        if "properties" not in node:
            return node.get("type") in ("array", "object")
        if name not in node["properties"]:
            return False
        node = node["properties"][name]
    return True


@pytest.mark.parametrize("plural", KINDS)
def test_every_column_and_the_scale_point_to_fields(plural: str) -> None:
    (version,) = DEFINITIONS[plural]()["spec"]["versions"]
    paths = [column["jsonPath"] for column in version["additionalPrinterColumns"]]
    paths += version["subresources"].get("scale", {}).values()
    known = {path for path, _ in ours(plural)} | {".metadata.creationTimestamp"}
    assert {re.sub(r"\[\?\(@\.type==\"\w+\"\)\]", "[]", path) for path in paths} <= known


def kept_fields(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Every field that a rule of its section compares with what it was."""
    for rule in schema.get("x-kubernetes-validations", ()):
        if "oldSelf" in rule["rule"] and "fieldPath" in rule:
            yield f"{path}{rule['fieldPath']}".removeprefix(".")
    for name, nested in schema.get("properties", {}).items():
        yield from kept_fields(nested, f"{path}.{name}")


def test_every_immutable_field_of_a_job_is_kept_by_a_rule_of_its_section() -> None:
    marked = {path for path, mark in change_marks(ProRLJobSpec).items() if mark is Change.IMMUTABLE}
    kept = set(kept_fields(schema_of("prorljobs")["properties"]["spec"]))
    assert all(any(f"{path}.".startswith(f"{field}.") for field in kept) for path in marked)
    assert all(any(f"{path}.".startswith(f"{field}.") for path in marked) for field in kept)
    assert {"seed", "data", "learner.engine", "local.learner.precision"} <= kept


def test_ranks_and_zero_stage_may_change() -> None:
    learner = schema_of("prorljobs")["properties"]["spec"]["properties"]["learner"]
    assert not [rule for rule in learner["x-kubernetes-validations"] if "oldSelf.replicas" in rule["rule"]]
    kept = set(kept_fields(learner))
    assert not {"replicas", "processesPerReplica", "deepspeed", "deepspeed.zeroStage"} & kept


def test_names_and_subresources_are_the_agreed_ones() -> None:
    job, reset = (DEFINITIONS[plural]()["spec"] for plural in ("prorljobs", "prorlresets"))
    assert (job["names"]["shortNames"], reset["names"]["shortNames"]) == (["prj"], ["prr"])
    assert job["versions"][0]["subresources"] == {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.rollout.replicas",
            "statusReplicasPath": ".status.rolloutReplicas",
            "labelSelectorPath": ".status.rolloutSelector",
        },
    }
    assert reset["versions"][0]["subresources"] == {"status": {}}
    assert (job["scope"], reset["scope"]) == ("Namespaced", "Namespaced")


def test_a_job_s_name_leaves_room_for_its_children() -> None:
    name = schema_of("prorljobs")["properties"]["metadata"]["properties"]["name"]
    assert name["maxLength"] == 40
