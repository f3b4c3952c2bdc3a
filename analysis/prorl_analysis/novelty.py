"""How new completions are against a declared corpus, and how much they differ from each other. Offline.

The creativity index (arXiv 2410.04265): for L from a shortest to a longest span, coverage(L) is the share of a text's
words that lie in a span of at least L words which the corpus holds, and the index is the sum of 1 - coverage(L): 0
for a copy, the number of values of L for a text without any such span. Values of L above a text's own length do not
count for it: no corpus could cover it there. The authors' public script stores the sum of
coverage(L), which has the opposite sign. The range that ProRL used is not published; ours is stated with every
figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prorl_analysis.answers import answer_entropy, has_answers
from prorl_analysis.corpus import CorpusIndex, Ids, Lengths, numbered_words
from prorl_analysis.estimators import Estimate, FloatArray, mean_over_items
from prorl_analysis.results import Results

SHORTEST, LONGEST = 5, 11
SIZES = (1, 2, 3, 4)
"""Of n-grams whose share that occurs once is given."""
_TEXTS = 512
"""Looked up at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Novelty:
    """One evaluation against a corpus."""

    path: str
    corpus: str
    corpus_tokens: int
    shortest: int
    longest: int
    completions: int
    """That have as many words as the shortest span; the others say nothing."""
    coverage: tuple[tuple[int, float], ...]
    """(L, mean over items)."""
    index: Estimate
    """The creativity index, mean over items."""
    distinct: tuple[tuple[int, float], ...]
    """(n, different n-grams divided by all, over all completions: it falls with their number)."""
    entropy: Estimate | None
    """Of the answers to an item, in nats; None: they cannot be counted."""
    warnings: tuple[str, ...]


def coverage(index: CorpusIndex, texts: Sequence[str], shortest: int, longest: int) -> FloatArray:
    """Return coverage(L) of every text: [texts, longest - shortest + 1], NaN where a text has fewer than L words."""
    found = [
        _covered(index, [index.encode(text) for text in texts[start : start + _TEXTS]], shortest, longest)
        for start in range(0, len(texts), _TEXTS)
    ]
    return np.concatenate([np.zeros((0, longest - shortest + 1)), *found])


def _covered(index: CorpusIndex, texts: Sequence[Ids], shortest: int, longest: int) -> FloatArray:
    gap = np.full(1, 2**32 - 1, dtype=np.uint32)
    joined = np.concatenate([part for text in texts for part in (text, gap)])
    sizes = np.array([len(text) for text in texts])
    starts = np.concatenate([[0], np.cumsum(sizes + 1)[:-1]])
    lengths = index.matches(joined, longest)
    shares = np.empty((len(texts), longest - shortest + 1))
    for column, least in enumerate(range(shortest, longest + 1)):
        covered = np.add.reduceat(_inside(lengths, least), starts)
        shares[:, column] = np.where(sizes >= least, covered / np.maximum(sizes, 1), np.nan)
    return shares


def _inside(lengths: Lengths, least: int) -> NDArray[np.int64]:
    """Return 1 for every word that lies in a span of at least so many words, else 0."""
    begins = np.flatnonzero(lengths >= least)
    steps = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.add.at(steps, begins, 1)
    np.add.at(steps, begins + lengths[begins], -1)
    return (np.cumsum(steps[:-1]) > 0).astype(np.int64)


def distinct(texts: Sequence[Ids], size: int) -> float:
    """Return distinct-n (arXiv 1510.03055): different n-grams divided by all of them; 0 if there are none."""
    gap = np.full(1, 2**32 - 1, dtype=np.int64)
    joined = np.concatenate([np.zeros(0, dtype=np.int64), *(part for text in texts for part in (text, gap))])
    base = int(joined.max(initial=0)) + 1
    grams, is_whole = joined, joined != gap[0]
    for _ in range(size - 1):
        # Runs numbered anew at each size, so that the products stay exact.
        _, numbers = np.unique(grams[:-1], return_inverse=True)
        joined, is_whole = joined[1:], is_whole[:-1] & (joined[1:] != gap[0])
        grams = numbers * base + joined
    found = grams[is_whole]
    return len(np.unique(found)) / len(found) if len(found) else 0.0


def novelty(
    results: Results, index: CorpusIndex, corpus: str, *, shortest: int = SHORTEST, longest: int = LONGEST
) -> Novelty:
    """Compare all completions of an evaluation with a corpus."""
    samples = [(item, sample) for item, found in results.samples.items() for sample in found]
    texts = [sample.completion for _, sample in samples]
    shares = coverage(index, texts, shortest, longest)
    is_long = ~np.isnan(shares[:, 0])
    by_item: dict[object, list[FloatArray]] = {}
    for (item, _), row, is_counted in zip(samples, shares, is_long, strict=True):
        if is_counted:
            by_item.setdefault(item, []).append(row)
    means = np.array([_over_texts(rows) for rows in by_item.values()]).reshape(-1, longest - shortest + 1)
    shares_of_lengths = _over_texts(means) if len(means) else np.zeros(means.shape[1])
    counted = [list(found) for found in results.samples.values() if has_answers(found)]
    numbered = numbered_words(texts)
    return Novelty(
        path=results.path,
        corpus=corpus,
        corpus_tokens=index.num_words,
        shortest=shortest,
        longest=longest,
        completions=int(is_long.sum()),
        coverage=tuple(
            (least, float(share))
            for least, share in zip(range(shortest, longest + 1), shares_of_lengths, strict=True)
            if not np.isnan(share)
        ),
        index=mean_over_items([float(np.mean(creativity(np.array(rows)))) for rows in by_item.values()]),
        distinct=tuple((size, distinct(numbered, size)) for size in SIZES),
        entropy=mean_over_items([answer_entropy(found) for found in counted]) if counted else None,
        warnings=tuple(_warnings(results, index, corpus, longest, int((~is_long).sum()))),
    )


def creativity(shares: FloatArray) -> FloatArray:
    """Return the creativity index of every text: the sum of 1 - coverage(L) over the lengths that it has.

    Args:
        shares: [texts, lengths] of `coverage`.
    """
    return np.nansum(1.0 - shares, axis=1)  # type: ignore[no-any-return]


def _over_texts(rows: Sequence[FloatArray] | FloatArray) -> FloatArray:
    """Return the mean of each length over the texts that have it, NaN where none has."""
    known = ~np.isnan(np.array(rows))
    totals = np.where(known, np.array(rows), 0.0).sum(axis=0)
    return np.where(known.any(axis=0), totals / np.maximum(known.sum(axis=0), 1), np.nan)


def _warnings(results: Results, index: CorpusIndex, corpus: str, longest: int, num_short: int) -> list[str]:
    found = []
    if index.num_words < longest:
        found.append(
            f"Corpus {corpus}: {index.num_words} words, fewer than the longest span of {longest}: "
            "it can cover nothing of that length, and everything looks new."
        )
    if num_short:
        found.append(
            f"{results.path}: {num_short} completions are shorter than the shortest span and left out of novelty."
        )
    if corpus == results.path:
        found.append(f"{results.path} is the corpus itself: it covers all of it.")
    return found
