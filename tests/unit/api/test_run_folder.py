"""The run folder is its owner's alone when it is made, and what its owner does with it later stands."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from prorl_api.run_folder import RunFolder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o022, 0o000, 0o077])
def test_a_new_run_folder_is_its_owners_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        RunFolder(tmp_path / "team" / "run").create()
    finally:
        os.umask(before)
    assert mode(tmp_path / "team" / "run") == 0o700


def test_permissions_that_its_owner_gave_stay(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.create()
    run.path.chmod(0o755)
    run.create()
    assert mode(run.path) == 0o755
