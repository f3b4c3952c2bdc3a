"""Generated items: what an endless dataset would give, without building one."""

from __future__ import annotations

from typing import Any

import pytest

from prorl_api.errors import SpecError
from prorl_api.spec.data import DataSource
from prorl_trainer.data.gym_items import ReasoningGymItems


def items(*tasks: str, seed: int = 3, **config: Any) -> ReasoningGymItems:
    entries = [{"name": task, "config": config} for task in tasks]
    source = DataSource.model_validate(
        {"name": "gym", "domain": "logic", "reasoningGym": {"tasks": entries, "seed": seed}}
    )
    assert source.reasoning_gym is not None
    return ReasoningGymItems(source, source.reasoning_gym)


@pytest.mark.parametrize("task", ["chain_sum", "basic_arithmetic", "family_relationships"])
@pytest.mark.parametrize("index", [0, 999, 1000, 54_321])
def test_an_item_is_what_one_endless_dataset_would_give(task: str, index: int) -> None:
    import reasoning_gym

    made = items(task)
    endless = reasoning_gym.create_dataset(task, size=2**31 - 1, seed=made._streams["train"][0]._seed)
    assert made.train(index)[0] == endless[index]["question"]


def test_items_of_a_task_that_prepares_them_differ_from_chunk_to_chunk() -> None:
    made = items("list_functions")
    assert len({made.train(1000 * number)[0] for number in range(6)}) == 6
    assert made.train(3000) == items("list_functions").train(3000)


class Failing:
    """A dataset that takes one failure for its end, as word_ladder does."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._size = 1000

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index % 10 == 3:
            self._size = index
        if index >= self._size:
            raise IndexError(f"exhausted at {index}")
        return {"question": f"question {self._seed + index}", "answer": "1", "metadata": {}}


def failing(monkeypatch: pytest.MonkeyPatch, *, wholly: bool = False) -> ReasoningGymItems:
    import reasoning_gym

    def create(task: str, *, size: int, seed: int) -> Failing:
        made = Failing(seed)
        made._size = 0 if wholly else size
        return made

    monkeypatch.setattr(reasoning_gym, "create_dataset", create)
    return items("word_ladder")


def test_an_item_that_a_task_fails_to_make_is_replaced_and_the_later_ones_are_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = failing(monkeypatch)
    base = made._streams["train"][0]._seed
    questions = [made.train(index)[0] for index in range(20)]
    kept = [index for index in range(20) if index % 10 != 3]
    assert [questions[index] for index in kept] == [f"question {base + index}" for index in kept]
    assert questions[3] == f"question {base + 3 + 1_000_003}", "the next index far away that can be made"
    assert len(set(questions)) == 20


def test_a_task_that_makes_no_item_at_all_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    made = failing(monkeypatch, wholly=True)
    with pytest.raises(SpecError, match=r"1000 items in a row .* or that the task fails to make"):
        made.train(0)
    with pytest.raises(SpecError, match="size 2; at most 0"):
        made.held_out(2, lambda _: True)


def test_a_chunk_that_was_not_used_for_a_while_is_built_again_with_the_same_items() -> None:
    made = items("acre")
    before = made.train(5)
    for number in range(1, 7):
        made.train(1000 * number)
    assert len(made._streams["train"][0]._chunks) == 4
    assert made.train(5) == before
