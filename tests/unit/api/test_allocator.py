"""Which allocator a learner on a CPU is started with, and that a real process has it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from prorl_api.names import LEARNER_GLIBC_TUNABLES
from prorl_api.process import allocator
from prorl_api.process.allocator import keep_from_children, learner_allocator

HOLD = "print(open('/proc/self/maps').read().count('libtbbmalloc_proxy.so'))"
TUNED = {"GLIBC_TUNABLES": LEARNER_GLIBC_TUNABLES}


def installed(monkeypatch: pytest.MonkeyPatch, folder: Path, names: tuple[str, ...]) -> None:
    """A package that says it has files of these names; those that exist in the folder do."""
    package = SimpleNamespace(files=[Path("lib", name) for name in names], locate_file=lambda file: folder / file.name)
    monkeypatch.setattr(allocator, "distribution", lambda name: package)


def with_both(folder: Path) -> tuple[str, ...]:
    names = ("libtbbmalloc.so.2", "libtbbmalloc_proxy.so.2", "libtbb.so.12")
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return names


def test_a_process_with_these_variables_has_the_allocator() -> None:
    variables = learner_allocator({})
    assert set(variables) == {"GLIBC_TUNABLES", "LD_PRELOAD", "TBB_MALLOC_SET_HUGE_SIZE_THRESHOLD"}
    for environment, mappings in (({}, False), (variables, True)):
        done = subprocess.run([sys.executable, "-c", HOLD], env=environment, capture_output=True, text=True, check=True)
        assert (int(done.stdout) > 0, done.stderr) == (mappings, "")


@pytest.mark.parametrize(
    ("chosen", "beside"),
    [
        ({"LD_PRELOAD": "/usr/lib/libjemalloc.so.2"}, TUNED),
        ({"LD_PRELOAD": "/usr/lib/libjemalloc.so.2", **TUNED}, TUNED),
        ({"GLIBC_TUNABLES": "glibc.malloc.arena_max=1"}, {}),
        ({"GLIBC_TUNABLES": "glibc.malloc.arena_max=1", "LD_PRELOAD": "libjemalloc.so.2"}, {}),
        ({"GLIBC_TUNABLES": ""}, {}),
    ],
)
def test_who_has_chosen_keeps_the_choice(chosen: Mapping[str, str], beside: Mapping[str, str]) -> None:
    assert learner_allocator(chosen) == beside


def test_children_of_a_learner_do_not_inherit_it() -> None:
    environment = {**learner_allocator({}), "HOME": "/root"}
    keep_from_children(environment)
    assert environment.keys() == {"GLIBC_TUNABLES", "TBB_MALLOC_SET_HUGE_SIZE_THRESHOLD", "HOME"}


@pytest.mark.parametrize("environment", [{}, {"LD_PRELOAD": ""}, {"LD_PRELOAD": "/usr/lib/libjemalloc.so.2"}])
def test_children_inherit_what_somebody_else_preloads(environment: dict[str, str]) -> None:
    before = dict(environment)
    keep_from_children(environment)
    assert environment == before


def test_our_own_tunables_are_no_choice_and_neither_is_an_empty_preload() -> None:
    assert "LD_PRELOAD" in learner_allocator(TUNED)
    assert "LD_PRELOAD" in learner_allocator({"LD_PRELOAD": ""})


def test_a_threshold_that_is_set_stays() -> None:
    assert learner_allocator({"TBB_MALLOC_SET_HUGE_SIZE_THRESHOLD": "7"})["TBB_MALLOC_SET_HUGE_SIZE_THRESHOLD"] == "7"


def test_both_libraries_are_named_the_one_that_the_other_needs_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed(monkeypatch, tmp_path, with_both(tmp_path))
    names = learner_allocator({})["LD_PRELOAD"].split(":")
    assert names == [str(tmp_path / "libtbbmalloc.so.2"), str(tmp_path / "libtbbmalloc_proxy.so.2")]


@pytest.mark.parametrize("missing", ["libtbbmalloc.so.2", "libtbbmalloc_proxy.so.2"])
@pytest.mark.parametrize("is_listed", [True, False])
def test_a_package_that_is_not_whole_leaves_the_c_librarys(
    missing: str, is_listed: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = with_both(tmp_path)
    (tmp_path / missing).unlink()
    installed(monkeypatch, tmp_path, names if is_listed else tuple(name for name in names if name != missing))
    assert learner_allocator({}) == TUNED


@pytest.mark.parametrize("name", ["with blank", "with:colon"])
def test_a_path_that_the_variable_cannot_hold_leaves_the_c_librarys(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed(monkeypatch, tmp_path / name, with_both(tmp_path / name))
    assert learner_allocator({}) == TUNED


def test_without_the_package_the_c_librarys_is_tuned(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> Any:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(allocator, "distribution", none)
    assert learner_allocator({}) == TUNED


def test_elsewhere_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert learner_allocator({}) == {}
