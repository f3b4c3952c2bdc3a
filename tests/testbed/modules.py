"""Files of a Go module that are wanted as they are: pinned by a go.mod and go.sum of ours, fetched once."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.testbed.errors import TestbedError
from tests.testbed.files import locked, staged
from tests.testbed.toolchain import go_command, go_environment
from tests.testbed.tools import CACHE

_MODULE = "github.com/prometheus-operator/prometheus-operator"
_PINS = Path(__file__).parent / "go" / "prometheus-operator"
_DEFINITIONS = ("podmonitors", "servicemonitors", "prometheusrules")


def monitoring_definitions() -> list[Path]:
    """The Prometheus operator's definitions of the objects that our chart makes.

    Raises:
        TestbedError: They are not fetched.
    """
    paths = [_target() / f"monitoring.coreos.com_{name}.yaml" for name in _DEFINITIONS]
    if not all(path.exists() for path in paths):
        raise TestbedError(f"{_MODULE} {_version()} is not fetched: run make cluster-build")
    return paths


def fetch_monitoring_definitions() -> str:
    """Fetch them unless they are there; what and which version.

    Raises:
        TestbedError: The module cannot be had.
    """
    with locked(CACHE / "prometheus-operator.lock"):
        if not _target().exists():
            _fetch()
    return f"definitions of the Prometheus operator {_version()}"


def _fetch() -> None:
    command = [str(go_command()), "mod", "download", "-json", f"{_MODULE}@{_version()}"]
    done = subprocess.run(
        command, cwd=_PINS, env=go_environment(os.environ), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise TestbedError(f"{_MODULE} cannot be had; set GOPROXY to a proxy this machine can reach:\n{done.stdout}")
    with staged(_target()) as folder:
        source = Path(json.loads(done.stdout)["Dir"]) / "example" / "prometheus-operator-crd"
        for name in _DEFINITIONS:
            shutil.copyfile(
                source / f"monitoring.coreos.com_{name}.yaml", folder / f"monitoring.coreos.com_{name}.yaml"
            )


def _target() -> Path:
    return CACHE / f"prometheus-operator-{_version()}"


def _version() -> str:
    found = re.search(rf"^require {re.escape(_MODULE)} (v\S+)$", (_PINS / "go.mod").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]
