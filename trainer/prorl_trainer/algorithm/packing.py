"""From scored groups to packed sequences: prompts computed once, loss weights fixed globally. Pure.

A group that fits into one pack shares its prompt there; a longer one is cut into runs of completions, each with the
prompt in front. Where sharing saves next to nothing, because completions are long, each has a prompt of its own. Packs
are filled first-fit in the order of the groups, so that the same batch gives the same packs. Every rank gets the same
number of packs; empty ones (a single padding token, no loss) fill up.
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
class _Piece:
    """A prompt with some of its group's completions: what is placed into one pack as a whole."""

    prompt_ids: tuple[int, ...]
    completions: tuple[tuple[int, Rollout, float], ...]
    """(id of the completion in the batch, rollout, advantage)."""

    @property
    def num_positions(self) -> int:
        return len(self.prompt_ids) + sum(rollout.num_tokens for _, rollout, _ in self.completions)


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
        share_prompts: True: where `prompt_sharing.sharing_pays`. False: nowhere (for comparison only).

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
        trained = _trained(scored, limit)
        completion_tokens = sum(rollout.num_tokens for rollout, _ in trained)
        shares = share_prompts and sharing_pays(len(prompt_ids), len(trained), completion_tokens)
        run: list[tuple[int, Rollout, float]] = []
        used = len(prompt_ids)
        for rollout, advantage in trained:
            if run and (not shares or used + rollout.num_tokens > limit):
                pieces.append(_Piece(prompt_ids, tuple(run)))
                run, used = [], len(prompt_ids)
            run.append((next_id, rollout, advantage))
            used += rollout.num_tokens
            next_id += 1
        if run:
            pieces.append(_Piece(prompt_ids, tuple(run)))
    return pieces


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
        completion_id: sum(len(segment.token_ids) for segment in rollout.segments if segment.loss_mask)
        for piece in pieces
        for completion_id, rollout, _ in piece.completions
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
        for branch, (completion_id, rollout, advantage) in enumerate(piece.completions, start=1):
            previous = prompt_end
            position = prompt_length
            for segment in rollout.segments:
                start = len(columns["input_ids"])
                count = len(segment.token_ids)
                _extend(columns, segment.token_ids, range(position, position + count), group_id, branch)
                if segment.loss_mask and count:
                    columns["predict_from"] += [previous, *range(start, start + count - 1)]
                    columns["targets"] += segment.token_ids
                    columns["rollout_logprobs"] += segment.logprobs
                    columns["advantages"] += [advantage] * count
                    columns["completion_ids"] += [completion_id] * count
                    columns["token_weights"] += [weights[completion_id]] * count
                position += count
                previous = start + count - 1 if count else previous
    floats = {"rollout_logprobs", "advantages", "token_weights"}
    arrays: dict[str, Any] = {
        name: np.array(values, dtype=np.float32 if name in floats else np.int64) for name, values in columns.items()
    }
    return Pack(**arrays)


def _extend(columns: dict[str, list[float]], ids: Sequence[int], positions: range, group: int, branch: int) -> None:
    columns["input_ids"] += ids
    columns["position_ids"] += positions
    columns["group_ids"] += [group] * len(ids)
    columns["branch_ids"] += [branch] * len(ids)
