"""What importers are made of: a pure function from a published record to one of our lines, or to why it is left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prorl_api.data_lines import Question
from prorl_api.spec.values import Domain


@dataclass(frozen=True, slots=True)
class Imported:
    """A record that became a line."""

    prompt: Question
    row: dict[str, Any]
    notes: tuple[str, ...] = ()
    """What was changed or left out on the way; counted and reported."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A record that did not."""

    reason: str
    """One of a few texts, so that they can be counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Importer:
    """One published set."""

    name: str
    """For the command line, and the first part of the ids of its rows."""
    domain: Domain
    description: str
    convert: Callable[[Mapping[str, Any]], Imported | Skipped]
    """Raises nothing on any record that JSON can hold."""


def text_of(record: Mapping[str, Any], *names: str) -> str:
    """Return the first of the fields that holds text, white space trimmed; empty if none does."""
    for name in names:
        value = record.get(name)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""


def conversation(value: Any) -> list[dict[str, str]]:
    """Return a list of messages with `role` and `content`; empty if it is anything else."""
    if not isinstance(value, list):
        return []
    messages = []
    for message in value:
        if not isinstance(message, dict):
            return []
        role, content = message.get("role"), message.get("content")
        if not isinstance(role, str) or not isinstance(content, str):
            return []
        messages.append({"role": role, "content": content})
    return messages


_BOX = re.compile(r"\\boxed\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)


def all_boxes(text: str) -> list[str]:
    r"""Return the contents of all `\boxed{...}` whose braces balance, white space trimmed, in their order."""
    starts = [match.end() for match in _BOX.finditer(text)]
    return [content.strip() for start in starts for content in _balanced(text, start)]


def last_box(text: str) -> str:
    r"""Return the content of the last `\boxed{...}` whose braces balance; empty if there is none."""
    boxes = all_boxes(text)
    return boxes[-1] if boxes else ""


def _balanced(text: str, start: int) -> Iterator[str]:
    depth = 1
    for token in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(token.group(), 0)
        if not depth:
            yield text[start : token.start()]
            return
