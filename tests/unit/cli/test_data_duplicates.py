"""Repeated prompts: equal ones are all found, similar ones by their exact similarity, against brute force."""

from __future__ import annotations

import json
import random
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prorl_api.jsonl import raw_lines
from prorl_api.questions import normalised, question_text
from prorl_cli.data.duplicates import PromptIndex
from prorl_cli.data.similarity import BANDS, THRESHOLD, bands, jaccard, runs
from prorl_cli.data.text import Hashes, digest, ngram_hashes, words, words_and_symbols

"""Other work on the machine, and tables of characters made at first use, say nothing about the code."""

WORDS = [f"word{number}" for number in range(500)]


def index_of(folder: Path, prompts: list[str], rows: list[int] | None = None) -> PromptIndex:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": prompt, "row": {}}) + "\n" for prompt in prompts))
    index = PromptIndex()
    for position, raw in enumerate(raw_lines(path)):
        index.add(path, raw.number, raw.offset, normalised(prompts[position]), str(rows[position] if rows else 0))
    return index


def plain_similarity(first: str, second: str) -> float:
    """By sets of tuples of words: no hashing."""

    def grams(text: str) -> set[tuple[str, ...]]:
        tokens = words_and_symbols(normalised(text))
        size = min(5, len(tokens))
        return {tuple(tokens[start : start + size]) for start in range(len(tokens) - size + 1)}

    one, two = grams(first), grams(second)
    return len(one & two) / len(one | two)


def test_equal_prompts_are_found_whatever_their_case_and_white_space(tmp_path: Path) -> None:
    index = index_of(
        tmp_path, ["What is  1+1?", "other", "what is\n1+1?", "WHAT IS 1+1?", "what is 1-1?"], [1, 1, 1, 2, 1]
    )
    found = [(repeat.line.number, repeat.earlier.number, repeat.has_same_row) for repeat in index.exact()]
    assert found == [(3, 1, True), (4, 1, False)]


def test_equal_prompts_in_different_files_are_found(tmp_path: Path) -> None:
    index = PromptIndex()
    index.add(tmp_path / "a", 7, 0, "same", "row")
    index.add(tmp_path / "b", 2, 0, "same", "row")
    (repeat,) = index.exact()
    assert (str(repeat.line), str(repeat.earlier)) == (f"{tmp_path}/b:2", f"{tmp_path}/a:7")


def test_an_empty_index_has_no_repeats() -> None:
    assert [*PromptIndex().exact(), *PromptIndex().near()] == []


def test_near_duplicates_agree_with_brute_force(tmp_path: Path) -> None:
    chooser = random.Random(7)
    prompts = [" ".join(chooser.choices(WORDS, k=60)) for _ in range(60)]
    for original in prompts[:30]:
        changed = original.split()
        for _ in range(chooser.choice([1, 2, 3])):  # 1 change: J about 0.84 (51 of 61 runs); 2: about 0.7
            changed[chooser.randrange(60)] = "changed"
        prompts.append(" ".join(changed))
    wanted = {
        (later + 1, earlier + 1)
        for earlier, later in combinations(range(len(prompts)), 2)
        if THRESHOLD <= plain_similarity(prompts[earlier], prompts[later]) < 1
    }
    found = {(repeat.line.number, repeat.earlier.number): repeat for repeat in index_of(tmp_path, prompts).near()}
    assert len(wanted) >= 8
    assert set(found) == wanted
    for (later, earlier), repeat in found.items():
        assert repeat.similarity == pytest.approx(plain_similarity(prompts[earlier - 1], prompts[later - 1]))


def test_equal_prompts_are_not_near_duplicates_as_well(tmp_path: Path) -> None:
    text = " ".join(WORDS[:50])
    assert list(index_of(tmp_path, [text, text.upper(), text]).near()) == []


def test_lines_of_one_template_are_reported_only_where_they_are_similar(tmp_path: Path) -> None:
    # 70 runs each; a window moved by one word leaves 64 of 76 shared (0.84), one moved by 12 leaves 57 of 83 (0.69).
    template = " ".join(WORDS[:60])
    prompts = [f"{template} number {number} {' '.join(WORDS[100 + number : 112 + number])}" for number in range(300)]
    found = list(index_of(tmp_path, prompts).near())
    pairs = [(prompts[repeat.line.number - 1], prompts[repeat.earlier.number - 1]) for repeat in found]
    assert 100 < len(found) < 300
    assert all(plain_similarity(*pair) >= THRESHOLD for pair in pairs)


@given(text=st.text(max_size=200))
def test_every_text_is_like_itself(text: str) -> None:
    found = runs(normalised(text))
    assert bands(found) == bands(found)
    if len(found):
        assert jaccard(found, found) == 1.0
        assert len(bands(found)) == BANDS
        assert all(0 <= band < 2**32 for band in bands(found))


@given(first=st.lists(st.sampled_from("abc"), max_size=30), second=st.lists(st.sampled_from("abc"), max_size=30))
def test_hashed_runs_are_equal_exactly_when_the_runs_are(first: list[str], second: list[str]) -> None:
    def plain(tokens: list[str]) -> set[tuple[str, ...]]:
        return {tuple(tokens[start : start + 3]) for start in range(len(tokens) - 2)}

    one, two = ngram_hashes(first, 3), ngram_hashes(second, 3)
    assert len(one) == len(plain(first))
    assert len(set(one.tolist()) & set(two.tolist())) == len(plain(first) & plain(second))


def test_a_proposal_is_as_likely_as_the_formula_says() -> None:
    # 1 - (1 - J^6)^20 at J = 1/3 (20 of 60 runs shared): 0.0271; of 2000 pairs 54, standard deviation 7.3.
    proposed = 0
    for number in range(2000):
        shared = [digest(f"s{number}/{part}")[0] for part in range(20)]
        own = [[digest(f"{side}{number}/{part}")[0] for part in range(20)] for side in "ab"]
        first, second = (bands(_array(shared + rest)) for rest in own)
        proposed += any(one == two for one, two in zip(first, second, strict=True))
    assert 18 < proposed < 91


def _array(values: list[int]) -> Hashes:
    return np.unique(np.array(values, dtype=np.uint64))


def test_symbols_tell_prompts_apart_but_are_no_words() -> None:
    assert normalised("X + 1\u00a0=\n2") == "x + 1 = 2"
    assert words_and_symbols("x+1") != words_and_symbols("x-1")
    assert words("x+1, y!") == ["x", "1", "y"]


def test_system_messages_are_no_part_of_the_question() -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}]
    assert question_text(messages) == "1 + 1?"
