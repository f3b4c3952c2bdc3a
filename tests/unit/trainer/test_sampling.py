"""Dynamic sampling with refill, with stand-ins for the rollout servers and the judge."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from prorl_api.errors import RewardError
from prorl_api.journalled import sampled_again
from prorl_api.run_folder import RunFolder
from prorl_api.spec.job import ProRLJobSpec
from prorl_api.spec.values import Domain
from prorl_api.wire.rollout import CompletionEvent, FinishReason, GeneratedSegment, GenerateRequest, Sampling
from prorl_api.wire.sandbox import ScoreItem, ScoreResult, Verdict
from prorl_trainer.algorithm.types import SampledStep
from prorl_trainer.data.prompts import TakenPrompts
from prorl_trainer.sampling import GroupPlan, Sampler, made_with, sampling_seed
from prorl_trainer.service.reward_client import RewardClient
from prorl_trainer.service.rollout_client import RolloutClient
from prorl_trainer.step_sampling import StepSampler
from prorl_trainer.storage.journal import Journal
from tests.unit.trainer.trainer_builders import WEIGHTS, begin_attempt, make_prompt, make_shared_status, make_spec

Rewards = Callable[[int], list[float | None]]


class FakeRollouts:
    """Completions whose first token is the prompt's index, after as many turns of the event loop as asked for."""

    def __init__(self, turns: Callable[[int], int] = lambda _: 0) -> None:
        self.requests: list[GenerateRequest] = []
        self._turns = turns

    async def generate(self, request: GenerateRequest, timeout_seconds: float) -> list[CompletionEvent]:
        assert timeout_seconds > 0
        self.requests.append(request)
        index = int(request.request_id.rsplit(".", 1)[1])
        for _ in range(self._turns(index)):
            await asyncio.sleep(0)
        segments = [
            GeneratedSegment(token_ids=[index, number], logprobs=[-0.5, -0.25], weights_id=WEIGHTS)
            for number in range(request.num_completions)
        ]
        return [
            CompletionEvent(index=number, segments=(segment,), finish_reason=FinishReason.STOP)
            for number, segment in enumerate(segments)
        ]


class FakeJudge:
    """Rewards by prompt index; None is the judge's own failure."""

    def __init__(self, rewards: Rewards) -> None:
        self._rewards = rewards
        self.functions: set[str] = set()

    async def score(self, items: list[ScoreItem], timeout_seconds: float) -> list[ScoreResult]:
        assert timeout_seconds > 0
        self.functions |= {item.reward for item in items}
        results = []
        for number, item in enumerate(items):
            reward = self._rewards(int(item.row["answer"]))[number]
            verdict = Verdict.SANDBOX_ERROR if reward is None else Verdict.CORRECT if reward == 1 else Verdict.WRONG
            detail = "out of memory" if reward is None else ""
            results.append(ScoreResult(item_id=item.item_id, verdict=verdict, reward=reward, detail=detail))
        return results


class Bench:
    """A step sampler on stand-ins."""

    def __init__(self, folder: Path, rewards: Rewards, *, turns: Callable[[int], int] = lambda _: 0) -> None:
        folder.mkdir(exist_ok=True)
        number = len(list(folder.glob("attempts/*"))) + 1
        self.rollouts = FakeRollouts(turns)
        self.shared_status = make_shared_status(1, 10)
        self.judge = FakeJudge(rewards)
        self.batch_sampler = Sampler(
            cast(RolloutClient, self.rollouts),
            cast(RewardClient, self.judge),
            lambda tokens: " ".join(map(str, tokens)),
            self.shared_status,
        )
        self.journal = Journal(begin_attempt(folder, number))
        self.too_long: set[int] = set()
        self.sampler = StepSampler(self.batch_sampler, self._take, self.journal, self.shared_status)

    def _take(self, first_index: int, count: int, weights: dict[str, float]) -> TakenPrompts:
        assert weights == {"sums": 1.0}
        assert count > 0
        found = [index for index in range(first_index, first_index + 100) if index not in self.too_long][:count]
        end = found[-1] + 1
        return TakenPrompts(
            prompts=tuple(make_prompt(index) for index in found),
            next_index=end,
            num_passed_over=end - first_index - count,
        )

    def sample(self, spec: ProRLJobSpec, first: int = 0, step: int = 1) -> SampledStep:
        return asyncio.run(self.sampler.sample(spec, step, first, WEIGHTS))

    @property
    def asked(self) -> list[int]:
        return [int(request.request_id.rsplit(".", 1)[1]) for request in self.rollouts.requests]


def sampling_spec(prompts: int = 2, rounds: int = 4, **sections: Any) -> ProRLJobSpec:
    learner = {"promptsPerStep": prompts, "minibatchPrompts": prompts} | sections.pop("learner", {})
    algorithm = {"dynamicSampling": {"maxRounds": rounds}} | sections.pop("algorithm", {})
    return make_spec(learner=learner, algorithm=algorithm, **sections)


def only(*useful: int) -> Rewards:
    return lambda index: [1.0, 0.0] if index in useful else [1.0, 1.0]


def indices(step: SampledStep) -> list[int]:
    return [group.prompt.index for group in step.kept]


def test_groups_without_signal_are_replaced_by_the_next_prompts(tmp_path: Path) -> None:
    step = Bench(tmp_path, only(1, 4)).sample(sampling_spec(prompts=2))
    assert indices(step) == [1, 4]
    # Round 1: 0 1, one kept; then one prompt a round.
    assert [group.prompt.index for group in step.shown] == [0, 2, 3]
    assert [group.rewards for group in step.sampled] == [(1.0, float(index not in (1, 4))) for index in range(5)]
    assert (step.rounds, step.next_prompt_index) == (4, 5)


def test_rounds_are_bounded_and_what_was_found_is_kept(tmp_path: Path) -> None:
    step = Bench(tmp_path, only(3)).sample(sampling_spec(prompts=2, rounds=2))
    assert indices(step) == [3]
    assert (step.rounds, step.next_prompt_index) == (2, 4)


def test_without_dynamic_sampling_equal_rewards_stay_but_unscored_groups_are_replaced(tmp_path: Path) -> None:
    spec = make_spec(
        algorithm={"dynamicSampling": {"enabled": False}}, sandbox={"maxMaskedFraction": 0.9}, learner={"groupSize": 2}
    )
    step = Bench(tmp_path, lambda index: [None, 1.0] if index == 0 else [1.0, 1.0]).sample(spec)
    assert indices(step) == [1, 2]


def test_a_sampling_without_signal_keeps_nothing_and_is_no_failure(tmp_path: Path) -> None:
    step = Bench(tmp_path, lambda _: [0.0, 0.0]).sample(sampling_spec(prompts=2, rounds=3))
    assert step.kept == ()
    assert (step.rounds, step.next_prompt_index, len(step.sampled), len(step.shown)) == (3, 6, 6, 6)


def test_what_is_kept_of_a_group_without_signal_is_bounded(tmp_path: Path) -> None:
    step = Bench(tmp_path, lambda _: [0.0, 0.0]).sample(sampling_spec(prompts=2, rounds=20))
    assert (len(step.sampled), len(step.shown)) == (40, 8)


def test_prompts_that_are_too_long_are_passed_over_and_counted(tmp_path: Path) -> None:
    bench = Bench(tmp_path, only(1, 2, 5))
    bench.too_long = {0, 3, 4}
    step = bench.sample(sampling_spec(prompts=3))
    assert bench.asked == [1, 2, 5]
    assert (step.num_passed_over, step.next_prompt_index) == (3, 6)


def test_a_judge_that_fails_too_often_stops_the_step(tmp_path: Path) -> None:
    with pytest.raises(RewardError, match=r"failed on 2 of 4 rollouts.*maxMaskedFraction 0\.2: out of memory"):
        Bench(tmp_path, lambda index: [None, None] if index else [1.0, 0.0]).sample(sampling_spec(rounds=1))


def test_masked_rollouts_within_the_budget_are_counted(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda index: [1.0, 0.0, None] if index == 0 else [1.0, 0.0, 0.0])
    spec = make_spec(learner={"groupSize": 3})
    step = bench.sample(spec)
    assert indices(step) == [0, 1]
    assert step.kept[0].rewards == [1.0, 0.0, None]
    status = bench.shared_status.status
    assert (status.masked_rollouts, status.masked_reason) == (1, "out of memory")


def test_groups_that_the_judge_failed_on_are_shown_before_those_without_a_signal(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda index: [None, 1.0] if index == 11 else [1.0, float(index != 12)])
    step = bench.sample(sampling_spec(prompts=1, rounds=20, sandbox={"maxMaskedFraction": 0.5}))
    assert indices(step) == [12]
    assert [group.prompt.index for group in step.shown] == [11, *range(7)]


def test_the_batch_does_not_depend_on_the_order_of_answers(tmp_path: Path) -> None:
    spec = sampling_spec(prompts=4)
    useful = only(0, 2, 3, 5, 7)
    forwards = Bench(tmp_path / "a", useful, turns=lambda index: index).sample(spec)
    backwards = Bench(tmp_path / "b", useful, turns=lambda index: 20 - index).sample(spec)
    assert forwards == backwards


def test_a_journalled_group_is_not_asked_for_again(tmp_path: Path) -> None:
    spec = sampling_spec(prompts=2)
    first = Bench(tmp_path, only(1, 4))
    sampled = first.sample(spec)
    second = Bench(tmp_path, only(1, 4))
    assert second.sample(spec) == sampled
    assert second.asked == []


def test_only_what_the_journal_lacks_is_asked_for(tmp_path: Path) -> None:
    spec = sampling_spec(prompts=3, rounds=1)
    first = Bench(tmp_path, only(0, 1, 2))
    made_with = dict(first_of(first, spec))
    for group in first.sample(spec, step=7).kept[:2]:
        first.journal.append(1, group, made_with[group.prompt.index])
    second = Bench(tmp_path, only(0, 1, 2))
    assert indices(second.sample(spec, step=1)) == [0, 1, 2]
    assert second.asked == [2]


def first_of(bench: Bench, spec: ProRLJobSpec) -> list[tuple[int, str]]:
    """Prompt indices and settings digests of a step that has been sampled."""
    bench.sample(spec, step=7)
    return list(bench.journal.groups(7))


@pytest.mark.parametrize(
    ("edited", "path"),
    [
        ({"rollout": {"temperature": 0.7}}, "spec.rollout.temperature"),
        ({"rollout": {"maxCompletionTokens": 12}}, "spec.rollout.maxCompletionTokens"),
        ({"rollout": {"stop": ["END"]}}, "spec.rollout.stop"),
        ({"rollout": {"stop": ["END", "."]}}, "spec.rollout.stop"),
        ({"learner": {"groupSize": 3}}, "spec.learner.groupSize"),
    ],
)
def test_a_group_made_under_other_settings_is_asked_for_again(
    tmp_path: Path, edited: dict[str, dict[str, Any]], path: str
) -> None:
    """And people are told so."""
    Bench(tmp_path, lambda _: [1.0, 0.0, 0.0]).sample(sampling_spec(prompts=2, rounds=1))
    spec = sampling_spec(prompts=2, rounds=1, **edited)
    assert sampled_again(RunFolder(tmp_path), spec, None) == [f"step 1 is sampled again, because {path} changed"]
    second = Bench(tmp_path, lambda _: [1.0, 0.0, 0.0])
    second.sample(spec)
    assert sorted(second.asked) == [0, 1]


@pytest.mark.parametrize(
    "edited",
    [
        {"rollout": {"dtype": "float32"}},
        {"rollout": {"maxPromptTokens": 9, "generationTimeoutSeconds": 9.0}},
        {"algorithm": {"dynamicSampling": {"maxRounds": 7}, "clip": {"high": 0.5}}},
        {"sandbox": {"maxMaskedFraction": 0.5}},
        {"validation": {"temperature": 0.1}},
    ],
)
def test_a_group_counts_on_whatever_else_is_edited(tmp_path: Path, edited: dict[str, dict[str, Any]]) -> None:
    Bench(tmp_path, only(0, 1)).sample(sampling_spec(prompts=2, rounds=1))
    second = Bench(tmp_path, only(0, 1))
    spec = sampling_spec(prompts=2, rounds=1, **edited)
    second.sample(spec)
    assert (second.asked, sampled_again(RunFolder(tmp_path), spec, None)) == ([], [])


OTHERWISE: dict[str, Any] = {
    "temperature": 0.5, "top_p": 0.5, "max_tokens": 7, "seed": 7, "stop": ("END",), "stop_token_ids": (7,)
}  # fmt: skip


@pytest.mark.parametrize("field", Sampling.model_fields)
def test_whatever_a_server_is_told_about_sampling_is_part_of_what_a_group_was_made_with(field: str) -> None:
    """A field that is new in the request without being in the digest would leave groups of other settings in place."""
    sampling = Sampling(max_tokens=4, seed=1)
    plan = GroupPlan(request_id="1.train.1.0", num_completions=2, sampling=sampling, weights_id=WEIGHTS)
    other = replace(plan, sampling=sampling.model_copy(update={field: OTHERWISE[field]}))
    again = replace(plan, request_id="2.train.1.0", weights_id=WEIGHTS.model_copy(update={"attempt": 2}))
    prompt, spec = make_prompt(), make_spec()
    assert made_with(prompt, other, spec) != made_with(prompt, plan, spec) == made_with(prompt, again, spec)


@pytest.mark.parametrize("domain", Domain)
def test_what_programs_may_import_is_part_of_what_their_groups_were_made_with(domain: Domain) -> None:
    """A reward is as much a part of a group as its tokens are."""
    plan = GroupPlan(
        request_id="1.train.1.0", num_completions=2, sampling=Sampling(max_tokens=4, seed=1), weights_id=WEIGHTS
    )
    prompt = replace(make_prompt(), domain=domain)
    now, edited = make_spec(), make_spec(sandbox={"libraries": ["numpy"]})
    assert (made_with(prompt, plan, now) != made_with(prompt, plan, edited)) is (domain is Domain.CODE)


def test_a_sampling_without_signal_is_read_back_as_it_was(tmp_path: Path) -> None:
    spec = sampling_spec(prompts=2, rounds=1)
    first = Bench(tmp_path, only()).sample(spec)
    second = Bench(tmp_path, only(0, 1))
    assert second.sample(spec) == first
    assert second.asked == []


def test_a_step_on_which_the_judge_failed_is_sampled_anew(tmp_path: Path) -> None:
    spec = sampling_spec(prompts=2, rounds=1)
    with pytest.raises(RewardError):
        Bench(tmp_path, lambda _: [None, None]).sample(spec)
    second = Bench(tmp_path, only(0, 1))
    assert indices(second.sample(spec)) == [0, 1]


def test_requests_carry_seed_weights_and_sampling_settings(tmp_path: Path) -> None:
    bench = Bench(tmp_path, only(5, 6))
    bench.sample(sampling_spec(rounds=1, rollout={"temperature": 1.1, "stop": ["END"]}), first=5, step=3)
    request = bench.rollouts.requests[0]
    assert request.request_id == "1.train.3.5"
    assert request.weights_id == WEIGHTS
    assert request.num_completions == 2
    assert request.prompt_token_ids == [1, 2, 3]
    assert request.sampling.temperature == 1.1
    assert request.sampling.top_p == 1.0
    assert request.sampling.max_tokens == 16
    assert request.sampling.stop == ("END",)
    assert request.sampling.seed == sampling_seed(3, "train", 5)


def test_sampling_seeds_depend_on_their_parts_alone() -> None:
    seeds = [sampling_seed(1, "train", 1), sampling_seed(1, "train", 2), sampling_seed(1, "validation", 1)]
    assert len(set(seeds)) == 3
    assert seeds == [sampling_seed(1, "train", 1), sampling_seed(1, "train", 2), sampling_seed(1, "validation", 1)]
    assert all(0 <= seed < 2**62 for seed in seeds)


@pytest.mark.parametrize(("domain", "function"), [(Domain.CUSTOM, "own"), (Domain.MATH, "")])
def test_items_of_a_source_with_its_own_function_name_it(tmp_path: Path, domain: Domain, function: str) -> None:
    bench = Bench(tmp_path, lambda _: [1.0, 0.0])
    plan = GroupPlan(
        request_id="1.train.1.0",
        num_completions=2,
        sampling=Sampling(max_tokens=4, seed=1),
        weights_id=WEIGHTS,
    )
    prompt = replace(make_prompt(0, source="own"), domain=domain)
    asyncio.run(bench.batch_sampler.group(prompt, plan, make_spec()))
    assert bench.judge.functions == {function}


def test_what_a_step_was_sampled_with_is_noted_until_a_checkpoint_holds_it(tmp_path: Path) -> None:
    """Against the real journal: after an edit people are told which steps are sampled again, without one nothing."""
    now = sampling_spec(prompts=2, rounds=1)
    edited = sampling_spec(prompts=2, rounds=1, rollout={"temperature": 0.7})
    first = Bench(tmp_path, only(0, 1))
    for step in (1, 2):
        first.sample(now, step=step)
    run = RunFolder(tmp_path)
    said = ["steps 1 to 2 are sampled again, because spec.rollout.temperature changed"]
    assert (sampled_again(run, now, None), sampled_again(run, edited, None)) == ([], said)
    second = Bench(tmp_path, only(0, 1))
    second.sample(now, step=1)
    assert second.asked == []
    assert sampled_again(run, edited, None) == said
    second.sample(edited, step=1)
    assert sorted(second.asked) == [0, 1]
    assert sampled_again(run, edited, None) == [said[0].replace("steps 1 to 2 are", "step 2 is")]
    second.journal.forget(2)
    assert sampled_again(run, edited, None) == []
    assert list(run.journal(2).iterdir()) == []
