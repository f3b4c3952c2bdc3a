"""docs/models.md names the architectures that the tests run, and those that are refused, and no others."""

from __future__ import annotations

import re
from pathlib import Path

from prorl_trainer.engines import families
from tests.integration.tiny_families import DENSE, NOT_GATED, REFUSED, REPEATED, RIGHT

PAGE = Path(__file__).parents[3].joinpath("docs/models.md").read_text()
NUMBERS = dict(enumerate(("five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"), start=5))
BY_SETTING = {"gemma3_text", "llama", "phi3", "bart"}
"""Refused for a setting of theirs, or as one of a kind: the page describes them."""


def plain(name: str) -> str:
    """A name as it is compared: Qwen3.5, qwen3_5_text and qwen3_5_moe are one."""
    name = re.sub(r"[^a-z0-9]", "", name.lower())
    return re.sub("(moe)?(text)?$", "", name)


def names_between(start: str, end: str) -> list[str]:
    (text,) = re.findall(f"{re.escape(start)}(.*?){re.escape(end)}", PAGE, re.DOTALL)
    return re.split(r",\s+", " ".join(text.split()))


def test_what_was_run_is_what_the_tests_run() -> None:
    assert names_between("for each of ", ". With trained weights") == sorted(RIGHT)


def test_what_takes_dense_masks_is_counted_and_named() -> None:
    assert names_between("(all listed below but ", ")") == sorted(DENSE)
    assert f"| attention of those {NUMBERS[len(DENSE)]} |" in PAGE


def test_what_repeats_prompts_is_named() -> None:
    named = {plain(name) for name in names_between("attend several times in one pass (", ") | in linear")}
    assert named == {plain(name) for name in REPEATED}


def test_what_keeps_all_of_its_blocks_is_named() -> None:
    assert names_between("(not of ", ")") == sorted(NOT_GATED)


def refused_rows() -> dict[str, set[str]]:
    """Names by what is said of them, of the rows that name architectures."""
    table = PAGE.split("| refused by name | because |\n|---|---|\n")[1].split("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()]
    named = {reason: re.split("[,;] ", names) for names, reason in rows if names[0].isupper()}
    return {
        reason: {plain(re.sub(r"('s| with|\s\().*", "", name)) for name in names} for reason, names in named.items()
    }


def test_every_recurrent_family_is_named_and_tested() -> None:
    (named,) = (names for reason, names in refused_rows().items() if reason.startswith("a state goes from"))
    assert named == {plain(name) for name in families._RECURRENT}
    tested = {name for name, (_, reason) in REFUSED.items() if reason.startswith("carry a state")}
    assert tested == families._RECURRENT


def test_the_architectures_that_are_refused_by_name_are_those_that_the_page_names() -> None:
    assert REFUSED.keys() > BY_SETTING
    named = {name for names in refused_rows().values() for name in names}
    assert named == {plain(name) for name in REFUSED.keys() - BY_SETTING}
