"""The table of tasks in docs/verifiers.md is what the rules say. Run this file as a program to write it."""

from __future__ import annotations

import sys
from pathlib import Path

from prorl_verifiers.logic.rules import TASK_RULES

PAGE = Path(__file__).parents[3] / "docs" / "verifiers.md"
BEGIN, END = "<!-- tasks -->\n", "<!-- /tasks -->\n"


def table() -> str:
    rows = [f"| {task} | {rule.rule.value} | {rule.reason} |" for task, rule in sorted(TASK_RULES.items())]
    return "\n".join(["| task | rule | reason |", "|---|---|---|", *rows, ""])


def with_table(page: str) -> str:
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}{table()}{END}{rest.partition(END)[2]}"


def test_the_page_lists_every_rule() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_table(page), f"run: {sys.executable} {__file__}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
