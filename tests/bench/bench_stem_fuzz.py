"""Fuzzing of the STEM verifier: `python -m tests.bench.bench_stem_fuzz [number] [seed]`, by default 100,000 answers.

Prints every answer that earns what it must not, and ends with status 1 if there is one. An answer that computes to the
expected value (`12 – 6` for 6) is right. The unit tests run a few thousand of the same kind.
"""

from __future__ import annotations

import sys

from prorl_verifiers.math.verifier import MathVerifier
from prorl_verifiers.stem.verifier import StemVerifier
from tests.bench.verifier_fuzzing import fuzz
from tests.unit.verifiers.stem_fuzz import faults


def main() -> int:
    verifier = StemVerifier(MathVerifier())
    return fuzz(lambda number, seed: faults(verifier, number=number, seed=seed))


if __name__ == "__main__":
    sys.exit(main())
