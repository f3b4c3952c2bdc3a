"""What of a batch is placed into packs as a whole: prompts with runs of completions, and their loss weights. Pure.

A group that fits into one pack is one piece. A longer one is cut into runs of completions; where sharing the prompt
saves next to nothing, because completions are long, each is a piece of its own. Completions of a group with the same
tokens are computed once, and trained as often as sampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prorl_api.prompt_sharing import sharing_pays
from prorl_api.spec.values import LossAggregation
from prorl_trainer.algorithm.types import Rollout, ScoredGroup


@dataclass(frozen=True, slots=True)
class Completion:
    """A completion that is trained."""

    number: int
    """Its id in the batch."""
    rollout: Rollout
    advantage: float

    @property
    def content(self) -> tuple[tuple[bool, tuple[int, ...]], ...]:
        """What decides on its probabilities and on which of its tokens are trained."""
        return tuple((segment.loss_mask, tuple(segment.token_ids)) for segment in self.rollout.segments)


Branch = tuple[Completion, ...]
"""Completions of one prompt with the same content: their positions are computed once."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A prompt with some of its group's completions: what is placed into one pack as a whole."""

    group: int
    prompt_ids: tuple[int, ...]
    branches: tuple[Branch, ...]
    shares: bool
    """Whether sharing the prompt pays."""

    @property
    def num_positions(self) -> int:
        """Of the prompt and of all that is computed of the completions."""
        return len(self.prompt_ids) + sum(branch[0].rollout.num_tokens for branch in self.branches)

    @property
    def completions(self) -> list[Completion]:
        """All that are trained, copies too."""
        return [completion for branch in self.branches for completion in branch]


def pieces_of(groups: Sequence[ScoredGroup], limit: int, share_prompts: bool) -> list[Piece]:
    """Cut an optimizer step's groups, in order.

    Args:
        groups: Rollouts without advantage, and without a trained token, are left out.
        limit: Largest number of positions in a pack.
        share_prompts: False: each completion is a piece of its own, copies too.

    Raises:
        ValueError: A prompt with one completion does not fit into a pack.
    """
    pieces: list[Piece] = []
    next_id = 0
    for number, scored in enumerate(groups):
        prompt_ids = scored.group.prompt.token_ids
        trained = [Completion(name, *one) for name, one in enumerate(_trained(scored, limit), start=next_id)]
        next_id += len(trained)
        branches = _branches(trained) if share_prompts else [(completion,) for completion in trained]
        completion_tokens = sum(branch[0].rollout.num_tokens for branch in branches)
        shares = share_prompts and sharing_pays(len(prompt_ids), len(branches), completion_tokens)
        run: list[Branch] = []
        used = len(prompt_ids)
        for branch in branches:
            num_tokens = branch[0].rollout.num_tokens
            if run and (not shares or used + num_tokens > limit):
                pieces.append(Piece(number, prompt_ids, tuple(run), shares))
                run, used = [], len(prompt_ids)
            run.append(branch)
            used += num_tokens
        if run:
            pieces.append(Piece(number, prompt_ids, tuple(run), shares))
    return pieces


def _branches(completions: Sequence[Completion]) -> list[Branch]:
    """Put copies together, each with the first of its kind."""
    found: dict[Any, list[Completion]] = {}
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


def token_weights(pieces: Sequence[Piece], aggregation: LossAggregation) -> dict[int, float]:
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
