"""Near-duplicates of prompts: MinHash bands propose pairs, the exact Jaccard similarity decides on them.

A prompt is the set of its runs of 5 words or symbols. MinHash (Broder 1997): for a random order of all runs, two sets
have the same first run with a probability equal to their Jaccard similarity J. 120 such orders in 20 bands of 6 propose
a pair with probability 1 - (1 - J^6)^20: 0.9977 at J = 0.8, 0.27 at J = 0.5, 0.0013 at J = 0.2. Since every proposed
pair is compared exactly, nothing is called similar that is not; a similar pair is missed with the small rest.

A library was considered (datasketch): its index keeps every line as Python objects, some kilobytes each, while what is
needed of it here, the signature, is ten lines of numpy.
"""

from __future__ import annotations

import numpy as np

from prorl_cli.data.text import Hashes, ngram_hashes, words_and_symbols

RUN = 5
"""Words or symbols in a run."""
BANDS = 20
_ROWS = 6
THRESHOLD = 0.8
"""Jaccard similarity from which two prompts count as near-duplicates."""
_PIECE = 4096
"""Runs hashed at once: bounds the memory for a very long prompt to 4 MB."""

_ORDERS = np.random.default_rng(20250524).integers(1, 2**63, size=(2, BANDS * _ROWS), dtype=np.uint64)
_MULTIPLY, _ADD = _ORDERS[0] * np.uint64(2) + np.uint64(1), _ORDERS[1]


def runs(text: str) -> Hashes:
    """Return the set that stands for a normalised text: hashes of its runs, sorted. A short text is one run."""
    tokens = words_and_symbols(text)
    return ngram_hashes(tokens, min(RUN, len(tokens))) if tokens else np.zeros(0, dtype=np.uint64)


def bands(text_runs: Hashes) -> list[int]:
    """`BANDS` numbers below 2^32; texts that share one at the same place are worth comparing. None for an empty set."""
    if not len(text_runs):
        return []
    signature = np.full(BANDS * _ROWS, np.iinfo(np.uint64).max, dtype=np.uint64)
    for start in range(0, len(text_runs), _PIECE):
        piece = text_runs[start : start + _PIECE, np.newaxis]
        # Multiply-add modulo 2^64 of hashes that are uniform already; the high bits decide the order.
        np.minimum(signature, (piece * _MULTIPLY + _ADD).min(axis=0), out=signature)
    grid = signature.reshape(BANDS, _ROWS)
    weights = _MULTIPLY[:_ROWS]
    return [int(value) for value in ((grid ^ (grid >> np.uint64(32))) * weights).sum(axis=1) >> np.uint64(32)]


def jaccard(first: Hashes, second: Hashes) -> float:
    """Shared runs divided by all runs, in [0, 1]."""
    shared = len(np.intersect1d(first, second, assume_unique=True))
    return shared / max(1, len(first) + len(second) - shared)
