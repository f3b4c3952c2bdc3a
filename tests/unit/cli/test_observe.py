"""What Prometheus is told of local runs, and what happens where it cannot be started."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from prorl_api.run_folder import RunFolder
from prorl_api.spec.values import Role
from prorl_cli.local.folder import begin
from prorl_cli.local.targets import listed, targets
from prorl_cli.main import app
from prorl_cli.observe import configuration
from prorl_control.members import MemberKey
from prorl_observability.boards import BOARDS
from prorl_observability.files import dashboards_folder

LEARNER, ROLLOUT = MemberKey(role=Role.LEARNER, index=0), MemberKey(role=Role.ROLLOUT, index=1)
URLS = {LEARNER: "http://127.0.0.1:4001", ROLLOUT: "http://127.0.0.1:4002"}
PODMONITOR = Path(__file__).resolve().parents[3] / "charts/prorl-operator/templates/podmonitor.yaml"


def observe(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["observe", *map(str, arguments)])
    return result.exit_code, result.output


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.create()
    begin(folder, "", manifest_folder=tmp_path, model=None)
    return folder


def test_every_member_is_a_target_with_the_labels_that_the_chart_gives() -> None:
    found = targets(URLS, job="demo", run_uid="u1")
    assert [group["targets"] for group in found] == [["127.0.0.1:4001"], ["127.0.0.1:4002"]]
    labels: dict[str, Any] = found[1]["labels"]
    assert labels == {
        "namespace": "local",
        "pod": "rollout-1",
        "prorl_job": "demo",
        "prorl_role": "rollout",
        "prorl_run": "u1",
    }
    in_the_chart = {line.split(":")[1].strip() for line in PODMONITOR.read_text().splitlines() if "targetLabel" in line}
    assert in_the_chart == {name for name in labels if name.startswith("prorl_")}


def test_the_targets_are_listed_while_the_members_run(run: RunFolder) -> None:
    with listed(run, URLS, job="demo", run_uid="u1"):
        assert json.loads(run.targets.read_text()) == targets(URLS, job="demo", run_uid="u1")
    assert not run.targets.exists()


def test_what_a_component_says_of_itself_is_dropped_as_in_the_chart() -> None:
    [scrape] = configuration([Path("/runs/a/prometheus-targets.json")], Path("/rules.yaml"))["scrape_configs"]
    text = PODMONITOR.read_text()
    rules = "\n".join(line for line in text[text.index("metricRelabelings:") :].splitlines() if "{{" not in line)
    assert scrape["metric_relabel_configs"] == yaml.safe_load(rules)["metricRelabelings"]


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    code, output = observe(tmp_path, "--prometheus", "/bin/true")
    assert code == 1
    assert "is no run folder" in output


def test_without_prometheus_the_remedy_is_named(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(run.path))
    code, output = observe(run.path)
    assert code == 1
    assert "no program `prometheus` on the PATH" in output
    assert "make observe" in output
    code, output = observe(run.path, "--prometheus", run.path)
    assert code == 1
    assert "no program that can be started" in output


def test_a_port_in_use_is_an_error_with_a_remedy(run: RunFolder) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, output = observe(run.path, "--prometheus", "/bin/true", "--port", taken.getsockname()[1])
    assert code == 1
    assert "choose another with --port" in output


def test_a_prometheus_that_ends_by_itself_is_an_error(run: RunFolder, unused_tcp_port: int) -> None:
    code, output = observe(run.path, "--prometheus", "/bin/false", "--port", unused_tcp_port)
    assert code == 1
    assert "Prometheus ended with exit code 1" in output


def test_the_dashboards_are_at_hand() -> None:
    assert {path.stem for path in dashboards_folder().glob("*.json")} == set(BOARDS)
