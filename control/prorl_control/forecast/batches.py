"""The arithmetic of a job's batches, stage by stage: prompts, completions, tokens, packs, optimizer steps.

Lengths are assumed: the longest that the manifest allows, or means that somebody measured. All sequences of a stage
count as equally long, so that packs can be counted: real ones fill better and worse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from prorl_api.prompt_sharing import Load, busiest, computed_positions, continued_load, sharing_pays, spread
from prorl_api.spec.job import ProRLJobSpec
from prorl_api.spec.merge import spec_at
from prorl_api.spec.roles import LearnerSpec
from prorl_api.spec.values import EngineKind
from prorl_control.forecast.memory import num_ranks


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Mean tokens that are assumed; None: the longest that the manifest allows."""

    prompt: int | None = None
    completion: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageBatch:
    """One stage, or the part before the first."""

    name: str
    """Empty before the first stage."""
    first_step: int
    last_step: int
    prompts: int
    """Of a step, after dynamic sampling."""
    most_prompts: int
    """That a step may sample until it has enough groups with a signal."""
    group_size: int
    optimizer_steps: int
    """Of a step."""
    prompt_tokens: int
    """Of one prompt, as assumed."""
    completion_tokens: int
    """Of one completion, as assumed."""
    packs: int
    """Of an optimizer step, over all ranks."""
    idle_ranks: int
    """Ranks without one."""
    pack_positions: int
    """Of the longest pack, with the prefix that it continues."""
    trained_positions: int
    """Of a step, over all ranks: prompts as often as they are computed."""
    rank_positions: int
    """Of a step, of the rank with the most, for which the others wait."""
    measures_kl: bool

    @property
    def steps(self) -> int:
        """Training steps in the stage."""
        return self.last_step - self.first_step + 1

    @property
    def completions(self) -> int:
        """Of a step, without those that dynamic sampling drops."""
        return self.prompts * self.group_size

    @property
    def sampled_tokens(self) -> int:
        """Completion tokens of a step, without those that dynamic sampling drops."""
        return self.completions * self.completion_tokens


def stage_batches(spec: ProRLJobSpec, lengths: Lengths) -> tuple[StageBatch, ...]:
    """Return the arithmetic of every stage that has steps, in order."""
    total, starts = spec.schedule.total_steps, [(1, ""), *((s.from_step, s.name) for s in spec.schedule.stages)]
    ends = [*(start - 1 for start, _ in starts[1:]), total]
    return tuple(
        _stage(spec_at(spec, first), name, first, last, lengths)
        for (first, name), last in zip(starts, ends, strict=True)
        if first <= last
    )


def _stage(spec: ProRLJobSpec, name: str, first: int, last: int, lengths: Lengths) -> StageBatch:
    learner, rollout, dynamic = spec.learner, spec.rollout, spec.algorithm.dynamic_sampling
    prompt = min(lengths.prompt or rollout.max_prompt_tokens, rollout.max_prompt_tokens)
    completion = min(lengths.completion or rollout.max_completion_tokens, rollout.max_completion_tokens)
    limit, minibatches = learner.microbatch_tokens, learner.prompts_per_step // learner.minibatch_prompts
    computed = computed_positions(completion)
    pieces = list(_pieces(learner.group_size, prompt, computed, limit))
    packs = _first_fit(pieces * learner.minibatch_prompts, limit)
    loads, by_rank = _loads(learner, pieces, packs, prompt, computed, num_ranks(spec))
    return StageBatch(
        name=name,
        first_step=first,
        last_step=last,
        prompts=learner.prompts_per_step,
        most_prompts=learner.prompts_per_step * (dynamic.max_rounds if dynamic.enabled else 1),
        group_size=learner.group_size,
        optimizer_steps=minibatches,
        prompt_tokens=prompt,
        completion_tokens=completion,
        packs=sum(load.packs for load in loads),
        idle_ranks=sum(not indices for indices in by_rank),
        pack_positions=max(packs if loads[0].packs == 1 else pieces),
        trained_positions=sum(load.positions for load in loads) * minibatches,
        rank_positions=busiest(loads, by_rank) * minibatches,
        measures_kl=spec.measures_kl,
    )


def _pieces(group_size: int, prompt: int, completion: int, limit: int) -> Iterator[int]:
    """Give the positions of each part of a group: a prompt with as many completions as fit into a pack.

    Args:
        group_size: Completions of the prompt, all different.
        prompt: Positions.
        completion: Positions of each.
        limit: Of a pack.
    """
    most = group_size if sharing_pays(prompt, group_size, group_size * completion) else 1
    taken = min(most, max(1, (limit - prompt) // completion)) if completion else most
    while group_size > 0:
        yield prompt + min(taken, group_size) * completion
        group_size -= taken


def _loads(
    learner: LearnerSpec, pieces: list[int], packs: list[int], prompt: int, completion: int, ranks: int
) -> tuple[list[Load], list[list[int]]]:
    """Return what ranks take of an optimizer step, and which rank what: packs, or groups that continue a prefix.

    As the learner chooses where attention is not under dense masks (`prorl_trainer.algorithm.chains`).
    """
    ways = [[Load(1, positions) for positions in packs]]
    shares = sharing_pays(prompt, learner.group_size, learner.group_size * completion)
    may_continue = learner.engine is EngineKind.PLAIN or learner.deepspeed.zero_stage < 3
    if may_continue and shares and (load := continued_load(prompt, pieces)) is not None:
        ways.insert(0, [load] * learner.minibatch_prompts)
    return min(((loads, spread(loads, ranks)) for loads in ways), key=lambda way: busiest(*way))


def _first_fit(sizes: list[int], limit: int) -> list[int]:
    """Return how full packs become when parts are put into the first that has room, as the learner does.

    Parts of a few sizes alone: those of one size fill packs in order, so that the first with room need not be sought
    from the beginning again.
    """
    packs: list[int] = []
    first_with_room: dict[int, int] = {}
    for size in sizes:
        place = first_with_room.get(size, 0)
        while place < len(packs) and packs[place] + size > limit:
            place += 1
        first_with_room[size] = place
        if place == len(packs):
            packs.append(0)
        packs[place] += size
    return packs
