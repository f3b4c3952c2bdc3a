"""Spans shared with a corpus, against a search by eye; the creativity index and its sign; what a bad corpus gets."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from prorl_analysis.corpus import CorpusIndex, numbered_words, read_corpus, words
from prorl_analysis.novelty import coverage, creativity, distinct, novelty
from prorl_analysis.results import Results, write_results
from prorl_api.errors import SpecError
from tests.unit.analysis.builders import SETTINGS, make_results, make_sample


def index_of(*documents: str) -> CorpusIndex:
    return CorpusIndex(iter([document]) for document in documents)


def longest_by_eye(documents: list[list[str]], text: list[str], start: int, longest: int) -> int:
    for size in range(min(longest, len(text) - start), 0, -1):
        wanted = text[start : start + size]
        if any(document[at : at + size] == wanted for document in documents for at in range(len(document))):
            return size
    return 0


@pytest.mark.parametrize("num_words", [2, 5, 300, 70_000])
def test_longest_spans_are_those_that_a_search_by_eye_finds(num_words: int) -> None:
    """With vocabularies that take one, two and three bytes a word."""
    rng = np.random.default_rng(num_words)
    filler = " ".join(f"f{number}" for number in range(num_words)) if num_words > 5 else ""
    kinds = min(num_words, 6)
    documents = [[f"w{number}" for number in rng.integers(0, kinds, size)] for size in (40, 1, 25, 7)]
    index = index_of(*map(" ".join, documents), filler)
    text = [f"w{number}" for number in rng.integers(0, kinds + 1, 60)]  # one word is in no document
    found = index.matches(index.encode(" ".join(text)), 6)
    assert found.tolist() == [longest_by_eye(documents, text, start, 6) for start in range(len(text))]


def test_no_span_runs_from_one_document_into_the_next() -> None:
    index = index_of("a b", "c d")
    assert index.matches(index.encode("a b c d"), 4).tolist() == [2, 1, 2, 1]


def test_coverage_by_hand() -> None:
    """`the cat sat on` and `a mat` are in the corpus: spans of 4 and 2 words of a text of 8."""
    index = index_of("then the cat sat on", "a mat")
    text = "the cat sat on x a mat y"
    assert coverage(index, [text], 2, 4)[0].tolist() == [6 / 8, 4 / 8, 4 / 8]


def test_overlapping_spans_count_each_word_once() -> None:
    index = index_of("a b c", "b c d")
    assert coverage(index, ["a b c d", "e"], 3, 3)[0].tolist() == [1.0]


def results_of(*completions: str) -> Results:
    results = make_results({0: [1.0] * len(completions)})
    samples = tuple(make_sample(("math", 0), n, 1.0, completion=text) for n, text in enumerate(completions))
    return Results(path="new.jsonl", settings=SETTINGS, samples={("math", 0): samples} if samples else results.samples)


def test_a_copy_has_index_0_and_a_new_text_one_for_each_length() -> None:
    """The sign: new is high. The public script stores the sum of coverage instead."""
    index = index_of("one two three four five six")
    assert novelty(results_of("one two three four five six"), index, "c", shortest=2, longest=4).index.value == 0.0
    assert novelty(results_of("x y z u v w"), index, "c", shortest=2, longest=4).index.value == 3.0


def test_case_and_white_space_are_no_novelty_and_symbols_are_words() -> None:
    assert words("The  CAT,\nsat") == ["the", "cat", ",", "sat"]
    index = index_of("the cat, sat")
    assert novelty(results_of("THE\ncat , sat"), index, "c", shortest=4, longest=4).index.value == 0.0


def test_distinct_n_by_hand() -> None:
    texts = numbered_words(["a b a b", "a b"])
    assert distinct(texts, 1) == 2 / 6
    assert distinct(texts, 2) == 2 / 4  # ab, ba, ab; ab
    assert distinct(texts, 3) == 1.0  # aba, bab
    assert distinct(texts, 5) == 0.0


def test_a_corpus_shorter_than_the_span_is_warned_of() -> None:
    found = novelty(results_of("a b c d e f g"), index_of("a b c"), "tiny.txt", shortest=2, longest=5)
    assert "Corpus tiny.txt: 3 words, fewer than the longest span of 5" in found.warnings[0]
    assert novelty(results_of("a b c"), index_of(), "none", shortest=2, longest=5).index.value == 2.0


def test_lengths_that_a_text_does_not_have_do_not_count_for_it() -> None:
    """By hand: a copy of three words is covered at L = 2 and 3; it has no span of 4 and none of 5."""
    index = index_of("a b c d e f")
    found = coverage(index, ["a b c", "a b c d x"], 2, 5)
    assert found[0].tolist()[:2] == [1.0, 1.0]
    assert np.isnan(found[0][2:]).all()
    assert found[1].tolist() == [4 / 5, 4 / 5, 4 / 5, 0.0]
    assert creativity(found).tolist() == pytest.approx([0.0, 3 / 5 + 1])
    mixed = novelty(results_of("a b c", "a b c d x"), index, "c", shortest=2, longest=5)
    assert dict(mixed.coverage) == pytest.approx({2: 0.9, 3: 0.9, 4: 0.8, 5: 0.0})
    assert mixed.index.value == pytest.approx((0.0 + 1.6) / 2)


def test_completions_too_short_to_tell_are_left_out_and_counted() -> None:
    found = novelty(results_of("a", "x y z"), index_of("a b c d"), "c", shortest=3, longest=4)
    assert (found.completions, found.index.value) == (1, 1.0)
    assert "1 completions are shorter than the shortest span" in found.warnings[0]
    nothing = novelty(results_of("a"), index_of("a b c d"), "c", shortest=3, longest=4)
    assert (nothing.completions, nothing.index.num_items) == (0, 0)
    assert not math.isnan(nothing.coverage[0][1])


def test_a_corpus_is_a_folder_records_or_an_evaluation_s_own_samples(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    (tmp_path / "below" / "b.jsonl").write_text(json.dumps({"messages": [{"content": "three"}], "n": 1}) + "\n")
    (tmp_path / "ignored.bin").write_bytes(b"\xff")
    found = ["".join(document) for document in read_corpus(tmp_path)]
    assert found == ["one\ntwo\n", "three"]
    path = tmp_path / "results.jsonl"
    write_results(path, SETTINGS, [make_sample(("math", 0), 0, 1.0, completion="four five")])
    assert ["".join(document) for document in read_corpus(path)] == ["four five"], "and not its settings"
    (tmp_path / "none").mkdir()
    with pytest.raises(SpecError, match="no files"):
        list(read_corpus(tmp_path / "none"))
    with pytest.raises(SpecError, match="a file that can be read"):
        list(read_corpus(tmp_path / "missing.txt"))
