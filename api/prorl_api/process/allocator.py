"""The memory allocator of a learner on a CPU.

A step takes and gives back gigabytes in pieces of a few megabytes, between gradients that stay. The C library's heap
keeps holes then, a third of what is in use (docs/LOG.md, 2026-11-30, "holes in the heap"); oneTBB's allocator, which
its package brings, keeps next to none and is as fast. Where it is not installed, or does not exist for the processor,
the C library's serves, tuned by `GLIBC_TUNABLES`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from prorl_api.names import LEARNER_GLIBC_TUNABLES

TUNABLES, PRELOAD = "GLIBC_TUNABLES", "LD_PRELOAD"
_LIBRARIES = ("libtbbmalloc.so.2", "libtbbmalloc_proxy.so.2")
"""The second takes the place of malloc and its kin, and is found no first one by itself."""
_KEPT = ("TBB_MALLOC_SET_HUGE_SIZE_THRESHOLD", "4194304")
"""Pieces of so many bytes and more are kept for the next step when others are given back to the system."""


def learner_allocator(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a learner on a CPU is started with, beside those of `environment`.

    Who has set `LD_PRELOAD` or `GLIBC_TUNABLES` has chosen: then there are none. Ours among the latter are no choice.
    """
    if sys.platform != "linux" or environment.get(PRELOAD):
        return {}
    if environment.get(TUNABLES, LEARNER_GLIBC_TUNABLES) != LEARNER_GLIBC_TUNABLES:
        return {}
    tuned = {TUNABLES: LEARNER_GLIBC_TUNABLES}
    libraries = _libraries()
    if not libraries:
        return tuned
    return {**tuned, PRELOAD: ":".join(map(str, libraries)), _KEPT[0]: environment.get(_KEPT[0], _KEPT[1])}


def _libraries() -> list[Path]:
    """Return the files of oneTBB's allocator in this environment; none where they are not all there."""
    try:
        package: Distribution = distribution("tbb")
    except PackageNotFoundError:
        return []
    files = {file.name: Path(str(package.locate_file(file))).resolve() for file in package.files or ()}
    found = [files[name] for name in _LIBRARIES if name in files and files[name].is_file()]
    # A path with a blank or a colon cannot stand in the variable.
    fits = all(" " not in str(path) and ":" not in str(path) for path in found)
    return found if fits and len(found) == len(_LIBRARIES) else []
