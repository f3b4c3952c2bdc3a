"""The published recipes: valid, in a cluster and shortened on one machine, and as their page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from prorl_api.manifest import parse_job, read_job
from prorl_api.spec.merge import on_one_machine
from prorl_control.plan import plan_in_pods
from tests.bench.short_recipes import RECIPES, ROOT, STEPS, load, shortened

PAGE = (ROOT / "docs" / "recipes.md").read_text()
_ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \| `([^`]+)` \| ([^|]+) \|$", re.MULTILINE)


def rows() -> list[tuple[str, str, str, str]]:
    """(manifest, path, value, published) of every row of every table."""
    sections = re.split(r"^## (\S+\.yaml)$", PAGE, flags=re.MULTILINE)[1:]
    named = zip(sections[::2], sections[1::2], strict=True)
    return [
        (name, match[1], match[3], match[2]) for name, text in named for match in _ROW.finditer(text.split("\n## ")[0])
    ]


def at(document: Any, path: str) -> Any:
    for part in re.findall(r"[A-Za-z]+|\d+", path):
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
    found = at(load(ROOT / "examples" / "recipes" / name)["spec"], path)
    assert str(found) == str(yaml.safe_load(value)), f"{path}: the page says {value} (published: {published})"
