"""Without an extra a command is one line that names the command which installs it, and no traceback."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

import pytest

from prorl_api.errors import SpecError
from prorl_cli.local.packages import missing_packages, raise_if_no_judge
from tests.unit.trainer.trainer_builders import make_spec


def prorl_without(missing: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['prorl', *{arguments!r}]; "
    program += "from prorl_cli.entry import main; main()"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("missing", "arguments", "command"),
    [
        ("typer", ("--help",), "pip install 'prorl[cli]'"),
        ("typer", ("data", "sets"), "pip install 'prorl[cli]'"),
    ],
)
def test_a_missing_extra_is_one_line_with_the_command(missing: str, arguments: tuple[str, ...], command: str) -> None:
    done = prorl_without(missing, *arguments)
    assert done.returncode != 0
    assert done.stderr.strip().count("\n") == 0, done.stderr
    assert f"the package {missing} is not installed" in done.stderr
    assert command in done.stderr


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Any:
    def hide(*names: str) -> None:
        found = importlib.util.find_spec
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in names else found(name))

    return hide


def test_a_judge_that_is_not_installed_is_named_before_it_is_started(without: Any) -> None:
    raise_if_no_judge()
    without("math_verify")
    with pytest.raises(SpecError, match=r"no math_verify for the judge; pip install .*; or --verify-share 0"):
        raise_if_no_judge()


def test_a_run_names_every_component_that_is_not_installed(without: Any) -> None:
    spec = make_spec()
    assert missing_packages(spec) == []
    without("vllm", "deepspeed")
    text = "\n".join(map(str, missing_packages(spec)))
    assert "no vllm, which prorl_rollout_server needs" in text
    assert ("no deepspeed" in text) is (spec.learner.engine.value == "deepspeed")
