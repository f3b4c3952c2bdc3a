"""Two values of a field, told apart for people: every part that differs by its name, nothing cut that tells them apart.

Items of a list are known by their `name` where all have one, as in a manifest; others by their value or their place.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

_MAX_CHARACTERS = 80
_SHOWN_AROUND = 15
"""Characters before the first difference of two long texts."""


def differences(field: str, before: Any, after: Any) -> str:
    """Tell two different values apart: "1 -> 2", "trigger spike removed", "source sums heldOut: 4 -> 8".

    Args:
        field: The last part of the field's path; names what its items are.
        before: As JSON.
        after: As JSON.
    """
    return "; ".join(_told(_Place(field=field), before, after))


class _Place:
    """Where in a value: the words before a difference."""

    def __init__(self, *, field: str, words: str = "") -> None:
        self._field = field
        self._words = words

    def key(self, name: str) -> _Place:
        """Return the place of a key."""
        joint = "." if self._words and not self._words.endswith(" ") else ""
        return _Place(field=name, words=f"{self._words}{joint}{name}")

    def item(self, name: str) -> _Place:
        """Return the place of a list's named item; it is called what the list holds: a trigger of `triggers`."""
        head = self._words.removesuffix(self._field).rstrip(".")
        kind = self._field.removesuffix("s")
        return _Place(field=self._field, words=f"{head + ' ' if head.strip() else ''}{kind} {name} ".lstrip())

    def number(self, index: int) -> _Place:
        """Return the place of a list's item without a name."""
        return _Place(field=self._field, words=f"{self._words}[{index}]")

    def is_now(self, what: str) -> str:
        """Say something of the place as a whole."""
        return f"{self._words.rstrip()} {what}".lstrip()

    def changed(self, before: str, after: str) -> str:
        """Say both values."""
        words = self._words.rstrip()
        return f"{words}{': ' if words else ''}{before} -> {after}"


def _told(place: _Place, before: Any, after: Any) -> Iterator[str]:
    if isinstance(before, dict) or isinstance(after, dict):
        old, new = _as(dict, before), _as(dict, after)
        if old is not None and new is not None:
            for key in old | new:
                if old.get(key) != new.get(key):
                    yield from _told(place.key(key), old.get(key), new.get(key))
            return
    if isinstance(before, list) or isinstance(after, list):
        old, new = _as(list, before), _as(list, after)
        if old is not None and new is not None:
            yield from _items(place, old, new)
            return
    yield place.changed(*_shown(before, after))


def _as(kind: type, value: Any) -> Any:
    """Return the value if it is of that kind, empty if there is none; None if it is something else."""
    return kind() if value is None else value if isinstance(value, kind) else None


def _items(place: _Place, before: list[Any], after: list[Any]) -> Iterator[str]:
    if all(isinstance(item, dict) and isinstance(item.get("name"), str) for item in [*before, *after]):
        yield from _named(place, before, after)
    elif any(isinstance(item, dict | list) for item in [*before, *after]):
        for number, (old, new) in enumerate(itertools.zip_longest(before, after)):
            if old is None or new is None:
                yield place.number(number).is_now("added" if old is None else "removed")
            elif old != new:
                yield from _told(place.number(number), old, new)
    else:
        yield from _plain(place, before, after)


def _named(place: _Place, before: list[Any], after: list[Any]) -> Iterator[str]:
    old, new = ({item["name"]: item for item in items} for items in (before, after))
    for name in old | new:
        if name not in new or name not in old:
            yield place.item(name).is_now("removed" if name in old else "added")
        elif old[name] != new[name]:
            yield from _told(place.item(name), old[name], new[name])
    if [name for name in old if name in new] != [name for name in new if name in old]:
        yield place.is_now(f"in the order {', '.join(new)}")


def _plain(place: _Place, before: Sequence[Any], after: Sequence[Any]) -> Iterator[str]:
    old, new = (Counter(json.dumps(item, ensure_ascii=False) for item in items) for items in (before, after))
    if old == new:
        yield place.is_now(f"in the order {', '.join(json.dumps(item, ensure_ascii=False) for item in after)}")
    for items, what in ((old - new, "removed"), (new - old, "added")):
        if items:
            yield place.is_now(f"{', '.join(items.elements())} {what}")


def _shown(before: Any, after: Any) -> tuple[str, str]:
    """Show two values; of long texts the part where they differ."""
    old, new = (json.dumps(value, ensure_ascii=False) for value in (before, after))
    common = next((number for number, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), None)
    begin = max(0, (min(len(old), len(new)) if common is None else common) - _SHOWN_AROUND)
    return _window(old, begin), _window(new, begin)


def _window(text: str, begin: int) -> str:
    if len(text) <= _MAX_CHARACTERS:
        return text
    end = begin + _MAX_CHARACTERS
    return f"{'…' if begin else ''}{text[begin:end]}{'…' if end < len(text) else ''}"
