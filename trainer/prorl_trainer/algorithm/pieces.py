"""What of a batch is placed into packs as a whole: prompts with runs of completions, and their loss weights. Pure.

A group that fits into one pack is one piece. A longer one is cut into runs of completions; where sharing the prompt
saves next to nothing, because completions are long, each is a piece of its own.

Nothing is computed of a completion from its last trained token on, since nothing is predicted from there. Completions
of a group of which one begins with all that is computed of another share its positions, and trained is each of them;
tokens with which all completions of a group open are computed with the prompt, if the group is one piece.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

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
    def computed_ids(self) -> tuple[int, ...]:
        """Its tokens before the last trained one."""
        segments = self.rollout.segments
        last = max(index for index, segment in enumerate(segments) if segment.loss_mask and segment.token_ids)
        return tuple(token for segment in segments[: last + 1] for token in segment.token_ids)[:-1]


@dataclass(frozen=True, slots=True)
class Branch:
    """Completions of one prompt that have their positions in common."""

    ids: tuple[int, ...]
    """Computed for it alone."""
    completions: tuple[Completion, ...]
    """What is computed of each is the beginning of the group's opening and then `ids`."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A prompt with some of its group's completions: what is placed into one pack as a whole."""

    group: int
    prompt_ids: tuple[int, ...]
    opening: tuple[int, ...]
    """With which all its branches go on; computed once."""
    branches: tuple[Branch, ...]
    shares: bool
    """Whether its group's completions share their prompt."""

    @property
    def num_positions(self) -> int:
        """Of the prompt and of all that is computed of the completions."""
        return len(self.prompt_ids) + len(self.opening) + sum(len(branch.ids) for branch in self.branches)

    @property
    def sharing_pays(self) -> bool:
        """Whether it is worth it that its completions share prompt and opening."""
        shared = len(self.prompt_ids) + len(self.opening)
        return sharing_pays(shared, len(self.branches), self.num_positions - shared)

    @property
    def completions(self) -> list[Completion]:
        """All that are trained."""
        return [completion for branch in self.branches for completion in branch.completions]


def pieces_of(groups: Sequence[ScoredGroup], limit: int, share_prompts: bool) -> list[Piece]:
    """Cut an optimizer step's groups, in order.

    Args:
        groups: Rollouts without advantage, and without a trained token, are left out.
        limit: Largest number of positions in a pack.
        share_prompts: False: each completion is a piece of its own.

    Raises:
        ValueError: A prompt with one completion does not fit into a pack.
    """
    pieces: list[Piece] = []
    next_id = 0
    for number, scored in enumerate(groups):
        prompt = scored.group.prompt
        trained = [Completion(name, *one) for name, one in enumerate(_trained(scored), start=next_id)]
        next_id += len(trained)
        branches = _branches(trained) if share_prompts else [Branch(one.computed_ids, (one,)) for one in trained]
        _raise_if_too_long(scored, branches, limit)
        whole = Piece(number, prompt.token_ids, (), tuple(branches), share_prompts)
        opened = _opened(whole)
        if share_prompts and opened.num_positions <= limit and opened.sharing_pays:
            pieces.append(opened)
            continue
        # Loss tokens of an opening are predicted in the pack of their completions, not in a prefix before it.
        shares = share_prompts and whole.sharing_pays
        runs = _runs(branches, limit - len(prompt.token_ids)) if shares else [(branch,) for branch in branches]
        pieces += [Piece(number, prompt.token_ids, (), run, shares) for run in runs]
    return pieces


def _runs(branches: Sequence[Branch], room: int) -> list[tuple[Branch, ...]]:
    """Put as many branches together as have room, in order."""
    runs: list[tuple[Branch, ...]] = []
    left = 0
    for branch in branches:
        if runs and len(branch.ids) <= left:
            runs[-1] = (*runs[-1], branch)
        else:
            runs.append((branch,))
            left = room
        left -= len(branch.ids)
    return runs


def _opened(piece: Piece) -> Piece:
    """Take out what all branches begin with, of a piece without an opening; one branch alone stays whole."""
    if len(piece.branches) < 2:
        return piece
    columns = zip(*(branch.ids for branch in piece.branches), strict=False)
    opening = tuple(column[0] for column in itertools.takewhile(lambda column: len(set(column)) == 1, columns))
    rest = tuple(replace(branch, ids=branch.ids[len(opening) :]) for branch in piece.branches)
    return replace(piece, opening=opening, branches=rest)


def _branches(completions: Sequence[Completion]) -> list[Branch]:
    """Put completions together that have positions in common, each kind where its first one was."""
    computed = sorted(((completion.computed_ids, completion) for completion in completions), key=lambda one: one[0])
    found: list[tuple[tuple[int, ...], list[Completion]]] = []
    for ids, completion in reversed(computed):  # what begins others comes right before them in this order
        if found and found[-1][0][: len(ids)] == ids:
            found[-1][1].append(completion)
        else:
            found.append((ids, [completion]))
    branches = [Branch(ids, tuple(sorted(members, key=lambda one: one.number))) for ids, members in found]
    return sorted(branches, key=lambda branch: branch.completions[0].number)


def _trained(scored: ScoredGroup) -> list[tuple[Rollout, float]]:
    """Return the rollouts with an advantage and a token to train, and their advantages."""
    return [
        (rollout, advantage)
        for rollout, advantage in zip(scored.group.rollouts, scored.advantages, strict=True)
        if advantage is not None and any(segment.loss_mask and segment.token_ids for segment in rollout.segments)
    ]


def _raise_if_too_long(scored: ScoredGroup, branches: Sequence[Branch], limit: int) -> None:
    prompt = scored.group.prompt
    for branch in branches:
        if len(prompt.token_ids) + len(branch.ids) > limit:
            raise ValueError(
                f"prompt {prompt.index} of source {prompt.source} has {len(prompt.token_ids)} tokens and a completion "
                f"of {len(branch.ids)} before its last trained one: over learner.microbatchTokens {limit}; raise it"
            )


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
