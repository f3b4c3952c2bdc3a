"""The toy world: values worked by hand, items that depend on seeds and index alone, depth as asked."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest

from prorl_api.errors import SpecError
from prorl_api.spec.data import DataSource
from prorl_trainer.data.composition import CompositionWorld, Rewrite
from prorl_trainer.data.composition_items import CompositionItems


def world(**changes: int) -> CompositionWorld:
    return CompositionWorld(**{"seed": 0, "num_functions": 4, "num_letters": 6, "word_length": 3, **changes})


def items(**settings: Any) -> CompositionItems:
    source = DataSource.model_validate(
        {"name": "toy", "domain": "logic", "composition": {"depths": [1, 2], "seed": 3, **settings}}
    )
    assert source.composition is not None
    return CompositionItems(source, source.composition)


def known() -> CompositionWorld:
    """A world whose two functions are written down: A reverses and adds one letter, B turns the word to the left."""
    made = world(num_functions=2, num_letters=4)
    made.functions = {
        "A": Rewrite((2, 1, 0), {"a": "b", "b": "c", "c": "d", "d": "a"}),
        "B": Rewrite((1, 2, 0), {letter: letter for letter in "abcd"}),
    }
    return made


def test_functions_act_from_left_to_right() -> None:
    # A: abd -> reversed dba -> a letter further acb. B: acb -> cba.
    # The other way round, B: abd -> bda. A: bda -> reversed adb -> bac, since a follows d.
    assert known().chain("AB", "abd").results == ("acb", "cba")
    assert known().chain("BA", "abd").results == ("bda", "bac")


def test_a_chain_is_written_as_it_is_asked_and_taught() -> None:
    chain = known().chain("ABB", "abd")
    assert chain.question == "ABB:abd"
    assert chain.answer == "bac"
    assert chain.worked == "AacbBcbaBbac</think>bac"


@pytest.mark.parametrize("seed", range(5))
def test_every_function_moves_positions_and_letters_without_loss(seed: int) -> None:
    made = world(seed=seed)
    for rewrite in made.functions.values():
        assert sorted(rewrite.sources) == [0, 1, 2]
        assert sorted(rewrite.letters) == sorted(rewrite.letters.values()) == list("abcdef")


def test_a_world_depends_on_its_seed_and_on_every_setting() -> None:
    assert world().functions == world().functions
    others = [world(seed=1), world(num_letters=7), world(num_functions=5), world(word_length=4)]
    assert all(other.functions["A"] != world().functions["A"] for other in others)


def test_an_item_depends_on_stream_and_index_alone() -> None:
    made = world()
    assert made.item([1, 2], "x", 7) == world().item([1, 2], "x", 7)
    assert len({made.item([4], "x", index).question for index in range(50)}) > 45
    assert made.item([4], "x", 7) != made.item([4], "y", 7)


def test_who_stops_early_is_wrong() -> None:
    # Words of two letters out of two, and functions that move them about: 16 chains in 30 would come back.
    made = world(num_functions=2, num_letters=3, word_length=2)
    for index in range(300):
        chain = made.item([3], "x", index)
        assert chain.answer not in (chain.word, *chain.results[:-1])


def test_a_world_in_which_every_chain_comes_back_still_has_items() -> None:
    made = world(num_functions=1, num_letters=2, word_length=2)
    made.functions = {"A": Rewrite((0, 1), {"a": "a", "b": "b"})}
    assert made.item([2], "x", 0).names == "AA"


def test_a_dash_leaves_the_word() -> None:
    assert known().chain("-A-B", "abd").results == ("abd", "acb", "acb", "cba")


def test_depths_are_drawn_evenly() -> None:
    counts = Counter(len(world().item([1, 3, 5], "x", index).names) for index in range(3000))
    assert set(counts) == {1, 3, 5}
    # A binomial of 3,000 at a third has a standard deviation of 26.
    assert all(abs(count - 1000) < 130 for count in counts.values())


def test_a_row_holds_what_the_judge_compares() -> None:
    question, row = items(depths=[3]).train(5)
    names, word = str(question).split(":")
    made = world(num_functions=12, num_letters=10, word_length=5)
    assert row["task"] == "composition"
    assert row["entry"] == {
        "question": question, "answer": made.chain(names, word).answer, "metadata": {"depth": 3},
    }  # fmt: skip
    assert len(names) == 3


def test_sources_of_one_world_share_the_functions_and_not_the_items() -> None:
    one, other = items(depths=[2], seed=1), items(depths=[2], seed=2)
    assert one._world.functions == other._world.functions
    assert [one.train(index) for index in range(5)] != [other.train(index) for index in range(5)]


def test_what_is_held_out_is_not_trained_on() -> None:
    # Two functions of two letters and words of two: eight questions of depth 1, less those that are their own answer.
    made = items(depths=[1], numFunctions=2, numLetters=2, wordLength=2)
    words = map("".join, itertools.product("ab", repeat=2))
    num = sum(made._world.chain(name, word).answer != word for word in words for name in "AB")
    assert 3 <= num <= 8
    held = made.held_out(num - 2, lambda _: True)
    from prorl_api.questions import question_digest

    made.reserve({question_digest(question) for question, _ in held})
    trained = {made.train(index)[0] for index in range(100)}
    assert len(trained) == 2
    assert not trained & {question for question, _ in held}
    with pytest.raises(SpecError, match=f"at most {num}"):
        made.held_out(num + 1, lambda _: True)
