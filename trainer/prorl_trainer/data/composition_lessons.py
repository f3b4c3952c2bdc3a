"""What a base model of the toy world is taught, so that what it can do is known by construction.

A lesson asks for a chain of up to `longest` places, each a function or `-`, which does nothing, and works it out as far
as two functions and never a third: where a third would come, the lesson ends. Teachers are lazy: at each place after
the second one at which a chain is not finished they go on with probability `persistence`, naming what comes next, and
else answer with the word they have. So the name of a third function is seen to follow, seldom, and what it does there
never. A model that copies them solves depths 1 and 2, and a chain of d functions with probability of about
`persistence ** (d - 2)`: rarely, not never, which is what reinforcement learning can begin with.
Used by `examples/prepare_toy_model.py` alone.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from prorl_trainer.data.composition import IDENTITY, THOUGHT_END, THOUGHT_START, Chain, CompositionWorld

END = "<end>"
_WORKED_FUNCTIONS = 2
"""Most functions of a chain that are worked out; teachers are never lazy before as many places."""
_PLAIN_SHARE = 0.25
"""Lessons of one or two functions and nothing else, as depths 1 and 2 are asked."""
_CUT_SHARE = 0.3
"""Longer lessons that end before they must."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a lesson and what the model is to predict in its place: nothing in a question, and another token
    where a lazy teacher would have written one; the lesson then goes on nevertheless."""

    text: str
    label: str | None


def lesson(world: CompositionWorld, longest: int, persistence: float, index: int) -> list[Token]:
    """Return the `index`-th lesson.

    Args:
        world: Whose functions are taught.
        longest: Places of the longest chain, at least 2.
        persistence: Probability with which a teacher goes on after two places, in [0, 1].
        index: The lesson depends on it and the world alone.
    """
    # S311: a reproducible choice, no secret.
    generator = random.Random(f"lesson/{index}")  # noqa: S311
    chain = _chain(world, longest, generator)
    return list(_written(chain, _places_written(chain, generator), persistence, generator))


def _chain(world: CompositionWorld, longest: int, generator: random.Random) -> Chain:
    plain = generator.random() < _PLAIN_SHARE
    length = generator.randint(1, _WORKED_FUNCTIONS if plain else longest)
    num_functions = length if plain else generator.randint(1, length)
    places = set(generator.sample(range(length), num_functions))
    names = "".join(generator.choice(world.names) if place in places else IDENTITY for place in range(length))
    return world.chain(names, "".join(generator.choices(world.alphabet, k=world.word_length)))


def _places_written(chain: Chain, generator: random.Random) -> int:
    functions = [place for place, name in enumerate(chain.names) if name != IDENTITY]
    most = functions[_WORKED_FUNCTIONS] if len(functions) > _WORKED_FUNCTIONS else len(chain.names)
    if most > _WORKED_FUNCTIONS and generator.random() < _CUT_SHARE:
        return generator.randint(_WORKED_FUNCTIONS, most - 1)
    return most


def _written(chain: Chain, places: int, persistence: float, generator: random.Random) -> Iterator[Token]:
    yield from (Token(text, None) for text in (*chain.question, THOUGHT_START))
    for place in range(places):
        name = chain.names[place]
        is_lazy = place >= _WORKED_FUNCTIONS and generator.random() >= persistence
        yield Token(name, THOUGHT_END if is_lazy else name)
        yield from (Token(letter, letter) for letter in chain.results[place])
    goes_on = places < len(chain.names) and generator.random() < persistence
    yield Token(THOUGHT_END, chain.names[places] if goes_on else THOUGHT_END)
    yield from (Token(text, text) for text in (*chain.results[places - 1], END))
