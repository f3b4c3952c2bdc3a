"""A world in which the truth is known: words that hidden functions rewrite one after the other.

A function moves the letters of a word to other positions and then exchanges letters; its name, one capital, says
nothing of what it does. An item asks what becomes of a word under a chain of them: the chain's length, its depth, is
the difficulty. Who was trained on chains of one and two has met every function, and no longer chain: what such a model
can solve is known by construction. After the settings of arXiv 2509.25123 (hidden string functions, levels by
composition) and arXiv 2607.07646 (rewrites with a step a line). Used by the learner's data and by
`examples/prepare_toy_model.py`; it judges nothing.
"""

from __future__ import annotations

import random
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

THOUGHT_START, THOUGHT_END = "<think>", "</think>"
IDENTITY = "-"
"""A name that leaves a word as it is: in lessons, never in items."""
_TRIES = 100


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One hidden function: the letter at position i of the result is `letters` of the word's letter `sources[i]`."""

    sources: tuple[int, ...]
    letters: Mapping[str, str]

    def __call__(self, word: str) -> str:
        """Return what becomes of a word."""
        return "".join(self.letters[word[source]] for source in self.sources)


@dataclass(frozen=True, slots=True)
class Chain:
    """One item: functions by name in the order in which they act, the word that they begin with, and every result."""

    names: str
    word: str
    results: tuple[str, ...]

    @property
    def question(self) -> str:
        """`CAB:word`: first C acts, then A, then B."""
        return f"{self.names}:{self.word}"

    @property
    def answer(self) -> str:
        """The word after the last function."""
        return self.results[-1]

    @property
    def worked(self) -> str:
        """A completion as the base is taught it, after a prompt that ends with `<think>`: a function and its result at
        a time, then the answer behind the thought."""
        steps = "".join(name + result for name, result in zip(self.names, self.results, strict=True))
        return f"{steps}{THOUGHT_END}{self.answer}"


class CompositionWorld:
    """The functions of one world, drawn from its seed; equal settings are the same world everywhere."""

    def __init__(self, *, seed: int, num_functions: int, num_letters: int, word_length: int) -> None:
        """Draw the functions.

        Args:
            seed: Of the functions alone.
            num_functions: From 1 to 26; their names are A, B, C, ...
            num_letters: From 2 to 26; words are of a, b, c, ...
            word_length: From 2 on.
        """
        self.alphabet = string.ascii_lowercase[:num_letters]
        self.names = string.ascii_uppercase[:num_functions]
        self.word_length = word_length
        generator = _generator("functions", seed, num_functions, num_letters, word_length)
        self.functions: dict[str, Rewrite] = {name: self._drawn(generator) for name in self.names}

    def chain(self, names: str, word: str) -> Chain:
        """Return the item of a chain and a word, worked out."""
        results: list[str] = []
        for name in names:
            before = results[-1] if results else word
            results.append(before if name == IDENTITY else self.functions[name](before))
        return Chain(names, word, tuple(results))

    def item(self, depths: Sequence[int], stream: str, index: int) -> Chain:
        """Return the `index`-th item of a stream: depth, functions (repetitions included) and word drawn evenly.

        Who stops early is to be wrong: an item whose answer stands earlier in its chain is drawn again. In a world so
        small that a hundred of them in a row do so, the last one is taken.
        """
        generator = _generator("item", stream, index)
        depth = generator.choice(depths)
        for _ in range(_TRIES):
            names = "".join(generator.choices(self.names, k=depth))
            chain = self.chain(names, "".join(generator.choices(self.alphabet, k=self.word_length)))
            if chain.answer not in (chain.word, *chain.results[:-1]):
                break
        return chain

    def _drawn(self, generator: random.Random) -> Rewrite:
        sources = tuple(generator.sample(range(self.word_length), self.word_length))
        letters = generator.sample(self.alphabet, len(self.alphabet))
        return Rewrite(sources, dict(zip(self.alphabet, letters, strict=True)))


def _generator(*parts: object) -> random.Random:
    return random.Random("/".join(map(str, parts)))  # noqa: S311 - reproducible choice, no secret
