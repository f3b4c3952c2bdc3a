"""The process's memory: how often garbage is looked for, and when what is free goes back to the system."""

from __future__ import annotations

import asyncio
import ctypes
import gc
from collections.abc import Callable

QUIET_SECONDS = 5.0
"""Without a pass for so long, a burst of work is over."""
BUSY_SECONDS = 20.0
"""While passes go on, memory is given back so often: it takes a few milliseconds."""


def collect_less_often() -> None:
    """Have the collector leave the libraries alone, which are most objects here, and look at others in larger lots.

    Decoding the watches makes many containers that do not outlive an event; looking for cycles among all that was
    imported, again and again, took a quarter of the time of an event.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def give_back_memory() -> None:
    """Give back memory that was needed for a moment, and glibc would keep. Other C libraries have no such call."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


async def tidy(count_passes: Callable[[], int]) -> None:
    """Tidy up once after each burst of passes: what five hundred jobs leave that end together is 30 MiB.

    Jobs that train never leave it quiet. What is free is given back meanwhile, too: answers of a Prometheus for a
    hundred jobs are large for a moment. Garbage is left to the collector then, since looking for it holds passes up.

    Args:
        count_passes: How many there have been.
    """
    tidied = seen = count_passes()
    busy_seconds = 0.0
    while True:
        await asyncio.sleep(QUIET_SECONDS)
        now = count_passes()
        if now != seen:
            busy_seconds += QUIET_SECONDS
        elif now != tidied:
            gc.collect()
            give_back_memory()
            tidied, busy_seconds = now, 0.0
        if busy_seconds >= BUSY_SECONDS:
            give_back_memory()
            busy_seconds = 0.0
        seen = now
