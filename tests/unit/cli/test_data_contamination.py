"""Overlap with evaluation sets: 13-word runs and equality, figures both ways."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prorl_api.errors import SpecError
from prorl_api.questions import normalised
from prorl_cli.data.contamination import EvaluationIndex, Hit

ITEM = " ".join(f"w{number}" for number in range(20))
"""20 words: 8 runs of 13."""


def jsonl(folder: Path, *items: object, name: str = "eval.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return path


def hits(index: EvaluationIndex, text: str) -> list[Hit]:
    return index.hits(normalised(text))


def test_thirteen_shared_words_touch_and_twelve_do_not(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"problem": ITEM})
    index = EvaluationIndex([path])
    parts = ITEM.split()
    assert hits(index, "before " + " ".join(parts[3:15]) + " after") == []
    assert hits(index, "before " + " ".join(parts[3:16]) + " after") == [Hit(f"{path}:1", is_equal=False, share=1 / 8)]


def test_punctuation_and_case_do_not_hide_a_run(tmp_path: Path) -> None:
    index = EvaluationIndex([jsonl(tmp_path, {"problem": ITEM})])
    (hit,) = hits(index, ", ".join(ITEM.upper().split()) + "!")
    assert (hit.is_equal, hit.share) == (False, 1.0)


def test_an_equal_prompt_is_found_however_short(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"question": "What is 1+1?"})
    index = EvaluationIndex([path])
    assert hits(index, "what is  1+1?") == [Hit(f"{path}:1", is_equal=True, share=1.0)]
    assert hits(index, "what is 1-1?") == []
    assert index.files[0].short_items == 1


def test_figures_count_prompts_and_items(tmp_path: Path) -> None:
    other = " ".join(f"v{number}" for number in range(13))
    first = jsonl(tmp_path, {"problem": ITEM}, {"problem": other}, {"problem": "short"})
    second = jsonl(tmp_path, {"problem": ITEM}, name="second.jsonl")
    index = EvaluationIndex([first, second])
    for text in (ITEM, ITEM + " and more", "nothing of it", "short"):
        hits(index, text)
    one, two = index.files
    assert (one.items, one.short_items, one.touching_prompts, one.equal_prompts, len(one.touched)) == (3, 1, 3, 2, 2)
    assert (two.items, two.touching_prompts, two.equal_prompts, len(two.touched)) == (1, 2, 1, 1)


def test_a_smaller_share_than_asked_for_does_not_touch(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"problem": ITEM})
    half = " ".join(ITEM.split()[:16])  # 4 of 8 runs
    assert len(hits(EvaluationIndex([path], min_share=0.5), half)) == 1
    assert hits(EvaluationIndex([path], min_share=0.51), half) == []


def test_a_run_that_several_items_have_touches_all_of_them(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"problem": ITEM}, {"problem": ITEM + " tail"})
    assert [hit.item for hit in hits(EvaluationIndex([path]), "x " + ITEM)] == [f"{path}:1", f"{path}:2"]


def test_text_files_are_items_between_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "eval.txt"
    path.write_text(f"\nfirst\nitem\n\n \n{ITEM}\n\n")
    index = EvaluationIndex([path])
    assert index.files[0].items == 2
    assert [hit.item for hit in hits(index, ITEM)] == [f"{path}:6"]
    assert [hit.item for hit in hits(index, "first item")] == [f"{path}:2"]


def test_our_own_lines_can_be_evaluation_items(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path, {"prompt": [{"role": "system", "content": "x"}, {"role": "user", "content": ITEM}], "row": {}}
    )
    (hit,) = hits(EvaluationIndex([path]), ITEM)
    assert hit.is_equal


def test_no_evaluation_file_touches_nothing() -> None:
    assert hits(EvaluationIndex([]), ITEM) == []


@pytest.mark.parametrize(("content", "match"), [('{"answer": 1}\n', r"eval.jsonl:1"), ("{\n", r"eval.jsonl:1")])
def test_an_item_without_text_is_an_error_with_its_line(tmp_path: Path, content: str, match: str) -> None:
    path = tmp_path / "eval.jsonl"
    path.write_text(content)
    with pytest.raises(SpecError, match=match):
        EvaluationIndex([path])


def test_a_missing_evaluation_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="readable UTF-8 file"):
        EvaluationIndex([tmp_path / "none.txt"])
