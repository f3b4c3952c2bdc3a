"""`prorl observe` with a real Prometheus, over targets as `prorl run` lists them."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from prorl_api.run_folder import RunFolder
from prorl_api.spec.values import Role
from prorl_cli.local.folder import begin, read_identity
from prorl_cli.local.targets import listed
from prorl_control.members import MemberKey
from prorl_observability.rules import local_groups
from tests.integration.observability.watched_run import other_learner, text_server
from tests.testbed import build, tools
from tests.testbed.prometheus import Prometheus

JOB = "demo"


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


def values_by_run(server: Prometheus, expr: str) -> dict[str, float]:
    return {found["metric"]["prorl_run"]: float(found["value"][1]) for found in server.query(expr)}


def hear_interrupts() -> None:
    """Undo what a shell does to its background jobs, tests among them: they ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.timeout(300)
def test_runs_are_found_while_they_run_and_told_apart(tmp_path: Path) -> None:
    runs = [RunFolder(tmp_path / name) for name in ("one", "two")]
    for run in runs:
        run.create()
        begin(run, "", manifest_folder=tmp_path, model=None)
    uids = [identity.uid for run in runs if (identity := read_identity(run)) is not None]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = build.command_path(tools.PROMETHEUS, "prometheus")
    command = [sys.executable, "-m", "prorl_cli", "observe", *(str(run.path) for run in runs), "--port", str(port)]
    with text_server(other_learner) as address:
        url = {MemberKey(role=Role.LEARNER, index=0): f"http://{address}"}
        process = subprocess.Popen(
            [*command, "--prometheus", str(program)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=hear_interrupts,  # noqa: PLW1509 (no threads between fork and exec here)
        )
        server = Prometheus(f"http://127.0.0.1:{port}")
        try:
            wait_for(server.is_ready, process)
            with listed(runs[0], url, job=JOB, run_uid=uids[0]), listed(runs[1], url, job=JOB, run_uid=uids[1]):
                wait_for(lambda: set(values_by_run(server, "prorl_learner_step")) == set(uids), process)
            wait_for(lambda: values_by_run(server, "up") == {}, process)
            rules = [rule["name"] for group in server.get("rules")["groups"] for rule in group["rules"]]
            wanted = [rule.get("alert") or rule["record"] for group in local_groups() for rule in group["rules"]]
            assert rules == wanted
            [series] = server.get("series", **{"match[]": f'prorl_learner_step{{prorl_run="{uids[0]}"}}'})
            labels = {name: value for name, value in series.items() if name not in ("__name__", "instance", "job")}
            assert labels == {
                "namespace": "local",
                "pod": "learner-0",
                "prorl_job": JOB,
                "prorl_role": "learner",
                "prorl_run": uids[0],
            }
            process.send_signal(signal.SIGINT)
            output = process.communicate(timeout=60)[0]
        finally:
            server.close()
            process.kill()
            process.wait()
    assert process.returncode == 0, output
    assert f"http://127.0.0.1:{port}" in output
    assert "dashboards for Grafana 11 or later" in output
