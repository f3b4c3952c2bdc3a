"""From scored groups to packed sequences: prompts computed once, loss weights fixed globally. Pure.

A group that fits into one pack shares its prompt there. The runs of completions into which a longer one is cut
(`pieces`) continue one prefix where that leaves the busiest rank less to do (`chains`); otherwise each has the prompt
in front. The same batch gives the same packs. Every rank gets the same number of packs; empty ones (a single padding
token, no loss) fill up.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from prorl_api.spec.values import LossAggregation
from prorl_trainer.algorithm.chains import Chain, spread_chains
from prorl_trainer.algorithm.pieces import Completion, Piece, pieces_of, token_weights
from prorl_trainer.algorithm.types import Batch, Minibatch, Pack, ScoredGroup


def build_batch(
    groups: Sequence[ScoredGroup],
    *,
    minibatch_prompts: int,
    microbatch_tokens: int,
    num_ranks: int,
    aggregation: LossAggregation,
    temperature: float,
    share_prompts: bool = True,
    continue_prefixes: bool = False,
) -> Batch:
    """Cut a batch into optimizer steps and packs.

    Args:
        groups: The batch, in order. Rollouts without advantage, and without a trained token, are left out.
        minibatch_prompts: Groups in one optimizer step, where it divides their number; else about so many.
        microbatch_tokens: Largest number of positions in a pack.
        num_ranks: Ranks to spread packs over.
        aggregation: What the loss is an average of.
        temperature: Of the sampling; the learner's probabilities are tempered alike.
        share_prompts: True: where `prompt_sharing.sharing_pays`, and what completions begin with. False: nothing is
            shared (for comparison only).
        continue_prefixes: Whether packs may continue a prefix: whether the engine can have them do so.

    Raises:
        ValueError: A prompt with one completion does not fit into a pack.
    """
    minibatches = []
    for chosen in _cut(groups, minibatch_prompts):
        pieces = pieces_of(chosen, microbatch_tokens, share_prompts)
        weights = token_weights(pieces, aggregation)
        by_rank = spread_chains(pieces, microbatch_tokens, num_ranks, continue_prefixes=continue_prefixes)
        packs = [[pack for chain in chains for pack in _packs(chain, weights)] for chains in by_rank]
        minibatches.append(Minibatch(packs_by_rank=_filled_up(packs), num_groups=len(chosen)))
    return Batch(minibatches=tuple(minibatches), temperature=temperature)


def _cut(groups: Sequence[ScoredGroup], minibatch_prompts: int) -> list[Sequence[ScoredGroup]]:
    """As many optimizer steps as come nearest to the wanted size, of sizes that differ by one at most.

    Dynamic sampling may keep fewer groups than were asked for. Their rest is spread over the steps: a step of its own
    would move the policy as far as the others on the word of a single group.
    """
    count = max(1, math.floor(len(groups) / minibatch_prompts + 0.5))
    ends = [len(groups) * number // count for number in range(count + 1)]
    return [groups[start:end] for start, end in itertools.pairwise(ends) if end > start]


def _packs(chain: Chain, weights: dict[int, float]) -> list[Pack]:
    if not chain.is_continued:
        return [_pack(chain.pieces, weights)]
    prefix = chain.pieces[0].prompt_ids[:-1]
    first = _pack([replace(chain.pieces[0], prompt_ids=prefix, branches=())], weights)
    runs = [_pack([piece], weights, len(prefix)) for piece in chain.pieces]
    return [replace(first, num_continuations=len(runs)), *runs]


def _filled_up(by_rank: Sequence[Sequence[Pack]]) -> tuple[tuple[Pack, ...], ...]:
    longest = max(map(len, by_rank))
    return tuple((*packs, *[empty_pack()] * (longest - len(packs))) for packs in by_rank)


_COLUMNS = (
    "input_ids", "position_ids", "group_ids", "branch_ids", "predict_from", "targets", "rollout_logprobs",
    "advantages", "completion_ids", "token_weights",
)  # fmt: skip
"""Of a pack."""


def empty_pack() -> Pack:
    """Return a pack that trains nothing: it keeps ranks in step."""
    none, nothing = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
    zero, padding = np.zeros(1, dtype=np.int64), np.full(1, -1, dtype=np.int64)
    return Pack(
        input_ids=zero, position_ids=zero, group_ids=padding, branch_ids=zero, predict_from=none, targets=none,
        rollout_logprobs=nothing, advantages=nothing, completion_ids=none, token_weights=nothing,
    )  # fmt: skip


def _pack(pieces: Sequence[Piece], weights: dict[int, float], prefix_length: int = 0) -> Pack:
    """Make a pack; of one piece alone if it continues a prefix."""
    columns: dict[str, list[float]] = {name: [] for name in _COLUMNS}
    for group_id, piece in enumerate(pieces):
        start = (*piece.prompt_ids, *piece.opening)
        before = len(columns["input_ids"]) - prefix_length
        _extend(columns, start[prefix_length:], range(prefix_length, len(start)), group_id, 0)
        # The prompt's last position predicts a completion's first token, each after it the next.
        shared = range(before + len(piece.prompt_ids) - 1, before + len(start))
        for number, branch in enumerate(piece.branches, start=1):
            first = len(columns["input_ids"])
            _extend(columns, branch.ids, range(len(start), len(start) + len(branch.ids)), group_id, number)
            places = [*shared, *range(first, first + len(branch.ids))]
            for completion in branch.completions:
                _add_loss_tokens(columns, completion, places, weights[completion.number])
    floats = {"rollout_logprobs", "advantages", "token_weights"}
    arrays: dict[str, Any] = {
        name: np.array(values, dtype=np.float32 if name in floats else np.int64) for name, values in columns.items()
    }
    return Pack(**arrays, prefix_length=prefix_length)


def _add_loss_tokens(
    columns: dict[str, list[float]], completion: Completion, places: Sequence[int], weight: float
) -> None:
    """Add what is trained of a completion whose i-th token is predicted from `places[i]`."""
    start = 0
    for segment in completion.rollout.segments:
        count = len(segment.token_ids)
        if segment.loss_mask:
            columns["predict_from"] += places[start : start + count]
            columns["targets"] += segment.token_ids
            columns["rollout_logprobs"] += segment.logprobs
            columns["advantages"] += [completion.advantage] * count
            columns["completion_ids"] += [completion.number] * count
            columns["token_weights"] += [weight] * count
        start += count


def _extend(columns: dict[str, list[float]], ids: Sequence[int], positions: range, group: int, branch: int) -> None:
    columns["input_ids"] += ids
    columns["position_ids"] += positions
    columns["group_ids"] += [group] * len(ids)
    columns["branch_ids"] += [branch] * len(ids)
