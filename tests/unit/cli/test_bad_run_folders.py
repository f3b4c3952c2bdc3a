"""Run folders that are none, of another version, or half written: what every command that looks at one says of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from prorl_api.run_folder import RunFolder
from prorl_cli.main import app
from tests.unit.report.conftest import build_run

COMMANDS: dict[str, Callable[[RunFolder], list[str]]] = {
    "status": lambda run: ["status", str(run.path)],
    "report": lambda run: ["report", str(run.path)],
    "compare": lambda run: ["report", str(run.path), str(run.path.with_name("other"))],
    "watch": lambda run: ["watch", str(run.path), "--port", "0"],
    "observe": lambda run: ["observe", str(run.path), "--prometheus", "/bin/false"],
    "resets list": lambda run: ["resets", "list", str(run.path)],
    "resets request": lambda run: ["resets", "request", str(run.path)],
    "resets approve": lambda run: ["resets", "approve", str(run.path), "quickstart-reset-1"],
    "prune": lambda run: ["prune", str(run.path)],
}


def _torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:17])


def _replaced(path: Path, make: Callable[[Path], object]) -> None:
    shutil.rmtree(path)
    make(path)


NONE: dict[str, Callable[[RunFolder], object]] = {
    "nothing there": lambda run: shutil.rmtree(run.path),
    "an empty folder": lambda run: _replaced(run.path, Path.mkdir),
    "a file": lambda run: _replaced(run.path, Path.touch),
    "a folder without an identity": lambda run: run.identity.unlink(),
}
DAMAGED: dict[str, tuple[Callable[[RunFolder], object], tuple[str, ...], str]] = {
    "half-written identity": (
        lambda run: _torn(run.identity),
        ("report", "compare", "watch"),
        "half written, or of another version",
    ),
    "identity of another version": (
        lambda run: run.identity.write_text('{"uid": "x", "created": 1, "shape": 9}'),
        ("report", "compare", "watch"),
        "use the version that made the run",
    ),
    "half-written manifest": (lambda run: _torn(run.manifest), ("resets request",), "job.yaml"),
    "manifest of another version": (
        lambda run: run.manifest.write_text("apiVersion: prorl.dev/v9\nkind: ProRLJob\n"),
        ("resets request",),
        "prorl.dev/v1alpha1",
    ),
    "half-written reset": (
        lambda run: _torn(run.resets / "quickstart-reset-1.json"),
        ("status", "resets list", "resets request", "resets approve"),
        "move it away to forget this reset",
    ),
    "reset of another version": (
        lambda run: (run.resets / "quickstart-reset-1.json").write_text('{"shape": 9}'),
        ("status", "resets list", "resets request", "resets approve"),
        "move it away to forget this reset",
    ),
    "no step on record": (lambda run: run.metrics.unlink(), ("compare",), "has no step on record"),
}
ROWS = [(damage, command) for damage, (_, commands, _) in DAMAGED.items() for command in commands]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    build_run(tmp_path / "other", last_step=2)
    return build_run(tmp_path / "run", last_step=2)


def said(command: str, run: RunFolder) -> str:
    """What a command says as an error, without line breaks."""
    result = CliRunner().invoke(app, COMMANDS[command](run))
    text = " ".join(result.output.split())
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code in (1, 64), text
    assert "Traceback" not in text
    assert "errors.pydantic.dev" not in text, "a link for whoever writes models"
    return text


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", NONE)
def test_what_is_no_run_is_named_with_what_makes_one(run: RunFolder, command: str, kind: str) -> None:
    NONE[kind](run)
    text = said(command, run)
    assert str(run.path) in text
    assert "`prorl run` makes" in text


@pytest.mark.parametrize(("damage", "command"), ROWS)
def test_what_cannot_be_read_is_named_with_the_remedy(run: RunFolder, damage: str, command: str) -> None:
    spoil, _, words = DAMAGED[damage]
    spoil(run)
    text = said(command, run)
    assert str(run.path) in text
    assert words in text
