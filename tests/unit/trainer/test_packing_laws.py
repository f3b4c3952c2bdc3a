"""The laws that hold for every batch's packs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prorl_api.spec.values import LossAggregation
from prorl_trainer.algorithm.types import Pack, RolloutGroup, ScoredGroup, Segment
from prorl_trainer.engines.masks import attention_allowed
from tests.unit.trainer.packs import CPU, all_packs, follows_its_prefix, pack_up, two_groups
from tests.unit.trainer.trainer_builders import make_prompt, make_rollout, make_scored, make_segment

TURNS = st.lists(st.lists(st.integers(7, 8), min_size=1, max_size=5), min_size=1, max_size=3)
GROUPS = st.lists(
    st.tuples(st.integers(1, 6), st.lists(st.tuples(TURNS, st.booleans()), min_size=1, max_size=5)),
    min_size=1,
    max_size=6,
)
"""Of each its prompt's length and its completions: tokens of turns of model and environment, and whether masked. Of two
tokens, so that many begin alike."""


def scored_groups(shape: list[tuple[int, list[tuple[list[list[int]], bool]]]], times: int) -> list[ScoredGroup]:
    """Prompts of tokens of their own, tokens with log-probabilities and completions with advantages of their own.

    Tokens of completions come several times, one after another.
    """
    next_token, next_number = iter(range(100, 10_000)), iter(range(1, 100_000))

    def segment(ids: list[int], turn: int) -> Segment:
        repeated = [token for token in ids for _ in range(times)]
        return make_segment(repeated, logprobs=[-float(next(next_number)) for _ in repeated], trained=turn % 2 == 0)

    groups = []
    for index, (prompt_length, completions) in enumerate(shape):
        rollouts = [make_rollout(*(segment(ids, turn) for turn, ids in enumerate(turns))) for turns, _ in completions]
        prompt = make_prompt(index, token_ids=[next(next_token) for _ in range(prompt_length)])
        advantages = [None if number and masked else 0.5 + number for number, (_, masked) in enumerate(completions)]
        groups.append(make_scored(RolloutGroup(prompt=prompt, rollouts=tuple(rollouts)), advantages))
    return groups


LossToken = tuple[tuple[int, ...], int, float, float]
"""All tokens before it, itself, its log-probability and its advantage."""


def wanted_loss_tokens(groups: list[ScoredGroup]) -> Counter[LossToken]:
    found: Counter[LossToken] = Counter()
    for scored in groups:
        for rollout, advantage in zip(scored.group.rollouts, scored.advantages, strict=True):
            before = list(scored.group.prompt.token_ids)
            for segment in rollout.segments:
                for token, logprob in zip(segment.token_ids, segment.logprobs, strict=True):
                    if segment.loss_mask and advantage is not None:
                        found[tuple(before), token, logprob, advantage] += 1
                    before.append(token)
    return found


def loss_tokens_of(packs: Sequence[Pack]) -> Counter[LossToken]:
    """What is before a token is what the position that predicts it attends to."""
    found: Counter[LossToken] = Counter()
    prefix = np.zeros(0, dtype=np.int64)
    for pack in packs:
        prefix = pack.input_ids if pack.num_continuations else prefix
        ids = np.concatenate([prefix[: pack.prefix_length], pack.input_ids])
        allowed, (_, _, positions) = attention_allowed(pack, CPU).numpy(), pack.seen
        columns = (pack.predict_from, pack.targets, pack.rollout_logprobs, pack.advantages)
        for source, target, logprob, advantage in zip(*(column.tolist() for column in columns), strict=True):
            seen = allowed[source]
            assert positions[seen].tolist() == list(range(seen.sum())), "positions count from the prompt's first token"
            found[tuple(ids[seen].tolist()), target, logprob, advantage] += 1
    return found


@settings(max_examples=150, deadline=None)
@given(
    shape=GROUPS, times=st.sampled_from([1, 1, 30]), ranks=st.integers(1, 3), minibatch=st.integers(1, 3),
    limit=st.integers(21, 60), is_continued=st.booleans(), is_shared=st.booleans(),
)  # fmt: skip
def test_laws_of_packing(
    shape: Any, times: int, ranks: int, minibatch: int, limit: int, is_continued: bool, is_shared: bool
) -> None:
    """With completions of many tokens sharing a prompt does not pay."""
    groups, limit = scored_groups(shape, times), limit * times
    for aggregation in LossAggregation:
        batch = pack_up(
            groups,
            minibatch_prompts=minibatch,
            microbatch_tokens=limit,
            num_ranks=ranks,
            aggregation=aggregation,
            continue_prefixes=is_continued,
            share_prompts=is_shared,
        )
        trained: Counter[LossToken] = Counter()
        for one in batch.minibatches:
            assert len({len(packs) for packs in one.packs_by_rank}) == 1, "every rank runs the same number of packs"
            packs = [pack for packs in one.packs_by_rank for pack in packs]
            total = sum(float(pack.token_weights.astype(np.float64).sum()) for pack in packs)
            assert total == pytest.approx(1.0, rel=1e-5), "weights add up to one in every optimizer step"
            assert all(pack.prefix_length + pack.num_positions <= limit for pack in packs)
            assert all(follows_its_prefix(packs) for packs in one.packs_by_rank)
            trained += sum((loss_tokens_of(packs) for packs in one.packs_by_rank), Counter())
        assert trained == wanted_loss_tokens(groups), "every loss token of every rollout once, after what was before it"


def test_the_same_batch_gives_the_same_packs() -> None:
    first, second = (all_packs(pack_up(two_groups() * 3, microbatch_tokens=12, num_ranks=2)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        for name in Pack.__dataclass_fields__:
            assert np.array_equal(getattr(one, name), getattr(other, name))
