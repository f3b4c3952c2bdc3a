"""Documents that can fall behind: the generated reference, the examples, the README's commands and links."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from prorl_api.manifest import read_job
from prorl_api.metrics import TABLE
from prorl_api.metrics_reference import page as metrics_page
from prorl_api.reference import page
from prorl_api.spec.merge import on_one_machine
from prorl_cli.main import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_manifest_reference_is_current() -> None:
    message = "run: python -m prorl_api.reference > docs/manifest.md"
    assert (ROOT / "docs" / "manifest.md").read_text() == page(), message


def test_the_metrics_page_is_current_and_explains_every_key() -> None:
    message = "run: python -m prorl_api.metrics_reference > docs/metrics.md"
    assert (ROOT / "docs" / "metrics.md").read_text() == metrics_page(), message
    assert all(metric.help for metric in TABLE)
    assert {f"`{metric.name}" for metric in TABLE} <= {
        line.split("|")[1].strip().removesuffix("`").removesuffix("/SOURCE")
        for line in metrics_page().splitlines()
        if line.startswith("| `")
    }


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_is_valid_and_runs_on_one_machine(example: Path) -> None:
    on_one_machine(read_job(example))


@pytest.mark.parametrize("document", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_files_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text())
    missing = [target for target in targets if not (document.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("document", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_make_targets_that_are_named_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"`?\bmake ([a-z]+)\b(?=[ `]|$)", "\n".join(_commands(document))))
    assert named <= targets


@pytest.mark.parametrize("document", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_of_prorl_that_are_shown_exist_with_their_options(document: Path) -> None:
    text = document.read_text().replace("\\\n", " ")
    fenced = [line for block in re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL) for line in block.splitlines()]
    spans = re.findall(r"`((?:\.venv/bin/)?prorl [^`\n]+)`", text)
    unknown = [
        f"{part}: {fault}"
        for line in (*fenced, *spans)
        for part in re.split(r"[;|]|&&", line.partition(" #")[0])
        if re.match(r"(?:\.venv/bin/)?prorl\b", part.strip())
        for fault in _unknown(part.split()[1:])
    ]
    assert unknown == []


def _unknown(words: list[str]) -> list[str]:
    """Walk from `prorl` to the command that words name; the words and options that do not exist there."""
    command: Any = get_command(app)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        if words[0] not in command.commands:
            return [words[0]]
        command, words = command.commands[words[0]], words[1:]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    options = [word.strip("[]").partition("=")[0] for word in words if word.lstrip("[").startswith("-")]
    return [option for option in options if option not in known]


def test_a_command_that_does_not_exist_is_found() -> None:
    assert _unknown(["resets", "list", "runs/x"]) == []
    assert _unknown(["reset", "list"]) == ["reset"]
    assert _unknown(["resets", "lists"]) == ["lists"]
    assert _unknown(["run", "job.yaml", "--plain", "--quiet=1"]) == ["--quiet"]


def _commands(document: Path) -> list[str]:
    """Code spans and fenced lines."""
    text = document.read_text()
    fenced = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
    return [line for block in fenced for line in block.splitlines()] + re.findall(r"`(make [^`]+)`", text)
