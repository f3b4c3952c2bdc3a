"""What the fuzzing of every verifier does: make and judge answers, print what earns what it must not."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Protocol

_NUMBER, _SEED = 100_000, 1


class Fault(Protocol):
    """An answer that earns what it must not."""

    @property
    def law(self) -> str: ...
    @property
    def answer(self) -> str: ...
    @property
    def won(self) -> tuple[str, ...]: ...


def fuzz(faults: Callable[[int, int], Iterable[Fault]]) -> int:
    """Print every fault; returns the exit status: 1 if there is one.

    Args:
        faults: From the number of answers and the seed, both of the command line.
    """
    given = [int(argument) for argument in sys.argv[1:3]]
    number, seed = [*given, *(_NUMBER, _SEED)[len(given) :]]
    started = time.perf_counter()
    num_faults = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for fault in faults(number, seed):
            num_faults += 1
            print(f"{fault.law}: {fault.answer!r} wins {', '.join(fault.won)}", flush=True)
    print(f"{number} answers, seed {seed}: {num_faults} faults, {time.perf_counter() - started:.0f} s")
    return int(num_faults > 0)
