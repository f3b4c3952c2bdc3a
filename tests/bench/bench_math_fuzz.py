"""Fuzzing of the math verifier: `python -m tests.bench.bench_math_fuzz [number] [seed]`, by default 100,000 answers.

Prints every answer that earns what it must not, and ends with status 1 if there is one. The unit tests run a few
thousand of the same kind.
"""

from __future__ import annotations

import sys

from prorl_verifiers.math.verifier import MathVerifier
from tests.bench.verifier_fuzzing import fuzz
from tests.unit.verifiers.math_fuzz import faults


def main() -> int:
    verifier = MathVerifier()
    verifier.warm_up()
    return fuzz(lambda number, seed: faults(verifier, number=number, seed=seed))


if __name__ == "__main__":
    sys.exit(main())
