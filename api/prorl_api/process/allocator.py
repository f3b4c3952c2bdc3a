"""The memory allocator of a learner on a CPU.

A step takes and gives back gigabytes in pieces of a few megabytes, between gradients that stay. The C library's heap
keeps holes then, more than a third of what is in use over long completions; oneTBB's allocator, which the package `tbb`
brings, keeps next to none and is as fast (docs/LOG.md, 2026-11-30). Where it is not installed, or does not exist for
the processor, the C library's serves, tuned by `GLIBC_TUNABLES`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, MutableMapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from prorl_api.names import LEARNER_GLIBC_TUNABLES

TUNABLES, PRELOAD = "GLIBC_TUNABLES", "LD_PRELOAD"
_LIBRARIES = ("libtbbmalloc.so.2", "libtbbmalloc_proxy.so.2")
"""The second takes the place of malloc and its kin. It needs the first, and does not know where that one lies."""
_KEPT = ("TBB_MALLOC_SET_HUGE_SIZE_THRESHOLD", str(256 * 2**20))
"""Freed pieces of so many bytes and more are never given back to the system: DeepSpeed's flat gradients (4 bytes a
parameter), which it takes anew at each optimizer step. Smaller ones, whose sizes change from pack to pack, are given
back after a while."""


def learner_allocator(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a learner on a CPU is started with, beside those of `environment`.

    Who has set `GLIBC_TUNABLES` has chosen: then there are none. Ours are no choice. Who has set `LD_PRELOAD` keeps it.
    """
    if sys.platform != "linux" or environment.get(TUNABLES, LEARNER_GLIBC_TUNABLES) != LEARNER_GLIBC_TUNABLES:
        return {}
    tuned = {TUNABLES: LEARNER_GLIBC_TUNABLES}
    libraries = _libraries()
    if not libraries or environment.get(PRELOAD):
        return tuned
    return {**tuned, PRELOAD: libraries, _KEPT[0]: environment.get(_KEPT[0], _KEPT[1])}


def keep_from_children(environment: MutableMapping[str, str]) -> None:
    """Take the allocator out of what a learner's own children would inherit: trackers may run with another Python."""
    if environment.get(PRELOAD) and environment[PRELOAD] == _libraries():
        del environment[PRELOAD]


def _libraries() -> str:
    """Return the files of oneTBB's allocator as `LD_PRELOAD` takes them; nothing where they are not all there."""
    try:
        package = distribution("tbb")
    except PackageNotFoundError:
        return ""
    files = {file.name: Path(str(package.locate_file(file))).resolve() for file in package.files or ()}
    found = [str(files[name]) for name in _LIBRARIES if name in files and files[name].is_file()]
    # A path with a blank or a colon cannot stand in the variable.
    fits = not any(sign in path for path in found for sign in " :")
    return ":".join(found) if fits and len(found) == len(_LIBRARIES) else ""
