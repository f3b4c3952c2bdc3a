"""`path=value` of a command line, set in a manifest's document before it is judged: `learner.groupSize=16`,
`spec.data.sources[math].weight=2`, `schedule.stages[0].fromStep=100` or `schedule.stages.0.fromStep=100`. Pure.

A value is read as YAML 1.2, as in the manifest, which judges whether the field exists and what it may hold.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

from prorl_api import yaml12
from prorl_api.errors import Fault, SpecError

_STEP = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)((?:\[[^\[\]]+\])*)(\.(?!$)|$)")
_NUMBER = re.compile(r"\.([0-9]+)(?=[.\[]|$)")
_TOPS = ("apiVersion", "kind", "metadata", "spec")
_OPTION = "--set"


def with_assignments(document: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Return a copy of the document in which every assignment holds; later ones win.

    Raises:
        SpecError: With every assignment that is none, or whose list has no such item.
    """
    made = copy.deepcopy(document)
    faults = [fault for text in assignments if (fault := _assign(made, text)) is not None]
    if faults:
        raise SpecError(faults, source="the command line")
    return made


def _assign(document: dict[str, Any], text: str) -> Fault | None:
    path, equals, value = text.partition("=")
    steps = _steps(path.strip())
    if not equals or not steps:
        return Fault(path=_OPTION, got=text, want="path=value, such as learner.groupSize=16")
    try:
        parsed = yaml12.load(value, source=f"{_OPTION} {path}")
    except SpecError as error:
        return Fault(path=f"{_OPTION} {path}", got=value, want=f"a YAML value: {error.faults[0].want}")
    if len(parsed) > 1:
        return Fault(path=f"{_OPTION} {path}", got=value, want="one YAML value")
    return _place(document, steps, parsed[0] if parsed else None, f"{_OPTION} {path}")


def _steps(path: str) -> list[str]:
    """Return the names and items that a path goes through, from `spec` on; none if it is no path. `a.0` is `a[0]`."""
    path = _NUMBER.sub(r"[\1]", path)
    steps: list[str] = []
    end = 0
    while end < len(path):
        found = _STEP.match(path, end)
        if found is None:
            return []
        steps.append(found[1])
        steps += [f"[{item}]" for item in re.findall(r"\[([^\[\]]+)\]", found[2])]
        end = found.end()
    return steps if not steps or steps[0] in _TOPS else ["spec", *steps]


def _place(document: dict[str, Any], steps: Sequence[str], value: Any, where: str) -> Fault | None:
    current: Any = document
    for position, step in enumerate(steps):
        is_last = position == len(steps) - 1
        if step.startswith("["):
            index = _index(current, step[1:-1])
            if index is None:
                return Fault(path=where, got=step, want=f"an item of the list: {_items(current)}")
            if is_last:
                current[index] = value
            current = current[index]
            continue
        if not isinstance(current, dict):
            want = "a path through objects; an item of a list is named in brackets, such as data.sources[0]"
            return Fault(path=where, got=f".{step} of a {type(current).__name__}", want=want)
        if is_last:
            current[step] = value
        elif current.get(step) is None:
            current[step] = {}
        current = current[step]
    return None


def _index(items: Any, name: str) -> int | None:
    """Return the place of an item, given by its number or its `name`."""
    if not isinstance(items, list):
        return None
    named = [place for place, item in enumerate(items) if isinstance(item, dict) and item.get("name") == name]
    if named:
        return named[0]
    return int(name) if name.isascii() and name.isdecimal() and int(name) < len(items) else None


def _items(items: Any) -> str:
    if not isinstance(items, list) or not items:
        return "there is none here"
    names = [str(item["name"]) for item in items if isinstance(item, dict) and "name" in item]
    return f"0 to {len(items) - 1}" + (f", or {', '.join(names)}" if names else "")
