"""Libraries that programs in Python may use besides the standard one, and where their packages lie on this machine.

They are those that the service itself is installed with, in the versions of its lock. A program sees the folders of
these packages and nothing beside them.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence

PACKAGES: Mapping[str, tuple[str, ...]] = {
    "numpy": ("numpy",),
    "sympy": ("mpmath", "sympy"),
    "networkx": ("networkx",),
    "sortedcontainers": ("sortedcontainers",),
}
"""By library, in the order of their import."""


def located(libraries: Sequence[str]) -> Mapping[str, str]:
    """Return the packages of libraries and the folder that each lies in.

    Raises:
        FileNotFoundError: One is not installed.
    """
    found = {}
    for package in (package for library in libraries for package in PACKAGES[library]):
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise FileNotFoundError(f"package {package!r} is not installed beside the reward sandbox")
        found[package] = os.path.dirname(os.path.realpath(spec.submodule_search_locations[0]))
    return found


def folders_of(packages: Mapping[str, str]) -> tuple[str, ...]:
    """Return what programs must be able to read of packages: their folders, and those of the libraries in C beside."""
    wanted = [
        os.path.join(folder, each) for package, folder in packages.items() for each in (package, f"{package}.libs")
    ]
    return tuple(path for path in wanted if os.path.isdir(path))
