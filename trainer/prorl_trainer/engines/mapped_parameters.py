"""Parameters in a mapped file, whose pages leave the process's memory when nobody needs them.

The file has no name, so that nothing is left behind by a process that is killed. Its pages come back as they are
touched, from the kernel's cache while there is room and else from the disk.
"""

from __future__ import annotations

import logging
import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

_ON_DISK = "/var/tmp"  # noqa: S108  (the file has no name)
"""On a disk by the file system hierarchy's standard; /tmp may be memory."""
_logger = logging.getLogger(__name__)


class MappedParameters:
    """The mapping that parameters of a module lie in."""

    def __init__(self, pages: mmap.mmap) -> None:
        """Own the pages."""
        self._pages = pages

    @contextmanager
    def in_memory(self) -> Iterator[None]:
        """Give the pages back at the end. What was written to them stays: the mapping is shared with the file."""
        try:
            yield
        finally:
            self._pages.madvise(mmap.MADV_DONTNEED)


def map_parameters(module: nn.Module) -> MappedParameters:
    """Move a module's parameters, which are on the CPU, into a file in place; names, types and ties stay.

    Raises:
        OSError: The folder has no room for them; it is named.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.numel()]
    starts = [0]
    for parameter in parameters:  # each begins at a page, aligned for every type
        size = parameter.numel() * parameter.element_size()
        starts.append(starts[-1] + -(-size // mmap.PAGESIZE) * mmap.PAGESIZE)
    folder = _folder()
    with tempfile.TemporaryFile(dir=folder) as file:
        _take_room(file.fileno(), starts[-1], folder)
        pages = mmap.mmap(file.fileno(), starts[-1])
    _logger.info("parameters are mapped", extra={"folder": folder, "bytes": starts[-1]})
    mapped = MappedParameters(pages)
    with mapped.in_memory(), torch.no_grad():
        for parameter, start in zip(parameters, starts[:-1], strict=True):
            flat = torch.frombuffer(pages, dtype=parameter.dtype, count=parameter.numel(), offset=start)
            parameter.data = flat.view(parameter.shape).copy_(parameter.data)
    return mapped


def _folder() -> str:
    """Return where the user wants temporary files, else a disk, else where temporary files go."""
    if "TMPDIR" in os.environ or not os.access(_ON_DISK, os.W_OK):
        return tempfile.gettempdir()
    return _ON_DISK


def _take_room(descriptor: int, size: int, folder: str) -> None:
    """Have the disk set the room aside: one that fills up later would end the process where it writes a page."""
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        wanted = f"{error.strerror}; {size} bytes are wanted there, or another folder in TMPDIR"
        raise OSError(error.errno, wanted, folder) from error
