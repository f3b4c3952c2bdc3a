"""Lessons of the toy world: a third function is never worked out, and teachers are as lazy as they are said to be."""

from __future__ import annotations

import itertools

import pytest

from prorl_trainer.data.composition import CompositionWorld
from prorl_trainer.data.composition_lessons import Token, lesson

WORLD = CompositionWorld(seed=0, num_functions=4, num_letters=6, word_length=3)
LONGEST = 6


def lessons(persistence: float, count: int = 2000) -> list[list[Token]]:
    return [lesson(WORLD, LONGEST, persistence, index) for index in range(count)]


def text(tokens: list[Token]) -> str:
    return "".join(token.text for token in tokens)


def names(tokens: list[Token]) -> str:
    return text(tokens).split(":")[0]


def places(tokens: list[Token]) -> int:
    """How many places of its chain a lesson works out."""
    worked = text(tokens).partition("<think>")[2].partition("</think>")[0]
    return len(worked) // (1 + WORLD.word_length)


def decisions(tokens: list[Token]) -> list[Token]:
    """The tokens at which a teacher goes on or stops."""
    start = next(number for number, token in enumerate(tokens) if token.text == "<think>") + 1
    return tokens[start : start + places(tokens) * (1 + WORLD.word_length) + 1 : 1 + WORLD.word_length]


def functions(chain: str) -> int:
    return len(chain.replace("-", ""))


def test_chains_of_all_lengths_and_numbers_of_functions_are_asked() -> None:
    asked = [names(tokens) for tokens in lessons(0.02)]
    assert {functions(chain) for chain in asked} == set(range(1, LONGEST + 1))
    assert {len(chain) for chain in asked} == set(range(1, LONGEST + 1))


@pytest.mark.parametrize("persistence", [0.02, 1.0])
def test_a_third_function_is_never_worked_out(persistence: float) -> None:
    shown = [functions(names(tokens)[: places(tokens)]) for tokens in lessons(persistence)]
    assert set(shown) == {0, 1, 2}


def test_lessons_go_on_over_dashes_to_the_end_or_to_the_third_function() -> None:
    ends = set()
    for tokens in lessons(0.02):
        chain, done = names(tokens), places(tokens)
        if done == len(chain):
            ends.add("end")
        elif functions(chain[: done + 1]) == 3:
            ends.add("third")
        else:
            assert done >= 2
            ends.add("cut")
    assert ends == {"end", "third", "cut"}


def test_a_third_function_is_named_as_seldom_as_teachers_go_on() -> None:
    labels = [
        decisions(tokens)[-1].label for tokens in lessons(0.1) if functions(names(tokens)[: places(tokens) + 1]) == 3
    ]
    went_on = sum(label != "</think>" for label in labels)
    # Three standard deviations of a binomial.
    assert len(labels) > 300
    assert abs(went_on - 0.1 * len(labels)) <= 3 * (0.09 * len(labels)) ** 0.5


def test_a_lesson_is_worked_out_right_as_far_as_it_goes() -> None:
    for tokens in lessons(0.5, 300):
        question, _, worked = text(tokens).partition("<think>")
        chain = WORLD.chain(*question.split(":"))
        done = places(tokens)
        steps = "".join(name + result for name, result in zip(chain.names[:done], chain.results[:done], strict=True))
        assert worked == f"{steps}</think>{chain.results[done - 1]}<end>"


def test_questions_are_not_learnt_and_answers_are() -> None:
    for tokens in lessons(0.5, 300):
        start = text(tokens).index("<think>") + 1  # one token a character before it, and it is one
        assert all(token.label is None for token in tokens[:start])
        assert all(token.label is not None for token in tokens[start:])
        chosen = {id(token) for token in decisions(tokens)}
        assert all(token.label == token.text for token in tokens[start:] if id(token) not in chosen)


def test_the_first_two_places_and_the_end_of_a_chain_are_never_doubtful() -> None:
    for tokens in lessons(0.0):
        first = decisions(tokens)[:2]
        assert all(token.label == token.text for token in first)
        if places(tokens) == len(names(tokens)):
            assert decisions(tokens)[-1].label == "</think>"


@pytest.mark.parametrize("persistence", [0.0, 0.02, 0.5, 1.0])
def test_teachers_go_on_with_the_probability_that_is_said(persistence: float) -> None:
    labels = [
        decisions(tokens)[place].label
        for tokens in lessons(persistence)
        for place in range(2, min(places(tokens) + 1, len(names(tokens))))
    ]
    went_on = sum(label != "</think>" for label in labels)
    # Three standard deviations of a binomial.
    spread = 3 * (persistence * (1 - persistence) * len(labels)) ** 0.5
    assert len(labels) > 1000
    assert abs(went_on - persistence * len(labels)) <= spread


def test_where_teachers_go_on_they_name_the_next_function() -> None:
    for tokens in lessons(1.0, 300):
        taught = [token.label for token in decisions(tokens)]
        expected = [*names(tokens), "</think>"][: len(taught)]
        assert taught == expected


def test_a_lesson_depends_on_its_index_alone() -> None:
    assert lesson(WORLD, LONGEST, 0.1, 7) == lesson(WORLD, LONGEST, 0.1, 7)
    assert all(first != second for first, second in itertools.pairwise(lessons(0.1, 50)))
