"""From scored groups to packed sequences: prompts computed once, loss weights fixed globally. Pure.

A group that fits into one pack shares its prompt there; a longer one is cut into runs of completions, each with the
prompt in front. Completions of a group with the same tokens are computed once, too, and trained as often as sampled.
Where sharing saves next to nothing, because completions are long, each has a prompt of its own. Packs are filled
first-fit in the order of the groups, so that the same batch gives the same packs. Every rank gets the same number of
packs; empty ones (a single padding token, no loss) fill up.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prorl_api.prompt_sharing import sharing_pays
from prorl_api.spec.values import LossAggregation
from prorl_trainer.algorithm.types import Batch, Minibatch, Pack, Rollout, ScoredGroup


@dataclass(frozen=True, slots=True)
class _Completion:
    """A completion that is trained."""

    number: int
    """Its id in the batch."""
    rollout: Rollout
    advantage: float

    @property
    def content(self) -> tuple[tuple[bool, tuple[int, ...]], ...]:
        """What decides on its probabilities and on which of its tokens are trained."""
        return tuple((segment.loss_mask, tuple(segment.token_ids)) for segment in self.rollout.segments)


_Branch = tuple[_Completion, ...]
"""Completions of one prompt with the same content: their positions are computed once."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A prompt with some of its group's completions: what is placed into one pack as a whole."""

    prompt_ids: tuple[int, ...]
    branches: tuple[_Branch, ...]

    @property
    def num_positions(self) -> int:
        return len(self.prompt_ids) + sum(branch[0].rollout.num_tokens for branch in self.branches)

    @property
    def completions(self) -> list[_Completion]:
        return [completion for branch in self.branches for completion in branch]


def build_batch(
    groups: Sequence[ScoredGroup],
    *,
    minibatch_prompts: int,
    microbatch_tokens: int,
    num_ranks: int,
    aggregation: LossAggregation,
    temperature: float,
    share_prompts: bool = True,
) -> Batch:
    """Cut a batch into optimizer steps and packs.

    Args:
        groups: The batch, in order. Rollouts without advantage, and without a trained token, are left out.
        minibatch_prompts: Groups in one optimizer step, where it divides their number; else about so many.
        microbatch_tokens: Largest number of positions in a pack.
        num_ranks: Ranks to spread packs over.
        aggregation: What the loss is an average of.
        temperature: Of the sampling; the learner's probabilities are tempered alike.
        share_prompts: True: where `prompt_sharing.sharing_pays`, and copies of a completion. False: nothing is shared
            (for comparison only).

    Raises:
        ValueError: A prompt with one completion does not fit into a pack.
    """
    minibatches = []
    for chosen in _cut(groups, minibatch_prompts):
        pieces = _pieces(chosen, microbatch_tokens, share_prompts)
        weights = _token_weights(pieces, aggregation)
        packs = [_pack(bin_pieces, weights) for bin_pieces in _first_fit(pieces, microbatch_tokens)]
        minibatches.append(Minibatch(packs_by_rank=_spread(packs, num_ranks), num_groups=len(chosen)))
    return Batch(minibatches=tuple(minibatches), temperature=temperature)


def _cut(groups: Sequence[ScoredGroup], minibatch_prompts: int) -> list[Sequence[ScoredGroup]]:
    """As many optimizer steps as come nearest to the wanted size, of sizes that differ by one at most.

    Dynamic sampling may keep fewer groups than were asked for. Their rest is spread over the steps: a step of its own
    would move the policy as far as the others on the word of a single group.
    """
    count = max(1, math.floor(len(groups) / minibatch_prompts + 0.5))
    ends = [len(groups) * number // count for number in range(count + 1)]
    return [groups[start:end] for start, end in itertools.pairwise(ends) if end > start]


def _pieces(groups: Sequence[ScoredGroup], limit: int, share_prompts: bool) -> list[_Piece]:
    pieces: list[_Piece] = []
    next_id = 0
    for scored in groups:
        prompt_ids = scored.group.prompt.token_ids
        trained = [_Completion(number, *one) for number, one in enumerate(_trained(scored, limit), start=next_id)]
        next_id += len(trained)
        branches = _branches(trained) if share_prompts else [(completion,) for completion in trained]
        completion_tokens = sum(branch[0].rollout.num_tokens for branch in branches)
        shares = share_prompts and sharing_pays(len(prompt_ids), len(branches), completion_tokens)
        run: list[_Branch] = []
        used = len(prompt_ids)
        for branch in branches:
            num_tokens = branch[0].rollout.num_tokens
            if run and (not shares or used + num_tokens > limit):
                pieces.append(_Piece(prompt_ids, tuple(run)))
                run, used = [], len(prompt_ids)
            run.append(branch)
            used += num_tokens
        if run:
            pieces.append(_Piece(prompt_ids, tuple(run)))
    return pieces


def _branches(completions: Sequence[_Completion]) -> list[_Branch]:
    """Put copies together, each with the first of its kind."""
    found: dict[Any, list[_Completion]] = {}
    for completion in completions:
        found.setdefault(completion.content, []).append(completion)
    return [tuple(copies) for copies in found.values()]


def _trained(scored: ScoredGroup, limit: int) -> list[tuple[Rollout, float]]:
    """Return the rollouts with an advantage and a token to train, and their advantages."""
    prompt, kept = scored.group.prompt, []
    for rollout, advantage in zip(scored.group.rollouts, scored.advantages, strict=True):
        if advantage is None or not any(segment.loss_mask and segment.token_ids for segment in rollout.segments):
            continue
        if len(prompt.token_ids) + rollout.num_tokens > limit:
            raise ValueError(
                f"prompt {prompt.index} of source {prompt.source} has {len(prompt.token_ids)} tokens and a completion "
                f"of {rollout.num_tokens}: more than learner.microbatchTokens {limit}; raise it"
            )
        kept.append((rollout, advantage))
    return kept


def _token_weights(pieces: Sequence[_Piece], aggregation: LossAggregation) -> dict[int, float]:
    """Weight of each loss token by completion id; all tokens of the optimizer step add up to 1."""
    lengths = {
        completion.number: sum(len(segment.token_ids) for segment in completion.rollout.segments if segment.loss_mask)
        for piece in pieces
        for completion in piece.completions
    }
    if aggregation is LossAggregation.TOKEN_MEAN:
        total = sum(lengths.values())
        return dict.fromkeys(lengths, 1.0 / max(total, 1))
    return {completion_id: 1.0 / (len(lengths) * length) for completion_id, length in lengths.items()}


def _first_fit(pieces: Sequence[_Piece], limit: int) -> list[list[_Piece]]:
    bins: list[list[_Piece]] = []
    free: list[int] = []
    for piece in pieces:
        size = piece.num_positions
        place = next((index for index, room in enumerate(free) if room >= size), None)
        if place is None:
            bins.append([piece])
            free.append(limit - size)
        else:
            bins[place].append(piece)
            free[place] -= size
    return bins


def _spread(packs: Sequence[Pack], num_ranks: int) -> tuple[tuple[Pack, ...], ...]:
    """Largest packs first, each to the rank with the fewest positions so far among those with the fewest packs."""
    by_rank: list[list[Pack]] = [[] for _ in range(num_ranks)]
    for pack in sorted(packs, key=lambda pack: -pack.num_positions):
        target = min(by_rank, key=lambda assigned: (len(assigned), sum(item.num_positions for item in assigned)))
        target.append(pack)
    longest = max(len(assigned) for assigned in by_rank)
    return tuple(tuple(assigned + [empty_pack()] * (longest - len(assigned))) for assigned in by_rank)


def empty_pack() -> Pack:
    """Return a pack that trains nothing: it keeps ranks in step."""
    none, nothing = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
    zero, padding = np.zeros(1, dtype=np.int64), np.full(1, -1, dtype=np.int64)
    return Pack(
        input_ids=zero, position_ids=zero, group_ids=padding, branch_ids=zero, predict_from=none, targets=none,
        rollout_logprobs=nothing, advantages=nothing, completion_ids=none, token_weights=nothing,
    )  # fmt: skip


def _pack(pieces: Sequence[_Piece], weights: dict[int, float]) -> Pack:
    columns: dict[str, list[float]] = {name: [] for name in Pack.__dataclass_fields__}
    for group_id, piece in enumerate(pieces):
        prompt_length = len(piece.prompt_ids)
        prompt_end = len(columns["input_ids"]) + prompt_length - 1
        _extend(columns, piece.prompt_ids, range(prompt_length), group_id, 0)
        for number, branch in enumerate(piece.branches, start=1):
            first = len(columns["input_ids"])
            ids = [token for segment in branch[0].rollout.segments for token in segment.token_ids]
            _extend(columns, ids, range(prompt_length, prompt_length + len(ids)), group_id, number)
            for completion in branch:
                _add_loss_tokens(columns, completion, prompt_end, first, weights[completion.number])
    floats = {"rollout_logprobs", "advantages", "token_weights"}
    arrays: dict[str, Any] = {
        name: np.array(values, dtype=np.float32 if name in floats else np.int64) for name, values in columns.items()
    }
    return Pack(**arrays)


def _add_loss_tokens(
    columns: dict[str, list[float]], completion: _Completion, prompt_end: int, first: int, weight: float
) -> None:
    """Add what is trained of a completion whose positions begin at `first`."""
    previous, start = prompt_end, first
    for segment in completion.rollout.segments:
        count = len(segment.token_ids)
        if segment.loss_mask and count:
            columns["predict_from"] += [previous, *range(start, start + count - 1)]
            columns["targets"] += segment.token_ids
            columns["rollout_logprobs"] += segment.logprobs
            columns["advantages"] += [completion.advantage] * count
            columns["completion_ids"] += [completion.number] * count
            columns["token_weights"] += [weight] * count
        start += count
        previous = start - 1 if count else previous


def _extend(columns: dict[str, list[float]], ids: Sequence[int], positions: range, group: int, branch: int) -> None:
    columns["input_ids"] += ids
    columns["position_ids"] += positions
    columns["group_ids"] += [group] * len(ids)
    columns["branch_ids"] += [branch] * len(ids)
