"""Fuzzing of the STEM verifier: `python -m tests.bench.bench_stem_fuzz [number] [seed]`, by default 100,000 answers.

Prints every answer that earns what it must not, and ends with status 1 if there is one. The unit tests run a few
thousand of the same kind.
"""

from __future__ import annotations

import sys
import time
import warnings

from prorl_verifiers.math.verifier import MathVerifier
from prorl_verifiers.stem.verifier import StemVerifier
from tests.unit.verifiers.stem_fuzz import faults

_NUMBER, _SEED = 100_000, 1


def main() -> int:
    given = [int(argument) for argument in sys.argv[1:3]]
    number, seed = [*given, *(_NUMBER, _SEED)[len(given) :]]
    verifier = StemVerifier(MathVerifier())
    started = time.perf_counter()
    num_faults = 0
    for fault in faults(verifier, number=number, seed=seed):
        num_faults += 1
        print(f"{fault.law}: {fault.answer!r} wins {', '.join(fault.won)}", flush=True)
    print(f"{number} answers, seed {seed}: {num_faults} faults, {time.perf_counter() - started:.0f} s")
    return int(num_faults > 0)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sys.exit(main())
