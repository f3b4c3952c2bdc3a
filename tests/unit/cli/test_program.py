"""Commands in messages can be pasted, whether `prorl` is on the PATH or was called by its place."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from prorl_cli.local.run import RunRequest, resume_command
from prorl_cli.program import command, program


def make_program(folder: Path) -> Path:
    folder.mkdir(parents=True)
    path = folder / "prorl"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("on_path", "called", "shown"),
    [
        (True, "bin/prorl", "prorl"),
        (False, "bin/prorl", "{folder}/bin/prorl"),
        (False, "my tools/bin/prorl", "'{folder}/my tools/bin/prorl'"),
        (True, "elsewhere/prorl", "{folder}/elsewhere/prorl"),
        (False, "prorl_cli/__main__.py", f"{sys.executable} -m prorl_cli"),
        (True, "prorl_cli/__main__.py", "prorl"),
        (False, "test-runner", "prorl"),
    ],
)
def test_a_program_is_named_as_a_shell_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, on_path: bool, called: str, shown: str
) -> None:
    make_program(tmp_path / "bin")
    if called.endswith("/prorl") and not (tmp_path / called).exists():
        make_program((tmp_path / called).parent)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / called)])
    monkeypatch.setenv("PATH", str(tmp_path / "bin") if on_path else str(tmp_path / "nothing"))
    assert program() == shown.format(folder=tmp_path)


def test_arguments_are_quoted() -> None:
    assert command("report", Path("my runs/a")).endswith(" report 'my runs/a'")
    request = RunRequest(manifest=Path("my job.yaml"), run_dir=Path("r"), assignments=("learner.groupSize=4",))
    assert resume_command(request).endswith(" run 'my job.yaml' --run-dir r --set learner.groupSize=4")
