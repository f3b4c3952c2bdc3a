"""The published recipes: valid, in a cluster and shortened on one machine, and as their page says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from prorl_api.manifest import parse_job, read_job
from prorl_api.spec.merge import on_one_machine
from prorl_control.plan import plan_in_pods
from tests.bench.short_recipes import RECIPES, ROOT, STEPS, load, shortened

FOLDER = ROOT / "examples" / "recipes"
PAGE = (ROOT / "docs" / "recipes.md").read_text()
_ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \| `([^`]+)` \| ([^|]+) \|$", re.MULTILINE)


def rows() -> list[tuple[str, str, str, str]]:
    """(manifest, path, value, published) of every row of every table."""
    sections = re.split(r"^## (\S+\.yaml)$", PAGE, flags=re.MULTILINE)[1:]
    named = zip(sections[::2], sections[1::2], strict=True)
    return [
        (name, match[1], match[3], match[2]) for name, text in named for match in _ROW.finditer(text.split("\n## ")[0])
    ]


def parts_of(path: str) -> list[str]:
    return re.findall(r"[A-Za-z]+|\d+", path)


def line_of(node: yaml.Node | None, path: str) -> int:
    """Line of a field's value, from 0."""
    for part in parts_of(path):
        if isinstance(node, yaml.SequenceNode):
            node = node.value[int(part)]
        else:
            assert isinstance(node, yaml.MappingNode)
            node = next(value for key, value in node.value if key.value == part)
    assert node is not None
    return int(node.start_mark.line)


def leaves(document: Any, path: str = "") -> Iterator[str]:
    """Paths of all numbers and words, but for names and what a trigger watches."""
    if isinstance(document, dict):
        for name, value in document.items():
            if name not in ("name", "metric"):
                yield from leaves(value, f"{path}.{name}" if path else name)
    elif isinstance(document, list):
        for index, value in enumerate(document):
            yield from leaves(value, f"{path}[{index}]")
    else:
        yield path


def at(document: Any, path: str) -> Any:
    for part in parts_of(path):
        document = document[int(part)] if part.isdigit() else document[part]
    return document


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_can_be_planned_in_a_cluster(recipe: Path) -> None:
    plan_in_pods(read_job(recipe))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_shortened_runs_on_one_machine_with_all_its_stages(recipe: Path) -> None:
    whole, short = load(recipe), shortened(load(recipe))
    job = parse_job(yaml.safe_dump(short))
    on_one_machine(job)
    assert job.spec.schedule.total_steps == STEPS
    assert len(job.spec.schedule.stages) == len(whole["spec"]["schedule"].get("stages", []))


def test_every_recipe_has_a_table() -> None:
    assert {name for name, *_ in rows()} == {path.name for path in RECIPES}
    assert len(rows()) == len(re.findall(r"^\| `", PAGE, re.MULTILINE)), "a row that does not parse is not checked"


@pytest.mark.parametrize(("name", "path", "value", "published"), rows())
def test_the_page_says_what_the_manifest_sets(name: str, path: str, value: str, published: str) -> None:
    found = at(load(FOLDER / name)["spec"], path)
    assert str(found) == str(yaml.safe_load(value)), f"{path}: the page says {value} (published: {published})"


@pytest.mark.parametrize(
    ("name", "path"), [(name, path) for name, path, _, found in rows() if "not published" in found]
)
def test_the_manifest_says_itself_what_is_not_published(name: str, path: str) -> None:
    text = (FOLDER / name).read_text()
    line = line_of(yaml.compose(text), f"spec.{path}")
    lines = text.splitlines()
    above = lines[line - 1] if lines[line - 1].lstrip().startswith("#") else ""
    said = above + lines[line].partition("#")[2]
    assert "not published" in said, f"{path}: {lines[line]}"


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_figure_of_the_algorithm_has_a_row(recipe: Path) -> None:
    spec = load(recipe)["spec"]
    chosen = {
        "algorithm": spec["algorithm"],
        "learner": {
            name: spec["learner"][name] for name in ("promptsPerStep", "groupSize", "minibatchPrompts", "optimizer")
        },
        "rollout": {name: spec["rollout"][name] for name in ("temperature", "maxCompletionTokens")},
        "schedule": {"totalSteps": spec["schedule"]["totalSteps"]},
        "referenceReset": spec["referenceReset"],
    }
    told = {path for name, path, *_ in rows() if name == recipe.name}
    assert set(leaves(chosen)) - told == set()
