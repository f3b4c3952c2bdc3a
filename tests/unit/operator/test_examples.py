"""The examples for clusters can run there, and on one machine where they say how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prorl_api import yaml12
from prorl_api.manifest import read_job
from prorl_operator.manifests import cluster_faults

FOLDER = Path(__file__).resolve().parents[3] / "examples" / "cluster"
JOBS = sorted(set(FOLDER.glob("*.yaml")) - set(FOLDER.glob("*volumes.yaml")))
RECIPES = sorted(FOLDER.with_name("recipes").glob("*.yaml"))


@pytest.mark.parametrize("example", [*JOBS, *RECIPES], ids=lambda path: path.name)
def test_an_example_has_no_fault_in_a_cluster(example: Path) -> None:
    assert cluster_faults(read_job(example)) == []


def test_there_is_an_example_for_every_size() -> None:
    assert [path.stem for path in JOBS] == ["cpu-trial", "one-gpu-node"]


def test_the_volumes_of_one_node_fit_the_claims() -> None:
    def wants(spec: dict[str, Any], size: dict[str, str]) -> tuple[str, list[str]]:
        return size["storage"], spec["accessModes"]

    claims = {item["metadata"]["name"]: item["spec"] for item in yaml12.load((FOLDER / "volumes.yaml").read_text())}
    volumes = [item["spec"] for item in yaml12.load((FOLDER / "one-node-volumes.yaml").read_text())]
    assert {spec["claimRef"]["name"]: wants(spec, spec["capacity"]) for spec in volumes} == {
        name: wants(spec, spec["resources"]["requests"]) for name, spec in claims.items()
    }
