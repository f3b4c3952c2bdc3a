"""Finds a few packages by name, each in a folder of its own, and nothing else beside them.

Imported by the zygote of a jail, and put before a program as text at the level `process`: it uses the standard library
alone. The folder that the packages lie in holds all that the service is made of, and is never searched.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


class LibraryFinder:
    """What `sys.meta_path` asks.

    Args:
        packages: Package to the folder that it lies in.
    """

    def __init__(self, packages: Mapping[str, str]) -> None:
        self._packages = dict(packages)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where one of the packages is; its parts are found by the folder that it knows itself."""
        folder = self._packages.get(fullname)
        return None if folder is None else PathFinder.find_spec(fullname, [folder], target)


def find_libraries(packages: Mapping[str, str]) -> LibraryFinder:
    """Have packages found from here on; returns what finds them."""
    finder = LibraryFinder(packages)
    sys.meta_path.append(finder)
    return finder
