"""`prorl observe`: a Prometheus over local runs, with the alerts loaded, and the dashboards at hand for a Grafana."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from prorl_api.errors import ProRLError
from prorl_cli.local.folder import existing
from prorl_observability.files import dashboards_folder
from prorl_observability.rules import local_groups

SCRAPE_SECONDS = 5
"""Steps of small models take seconds; a scrape costs a few milliseconds."""
_REMEDY = (
    "install Debian's package `prometheus`, or take it from https://prometheus.io/download, or name one with "
    "--prometheus; `make observe` builds one"
)


class ObserveError(ProRLError):
    """Prometheus cannot be started as it was asked for."""


def prometheus_program(given: Path | None) -> Path:
    """Return the program to start.

    Raises:
        ObserveError: There is none.
    """
    if given is not None:
        if not os.access(given, os.X_OK) or given.is_dir():
            raise ObserveError(f"--prometheus {given} is no program that can be started; {_REMEDY}")
        return given
    found = shutil.which("prometheus")
    if found is None:
        raise ObserveError(f"no program `prometheus` on the PATH; {_REMEDY}")
    return Path(found)


def configuration(target_files: Sequence[Path], rules: Path) -> dict[str, Any]:
    """Return Prometheus' configuration.

    Args:
        target_files: Of the runs; one that is not there yet, or no more, has no targets.
        rules: The rule file.
    """
    return {
        "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "evaluation_interval": f"{SCRAPE_SECONDS}s"},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {
                "job_name": "prorl",
                "file_sd_configs": [{"files": [str(path) for path in target_files], "refresh_interval": "5s"}],
                # What a component says itself; the target's label is the same, as in the chart's PodMonitor.
                "metric_relabel_configs": [{"action": "labeldrop", "regex": "exported_prorl_(job|run)"}],
            }
        ],
    }


@contextlib.contextmanager
def started(program: Path, runs: Sequence[Path], port: int, data: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start Prometheus over runs and end it afterwards.

    Args:
        program: Of Prometheus.
        runs: Run folders.
        port: On 127.0.0.1.
        data: Folder for configuration and samples; samples of an earlier start are kept.

    Raises:
        ObserveError: The port is taken.
        RunFolderError: A folder is no run.
    """
    files = [existing(run).targets.absolute() for run in runs]
    _raise_if_taken(port)
    data.mkdir(parents=True, exist_ok=True)
    rules, config = data / "rules.yaml", data / "prometheus.yaml"
    rules.write_text(yaml.safe_dump({"groups": local_groups()}), encoding="utf-8")
    config.write_text(yaml.safe_dump(configuration(files, rules.absolute())), encoding="utf-8")
    command = [
        str(program),
        f"--config.file={config}",
        f"--storage.tsdb.path={data / 'samples'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def observe(runs: Sequence[Path], *, program: Path | None, port: int, data: Path | None) -> Iterator[str]:
    """Start Prometheus, say where everything is, and wait for it to end: by Ctrl-C, or by itself.

    Raises:
        ObserveError: It cannot be started, or ended by itself.
        RunFolderError: A folder is no run.
    """
    found = prometheus_program(program)
    with contextlib.ExitStack() as stack:
        folder = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="prorl-observe-")))
        process = stack.enter_context(started(found, runs, port, folder))
        yield f"Prometheus over {len(runs)} run(s): http://127.0.0.1:{port} (alerts: /alerts); Ctrl-C ends it"
        yield f"dashboards for Grafana 11 or later, with that URL as data source: {dashboards_folder()}/*.json"
        if data is None:
            yield "samples are kept only while it runs; --data FOLDER keeps them"
        try:
            code = process.wait()
        except KeyboardInterrupt:
            return
        if code not in (0, -signal.SIGTERM, -signal.SIGINT):
            raise ObserveError(f"Prometheus ended with exit code {code}; what it said is above")


def _raise_if_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            why = error.strerror or str(error)
            raise ObserveError(
                f"port {port} of 127.0.0.1 cannot be taken: {why}; choose another with --port"
            ) from error
