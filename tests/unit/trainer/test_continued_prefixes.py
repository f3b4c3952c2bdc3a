"""Packs that continue a prefix, by hand."""

from __future__ import annotations

import pytest

from tests.unit.trainer.packs import all_packs, follows_its_prefix, pack_up
from tests.unit.trainer.trainer_builders import make_group, make_scored


def test_runs_of_a_long_group_continue_one_prefix_by_hand() -> None:
    """A group that is cut, one that is not, and one whose prompt is a single token."""
    lengths = [[5, 5, 5], [3], [6, 6, 6]]
    groups = [
        make_scored(make_group([1.0] * len(each), prompt_ids=prompt, lengths=each, index=index), (1.0,) * len(each))
        for index, (prompt, each) in enumerate(zip([(1, 2, 3), (4, 5), (6,)], lengths, strict=True))
    ]
    packs = all_packs(pack_up(groups, microbatch_tokens=11, continue_prefixes=True))
    prefix, first, second = packs[:3]
    assert (prefix.input_ids.tolist(), prefix.num_continuations, prefix.num_loss_tokens) == ([1, 2], 2, 0)
    assert [pack.prefix_length for pack in packs] == [0, 2, 2, 0, 0]
    assert first.input_ids[0] == second.input_ids[0] == 3
    assert first.position_ids.tolist() == [2, 3, 4, 5, 6, 3, 4, 5, 6]
    assert first.branch_ids.tolist() == [0, 1, 1, 1, 1, 2, 2, 2, 2]
    assert first.predict_from.tolist() == [0, 1, 2, 3, 4, 0, 5, 6, 7, 8]
    assert second.position_ids.tolist() == [2, 3, 4, 5, 6]
    assert sum(pack.num_positions for pack in packs[:3]) == 2 + 9 + 5, "instead of 11 + 7"
    assert [column.tolist() for column in second.seen] == [[0] * 7, [0] * 3 + [1] * 4, [*range(7)]]


@pytest.mark.parametrize(
    ("num_groups", "ranks", "is_continued"),
    [
        (3, 1, True),  # 3 x (2 + 3 x 9) = 87 positions instead of 9 x 11 = 99
        (2, 2, True),  # 29 on each rank instead of 33
        (3, 2, False),  # 58 and 29: the busier one would have more than the 55 of five packs of 11
        (1, 3, False),  # two ranks would have nothing to do
    ],
)
def test_prefixes_are_continued_where_that_leaves_the_busiest_rank_less(
    num_groups: int, ranks: int, is_continued: bool
) -> None:
    groups = [
        make_scored(make_group([1.0] * 3, prompt_ids=(1, 2, 3), lengths=[9, 9, 9], index=index), (1.0,) * 3)
        for index in range(num_groups)
    ]
    batch = pack_up(groups, microbatch_tokens=11, num_ranks=ranks, continue_prefixes=True)
    packs_by_rank = batch.minibatches[0].packs_by_rank
    assert any(pack.num_continuations for packs in packs_by_rank for pack in packs) == is_continued
    assert all(follows_its_prefix(packs) for packs in packs_by_rank)


@pytest.mark.parametrize(("length", "is_continued"), [(30, False), (10, True)])
def test_a_prefix_that_saves_less_than_a_twentieth_is_not_continued(length: int, is_continued: bool) -> None:
    """Two pieces: 2 of 2 x 33 positions are saved, or 2 of 2 x 13."""
    group = make_scored(make_group([1.0] * 2, prompt_ids=(1, 2, 3), lengths=[length + 1] * 2), (1.0,) * 2)
    packs = all_packs(pack_up([group], microbatch_tokens=length + 3, continue_prefixes=True))
    assert any(pack.num_continuations for pack in packs) == is_continued
