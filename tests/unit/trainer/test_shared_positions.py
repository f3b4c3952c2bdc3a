"""What a group's completions share, by hand."""

from __future__ import annotations

import pytest

from prorl_trainer.algorithm.types import Rollout, RolloutGroup, ScoredGroup
from tests.unit.trainer.packs import all_packs, pack_up
from tests.unit.trainer.trainer_builders import make_group, make_prompt, make_rollout, make_scored, make_segment


def test_without_sharing_every_completion_has_its_own_prompt() -> None:
    group = make_scored(make_group([1.0, 0.0]), (1.0, -1.0))
    (pack,) = all_packs(pack_up([group], share_prompts=False))
    assert pack.input_ids.tolist() == [1, 2, 3, 10, 1, 2, 3, 11]
    assert pack.group_ids.tolist() == [0] * 4 + [1] * 4


def group_of(*rollouts: Rollout) -> ScoredGroup:
    """Prompt (1 2 3); the i-th rollout has advantage i."""
    group = RolloutGroup(prompt=make_prompt(), rollouts=rollouts)
    return make_scored(group, [float(index) for index in range(len(rollouts))])


def completion(*ids: int, environment: tuple[int, ...] = ()) -> Rollout:
    """Tokens of the model, and after them some that are not trained."""
    after = [make_segment(environment, logprobs=[0.0] * len(environment), trained=False)] if environment else []
    return make_rollout(make_segment(ids, logprobs=[-0.1 * number for number in ids]), *after)


def test_completions_of_which_one_begins_with_the_other_are_computed_once_and_trained_each() -> None:
    """(10 11 12) twice, (10 13), (10 11) after which the environment wrote 14, and (15 16)."""
    group = group_of(
        completion(10, 11, 12), completion(15, 16), completion(10, 11, 12), completion(10, 13),
        completion(10, 11, environment=(14,)),
    )  # fmt: skip
    (pack,) = all_packs(pack_up([group]))
    assert pack.input_ids.tolist() == [1, 2, 3, 10, 11, 15]
    assert pack.branch_ids.tolist() == [0, 0, 0, 1, 1, 2]
    assert pack.position_ids.tolist() == [0, 1, 2, 3, 4, 3]
    assert pack.completion_ids.tolist() == [0, 0, 0, 2, 2, 2, 3, 3, 4, 4, 1, 1]
    assert pack.targets.tolist() == [10, 11, 12, 10, 11, 12, 10, 13, 10, 11, 15, 16]
    assert pack.predict_from.tolist() == [2, 3, 4, 2, 3, 4, 2, 3, 2, 3, 2, 5]
    assert pack.advantages.tolist() == [0, 0, 0, 2, 2, 2, 3, 3, 4, 4, 1, 1]
    assert pack.rollout_logprobs.tolist() == pytest.approx([-0.1 * token for token in pack.targets.tolist()])
    assert pack.token_weights.tolist() == pytest.approx([1 / 12] * 12)


def test_what_all_completions_open_with_is_computed_with_the_prompt() -> None:
    """(10 11 12), (10 13 14), and (10), for which nothing is computed but the prompt."""
    (pack,) = all_packs(pack_up([group_of(completion(10, 11, 12), completion(10, 13, 14), completion(10))]))
    assert pack.input_ids.tolist() == [1, 2, 3, 10, 11, 13]
    assert pack.branch_ids.tolist() == [0, 0, 0, 0, 1, 2]
    assert pack.position_ids.tolist() == [0, 1, 2, 3, 4, 4]
    assert pack.completion_ids.tolist() == [0, 0, 0, 2, 1, 1, 1]
    assert pack.targets.tolist() == [10, 11, 12, 10, 10, 13, 14]
    assert pack.predict_from.tolist() == [2, 3, 4, 2, 2, 3, 5]


def test_completions_of_one_token_need_the_prompt_alone() -> None:
    (pack,) = all_packs(pack_up([group_of(completion(10), completion(11))]))
    assert pack.input_ids.tolist() == [1, 2, 3]
    assert (pack.predict_from.tolist(), pack.targets.tolist()) == ([2, 2], [10, 11])


@pytest.mark.parametrize("is_continued", [False, True])
def test_a_group_that_is_cut_has_no_opening(is_continued: bool) -> None:
    """Its loss tokens would be predicted in a prefix that is computed for its keys and values."""
    rollouts = [completion(10, *range(20 * number, 20 * number + 8)) for number in range(1, 4)]
    packs = all_packs(pack_up([group_of(*rollouts)], microbatch_tokens=11, continue_prefixes=is_continued))
    assert any(pack.num_continuations for pack in packs) == is_continued
    assert sum(pack.input_ids.tolist().count(10) for pack in packs) == 3


def test_an_opening_counts_when_a_group_is_cut_and_when_sharing_is_weighed() -> None:
    """Eight times 50 tokens in common and 50 of each alone after a prompt of 3: 3 + 50 + 8 x 50 = 453 positions.

    Two times 1,000 and 1,000: sharing three positions of 4,006 would not pay, sharing 1,003 does.
    """
    for count, common, own, limit, positions in ((8, 50, 50, 512, 453), (2, 1000, 1000, 4096, 3003)):
        rollouts = [completion(*[10] * common, *[20 + number] * own, 30) for number in range(count)]
        (pack,) = all_packs(pack_up([group_of(*rollouts)], microbatch_tokens=limit))
        assert pack.num_positions == positions


def test_copies_take_no_room_in_a_pack() -> None:
    """Three times three positions and the prompt's three would be twelve; different completions need two packs."""
    alike = make_scored(RolloutGroup(prompt=make_prompt(), rollouts=(make_rollout(tokens=4),) * 3), (1.0, 0.0, -1.0))
    (pack,) = all_packs(pack_up([alike], microbatch_tokens=6))
    assert (pack.num_positions, pack.num_loss_tokens) == (6, 12)
    different = make_scored(make_group([1.0, 0.0, 1.0], lengths=[4, 4, 4]), (1.0, 0.0, -1.0))
    assert len(all_packs(pack_up([different], microbatch_tokens=11))) == 2


def test_copies_are_of_one_group_alone() -> None:
    groups = [make_scored(make_group([1.0, 0.0], index=index), (1.0, -1.0)) for index in range(2)]
    (pack,) = all_packs(pack_up(groups))
    assert pack.num_positions == 2 * (3 + 2 * 1)


@pytest.mark.parametrize(
    ("prompt", "lengths", "shares"),  # lengths: of what is computed
    [
        (3, [4, 4], True),
        (2, [48, 48], True),  # 2 of 100 positions
        (2, [48, 49], False),  # 2 of 101
        (5, [700, 700, 700], False),  # 10 of 2,115
        (15, [700, 700, 700], False),  # 30 of 2,145: 1.4 %
        (22, [700, 700, 700], True),  # 44 of 2,166: 2.03 %
    ],
)
def test_prompts_are_shared_where_that_saves_a_fiftieth_of_the_positions(
    prompt: int, lengths: list[int], shares: bool
) -> None:
    rewards = [1.0] * len(lengths)
    tokens = [length + 1 for length in lengths]
    group = make_scored(make_group(rewards, prompt_ids=tuple(range(1, prompt + 1)), lengths=tokens), rewards)
    (pack,) = all_packs(pack_up([group], microbatch_tokens=5000))
    copies = 1 if shares else len(lengths)
    assert pack.num_positions == prompt * copies + sum(lengths)
    assert len(set(pack.group_ids.tolist())) == copies
    assert pack.num_loss_tokens == sum(tokens)
