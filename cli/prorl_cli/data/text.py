"""Prompts as text to compare: cut into words, hashed. Pure and the same in every process.

Hashes are of 64 bits. Two different words share one with a chance of 2^-64, so that equal hashes count as equal words.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

_WORD = re.compile(r"\w+")
_WORD_OR_SYMBOL = re.compile(r"\w+|[^\w\s]")
_MULTIPLIER = 0x9E3779B97F4A7C15
"""Odd, with bits well spread (2^64 divided by the golden ratio): its powers are the weights of the places in a run."""


def words(text: str) -> list[str]:
    """Letters and digits of a normalised text; what stands between them is dropped."""
    return _WORD.findall(text)


def words_and_symbols(text: str) -> list[str]:
    """Words, and every other character that is not white space, of a normalised text."""
    return _WORD_OR_SYMBOL.findall(text)


def digest(text: str) -> tuple[int, int]:
    """128 bits that stand for a text, as two numbers below 2^64."""
    value = hashlib.blake2b(text.encode("utf-8"), digest_size=16).digest()
    return int.from_bytes(value[:8], "little"), int.from_bytes(value[8:], "little")


@lru_cache(maxsize=2**17)
def _word_hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8"), digest_size=8).digest(), "little")


def ngram_hashes(tokens: Sequence[str], size: int) -> Hashes:
    """Hash every run of `size` tokens, sorted, each once. Fewer tokens than that: no runs."""
    count = len(tokens) - size + 1
    if count <= 0:
        return np.zeros(0, dtype=np.uint64)
    hashes = np.fromiter((_word_hash(token) for token in tokens), dtype=np.uint64, count=len(tokens))
    runs = np.zeros(count, dtype=np.uint64)
    for place in range(size):
        # The words' hashes are random, so the weighted sum is as good as random; weights make the order count.
        runs += hashes[place : place + count] * np.uint64(pow(_MULTIPLIER, place + 1, 2**64))
    return np.unique(_mixed(runs))


def _mixed(values: Hashes) -> Hashes:
    """Spread every input bit over all output bits (the finaliser of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
