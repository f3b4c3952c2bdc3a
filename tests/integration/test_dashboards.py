"""The dashboards as the schema of Grafana's newest SDK reads them, strictly; Grafana itself cannot be had here."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prorl_observability.boards import BOARDS
from prorl_observability.files import dashboards_folder
from tests.testbed import build, tools


def check(*paths: Path) -> str:
    """What the schema has against dashboards; empty: nothing."""
    program = build.command_path(tools.DASHBOARD_CHECK, "dashboard-check")
    done = subprocess.run([str(program), *map(str, paths)], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (not done.stderr), done.stderr
    return done.stderr


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_a_dashboard_is_what_the_schema_says_to_the_last_field(name: str) -> None:
    assert check(dashboards_folder() / f"{name}.json") == ""


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda found: found.update(titel="x"), "titel"),
        (lambda found: found["panels"][1]["options"].pop("reduceOptions"), "reduceOptions"),
        (lambda found: found["panels"][1]["targets"][0].update(exprs="up"), "exprs"),
        (lambda found: found["templating"]["list"][0].update(type=7), "type"),
    ],
    ids=["unknown field", "missing option", "misspelt query", "value of another type"],
)
def test_what_the_schema_does_not_know_is_refused(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], object], told: str
) -> None:
    found = json.loads((dashboards_folder() / "prorl-run.json").read_text())
    spoil(found)
    path = tmp_path / "spoilt.json"
    path.write_text(json.dumps(found))
    assert told in check(path)
