"""How the project is laid out and installed: names that shadow nothing, light imports, locked requirements."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES: list[str] = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
HEAVY = ["torch", "vllm", "transformers", "deepspeed", "numpy", "plotly", "scipy"]

IMPORT_ALL = """
import importlib, json, pkgutil, sys
modules, heavy = json.loads(sys.argv[1]), json.loads(sys.argv[2])
imported = []
for name in modules:
    module = importlib.import_module(name)
    imported.append(name)
    if name in ("prorl_api", "prorl_control"):
        for found in pkgutil.walk_packages(module.__path__, name + "."):
            importlib.import_module(found.name)
            imported.append(found.name)
print(json.dumps({"imported": imported, "heavy": [name for name in heavy if name in sys.modules]}))
"""


def python(*arguments: str, **environment: str) -> str:
    """Standard output of this Python in a process of its own, started in the repository's root."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_operator_folder_does_not_shadow_the_standard_library() -> None:
    assert not (ROOT / "operator/__init__.py").exists()
    script = "import sys; sys.modules.pop('operator', None); import operator; print(sys.path[0], operator.__file__)"
    first, found = python("-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {script}").split()
    assert first == str(ROOT)
    assert Path(found).parent == Path(os.__file__).parent


def test_the_standard_library_imports_with_the_root_on_the_path() -> None:
    assert python("-c", "import collections, json.tool, operator; print('ok')", PYTHONPATH=str(ROOT)) == "ok"


@pytest.mark.parametrize("package", PACKAGES)
def test_a_component_folder_holds_exactly_one_typed_package_of_its_name(package: str) -> None:
    folder = ROOT / Path(package).parent
    assert Path(package).name == f"prorl_{folder.name}"
    assert [path.parent.name for path in folder.glob("*/__init__.py")] == [Path(package).name]
    assert not (folder / "__init__.py").exists()
    assert (ROOT / package / "py.typed").is_file()


def test_every_package_is_installed() -> None:
    found = {str(path.parent.relative_to(ROOT)) for path in ROOT.glob("*/prorl_*/__init__.py")}
    assert found == set(PACKAGES)


@pytest.mark.parametrize("modules", [["prorl_api"], ["prorl_api", "prorl_control"], ["prorl_cli.main"]])
def test_contract_brain_and_command_line_import_without_heavy_libraries(modules: list[str]) -> None:
    answer = json.loads(python("-c", IMPORT_ALL, json.dumps(modules), json.dumps(HEAVY)))
    assert answer["heavy"] == []
    assert set(modules) <= set(answer["imported"])
    assert ("prorl_api.spec.job" in answer["imported"]) is ("prorl_api" in modules)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_locked_requirements_are_pinned_and_hashed_and_name_no_address(lock: Path) -> None:
    text = re.sub(r"(?m)(^|\s)#.*$", "", lock.read_text())
    requirements = [line.split() for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    assert requirements
    assert "://" not in text
    for name, *rest in requirements:
        assert re.fullmatch(r"[a-z0-9][a-z0-9._-]*(\[[a-z0-9,._-]+\])?==[^\s;]+", name), name
        hashes = [part for part in rest if part.startswith("--")]
        assert hashes, name
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", part) for part in hashes), name


def test_there_are_locked_requirements() -> None:
    assert "local.lock" in {path.name for path in LOCKS}


def test_the_version_is_that_of_the_newest_changelog_heading() -> None:
    headings = re.findall(r"(?m)^## (\d+\.\d+\.\d+) - \d{4}-\d{2}-\d{2}$", (ROOT / "CHANGELOG.md").read_text())
    assert headings[0] == PYPROJECT["project"]["version"]


def test_all_that_says_which_python_is_needed_agrees() -> None:
    oldest, newest, beyond = "3.11", "3.12", "3.13"
    assert PYPROJECT["project"]["requires-python"] == f">={oldest},<{beyond}"
    assert f"(3, {oldest[2:]}) <= sys.version_info[:2] < (3, {beyond[2:]})" in (ROOT / "Makefile").read_text()
    for place in ("Makefile", "README.md", "docs/install.md", "tests/install/check.sh"):
        assert f"Python {oldest} or {newest}" in (ROOT / place).read_text(), place
