"""What the index of a corpus costs, and how fast completions are looked up in it:

python -m tests.bench.bench_novelty [MILLIONS]

The corpus is drawn, word by word, with the frequencies of a natural one (Zipf), so that nothing about it is sorted
already; completions are half from the corpus and half new, 100 words each.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from itertools import islice

import numpy as np

from prorl_analysis.corpus import CorpusIndex
from prorl_analysis.novelty import LONGEST, SHORTEST, coverage

WORDS_A_DOCUMENT, VOCABULARY = 1000, 200_000
COMPLETIONS, WORDS_A_COMPLETION = 4000, 100
WANTED_SECONDS, WANTED_BYTES, WANTED_A_SECOND = 600.0, 2 * 2**30, 1000.0


def main() -> None:
    """Print each figure beside what is wanted; exit code 1 if one is missed."""
    millions = float(sys.argv[1]) if len(sys.argv) > 1 else 50.0
    started, cpu = time.perf_counter(), time.process_time()
    index = CorpusIndex(iter([text]) for text in _documents(millions * 1e6, seed=1))
    building, building_cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    texts = [
        " ".join(text.split()[:WORDS_A_COMPLETION])
        for seed in (1, 2)  # the first documents of the corpus, and others
        for text in islice(_documents(millions * 1e6, seed=seed), COMPLETIONS // 2)
    ]
    started, cpu = time.perf_counter(), time.process_time()
    shares = coverage(index, texts, SHORTEST, LONGEST)
    rate, rate_cpu = len(texts) / (time.perf_counter() - started), len(texts) / (time.process_time() - cpu)
    limit = f"below {WANTED_SECONDS:.0f} for 50 million"
    print(f"{index.num_words:,} words indexed in {building:.1f} s, {building_cpu:.1f} s of CPU (wanted: {limit})")
    print(f"peak memory of the process: {peak / 2**30:.2f} GiB (wanted: below {WANTED_BYTES / 2**30:.0f})")
    each = f"completions of {WORDS_A_COMPLETION} words"
    print(f"{rate:,.0f} {each} a second, {rate_cpu:,.0f} a second of CPU (wanted: {WANTED_A_SECOND:,.0f})")
    half = len(texts) // 2
    print(f"coverage({SHORTEST}): {shares[:half, 0].mean():.3f} of copies, {shares[half:, 0].mean():.3f} of new texts")
    sys.exit(not (building < WANTED_SECONDS and peak < WANTED_BYTES and rate > WANTED_A_SECOND))


def _documents(num_words: float, *, seed: int) -> Iterator[str]:
    rng = np.random.default_rng(seed)
    names = np.array([f"w{number}" for number in range(VOCABULARY)])
    for _ in range(max(1, int(num_words / WORDS_A_DOCUMENT))):
        yield " ".join(names[rng.zipf(1.2, WORDS_A_DOCUMENT) % VOCABULARY])


if __name__ == "__main__":
    main()
