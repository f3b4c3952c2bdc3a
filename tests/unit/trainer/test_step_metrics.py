"""The snapshot of a step and the summary of a validation, worked by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from prorl_api.metrics import BY_NAME
from prorl_api.spec.values import LossAggregation
from prorl_api.wire.sandbox import Verdict
from prorl_trainer.algorithm.packing import build_batch
from prorl_trainer.algorithm.types import RolloutGroup, SampledStep, StepMetrics
from prorl_trainer.clock import StepClock
from prorl_trainer.step_metrics import masked_metrics, merged, sampling_metrics, training_metrics
from prorl_trainer.validation import summarise
from tests.unit.trainer.trainer_builders import make_group, make_prompt, make_rollout, make_scored, make_segment


def groups() -> tuple[RolloutGroup, RolloutGroup]:
    """Source a: rewards 1, 0, masked over 2, 4, 6 tokens; source b: 0.5, 1 over 3, 5, the last one truncated."""
    first = make_group([1.0, 0.0, None], index=0, source="a", prompt_ids=(1, 2), lengths=[2, 4, 6])
    second = RolloutGroup(
        prompt=make_prompt(1, token_ids=(1, 2, 3), source="b"),
        rollouts=(make_rollout(tokens=3, reward=0.5), make_rollout(tokens=5, reward=1.0, truncated=True)),
        judge_seconds=0.5,
    )
    return first, second


def test_sampling_metrics_by_hand() -> None:
    first, second = groups()
    step = SampledStep(
        kept=(first,), sampled=(first.summary, second.summary), rounds=2, next_prompt_index=2, kept_out={"a": 3, "b": 0}
    )
    assert sampling_metrics(step) == pytest.approx(
        {
            "groups_sampled": 2,
            "groups_kept": 0.5,
            "sampling_rounds": 2,
            "samplings_empty": 0,
            "prompts_passed_over": 0,
            "prompts_kept_out/a": 3,
            "prompts_kept_out/b": 0,
            "rollouts_masked": 1,
            "completion_length": 20 / 5,
            "truncated": 1 / 5,
            "tokens_generated": 20,
            "tokens_prompt": 5,
            "seconds_scoring": 0.75,
            "reward_mean": 2.5 / 4,
            "reward_sampled/a": 0.5,
            "reward_sampled/b": 0.75,
            "accuracy_sampled/a": 0.5,
            "accuracy_sampled/b": 0.5,
            "entropy_sampled/a": 0.5,
            "entropy_sampled/b": 0.5,
        }
    )


def test_the_sampled_entropy_is_the_mean_of_minus_log_p_over_a_source_s_tokens() -> None:
    def group(index: int, source: str, *logprobs: list[float]) -> RolloutGroup:
        rollouts = tuple(make_rollout(make_segment(range(len(values)), logprobs=values)) for values in logprobs)
        return RolloutGroup(prompt=make_prompt(index, source=source), rollouts=rollouts)

    groups = (group(0, "a", [-1.0, -3.0], [-0.5]), group(1, "a", [-0.1, -0.4]), group(2, "b", [-2.0]))
    step = SampledStep(kept=(), sampled=tuple(each.summary for each in groups), rounds=1, next_prompt_index=3)
    found = sampling_metrics(step)
    assert found["entropy_sampled/a"] == pytest.approx(5.0 / 5)
    assert found["entropy_sampled/b"] == pytest.approx(2.0)


def test_masked_rollouts_are_counted_by_source_and_cause() -> None:
    first, second = groups()
    unsupported = replace(first.rollouts[0], reward=None, verdict=Verdict.UNSUPPORTED)
    failed = replace(first.rollouts[0], reward=None, verdict=Verdict.SANDBOX_ERROR)
    masked = replace(first, rollouts=(unsupported, failed, unsupported, *first.rollouts[:1]))
    step = SampledStep(kept=(), sampled=(masked.summary, second.summary, masked.summary), rounds=1, next_prompt_index=3)
    assert masked_metrics(step) == {
        "rollouts_sampled/a": 8,
        "rollouts_masked_unsupported/a": 4,
        "rollouts_masked_sandbox_error/a": 2,
        "rollouts_sampled/b": 2,
        "rollouts_masked_unsupported/b": 0,
        "rollouts_masked_sandbox_error/b": 0,
    }


def test_what_nothing_is_known_of_is_absent() -> None:
    group = make_group([None, None])
    values = sampling_metrics(SampledStep(kept=(), sampled=(group.summary,), rounds=1, next_prompt_index=1))
    assert "reward_mean" not in values
    assert not any(name.startswith("accuracy_sampled") for name in values)
    metrics = StepMetrics()
    metrics.add(validation_accuracy=None, step=3)
    assert metrics.values == {"step": 3.0}


FIRST = {
    "tokens": 30.0, "policy_loss": 0.2, "kl_loss": 0.1,
    "entropy_loss": -0.1, "policy_magnitude": 0.6, "kl_magnitude": 0.1,
    "clipped_low": 3.0, "clipped_high": 0.0, "clipped_dual": 1.0, "ratio_max": 1.5, "entropy": 60.0, "kl": 3.0,
    "mismatch_logprob": 0.3, "mismatch_masked": 0.0, "gradient_norm": 2.0,
}  # fmt: skip
SECOND = {
    "tokens": 10.0, "policy_loss": 0.4, "kl_loss": 0.3,
    "entropy_loss": -0.3, "policy_magnitude": 0.2, "kl_magnitude": 0.1,
    "clipped_low": 1.0, "clipped_high": 4.0, "clipped_dual": 1.0, "ratio_max": 2.5, "entropy": 60.0, "kl": 1.0,
    "mismatch_logprob": 0.1, "mismatch_masked": 2.0, "gradient_norm": 4.0,
}  # fmt: skip
SKIPPED = {**dict.fromkeys(FIRST, math.nan), "tokens": 5.0, "gradient_norm": math.inf}
SCORED = [make_scored(make_group([1.0, 0.0], lengths=[2, 4]), (1.0, -1.0))]
BATCH = build_batch(
    SCORED,
    minibatch_prompts=1,
    microbatch_tokens=32,
    num_ranks=2,
    aggregation=LossAggregation.TOKEN_MEAN,
    temperature=1.0,
)


def test_training_metrics_are_means_over_the_tokens_of_all_optimizer_steps() -> None:
    assert training_metrics(SCORED, BATCH, [FIRST, SECOND]) == pytest.approx(
        {
            "kl": 4 / 40,
            "entropy": 120 / 40,
            "clip_fraction_low": 4 / 40,
            "clip_fraction_high": 4 / 40,
            "clip_fraction_dual": 2 / 40,
            "mismatch_logprob": 0.4 / 40,
            "mismatch_masked": 2 / 40,
            "ratio_max": 2.5,
            "policy_loss": 0.3,
            "kl_loss": 0.2,
            "entropy_loss": -0.2,
            "kl_loss_share": 0.2 / (0.8 + 0.2),
            "gradient_norm": 3.0,
            "reward_shaped_mean": 0.5,
            "groups_trained": 1,
            "minibatches_skipped": 0,
            "tokens_trained": 40,
            "positions_trained": 3 + 4 + 1,  # the second rank's empty pack is one position of padding
        }
    )

    without = [{name: value for name, value in update.items() if name != "kl"} for update in (FIRST, SECOND)]
    assert "kl" not in training_metrics(SCORED, BATCH, without), "without a reference it is absent, not 0"


def test_a_minibatch_that_was_skipped_is_counted_and_leaves_no_trace_in_the_means() -> None:
    with_it = training_metrics(SCORED, BATCH, [FIRST, SKIPPED, SECOND])
    assert with_it == {**training_metrics(SCORED, BATCH, [FIRST, SECOND]), "minibatches_skipped": 1.0}


def test_of_a_step_that_took_no_optimizer_step_only_the_batch_is_told() -> None:
    names = {"minibatches_skipped", "reward_shaped_mean", "groups_trained", "positions_trained"}
    assert set(training_metrics(SCORED, BATCH, [SKIPPED])) == names


def test_samplings_that_found_nothing_count_towards_the_step() -> None:
    first, second = groups()
    empty = SampledStep(kept=(), sampled=(first.summary,), rounds=2, next_prompt_index=3, num_passed_over=1)
    found = SampledStep(kept=(second,), sampled=(second.summary,), rounds=1, next_prompt_index=6, num_passed_over=2)
    values = sampling_metrics(found.after(empty.after(empty)))
    wanted = {"groups_sampled": 3, "sampling_rounds": 5, "samplings_empty": 2, "prompts_passed_over": 4}
    assert {name: values[name] for name in wanted} == wanted
    assert values["reward_mean"] == pytest.approx((1 + 1 + 1.5) / 6)


def test_every_name_is_in_the_table() -> None:
    first, second = groups()
    sampled = SampledStep(kept=(first,), sampled=(first.summary, second.summary), rounds=1, next_prompt_index=2)
    names = sampling_metrics(sampled) | masked_metrics(sampled)
    assert {name.partition("/")[0] for name in names} <= set(BY_NAME)


def test_parts_are_merged_into_one_snapshot() -> None:
    assert merged({"kl": 0.1}, {"entropy": 2.0}).values == {"kl": 0.1, "entropy": 2.0}


def test_values_that_json_cannot_hold_are_left_out_of_the_checkpoint() -> None:
    assert StepMetrics(values={"kl": 0.1, "ratio_max": float("inf")}).finite() == {"kl": 0.1}


def test_the_clock_adds_up_parts_and_begins_anew_after_a_lap() -> None:
    clock = StepClock()
    clock.add("sampling", 1.5)
    clock.add("sampling", 0.5)
    with clock.part("updating"):
        pass
    lap = clock.lap()
    assert lap["seconds_sampling"] == 2.0
    assert 0 <= lap["seconds_updating"] <= lap["seconds_total"]
    assert set(clock.lap()) == {"seconds_total"}


def test_validation_counts_sources_by_their_size_and_leaves_failures_of_the_judge_out() -> None:
    first, second = groups()
    result = summarise((first, second))
    assert result is not None
    assert result.by_source == {"a": 0.5, "b": 0.75}
    assert result.accuracy == pytest.approx(2.5 / 4)


def judged(*rewards: list[float | None], source: str = "a") -> tuple[RolloutGroup, ...]:
    """One prompt each."""
    return tuple(make_group(values, index=index, source=source) for index, values in enumerate(rewards))


def test_completions_of_one_prompt_tell_how_noisy_a_validation_is_and_hard_prompts_do_not() -> None:
    rewards: list[list[float | None]] = [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, None]]
    result = summarise(judged(*rewards), completions_vary=True)
    assert result is not None
    within = (1 + 0 + 1 - 3 * (2 / 3) ** 2) / (
        2 + 2 + 1
    )  # sums of squares about the prompts' means, degrees of freedom
    assert result.noise["validation_completions"] == 8
    assert result.noise["validation_stderr"] == pytest.approx(math.sqrt(within / 8))
    assert result.noise["validation_source_stderr/a"] == result.noise["validation_stderr"]


def test_the_noise_within_prompts_is_the_mean_square_of_an_analysis_of_variance() -> None:
    rng = np.random.default_rng(0)
    table = rng.binomial(1, rng.beta(0.3, 0.3, (40, 1)), (40, 4)).astype(float)
    result = summarise(judged(*[list(row) for row in table]), completions_vary=True)
    assert result is not None
    between, squares = table.mean(axis=1), table.var(axis=1, ddof=1).mean()
    statistic = stats.f_oneway(*table).statistic  # mean square between over mean square within
    assert between.var(ddof=1) * 4 / squares == pytest.approx(statistic)
    assert result.noise["validation_stderr"] == pytest.approx(math.sqrt(squares / table.size))


def test_single_completions_are_compared_with_those_of_the_validation_before() -> None:
    before = summarise(judged([1.0], [0.0], [0.0], [1.0]))
    assert before is not None
    assert "validation_stderr" not in before.noise, "one completion says nothing of its own noise"
    result = summarise(judged([1.0], [1.0], [0.0], [0.0]), before.items)
    assert result is not None
    paired = stats.ttest_rel([1, 1, 0, 0], [1, 0, 0, 1])  # differences 0, 1, 0, -1
    assert result.noise["validation_stderr"] == pytest.approx(math.sqrt(2 / 3 / 2 / 4))
    assert math.sqrt(2) * result.noise["validation_stderr"] == pytest.approx(
        (paired.confidence_interval(0.95).high - 0) / stats.t.ppf(0.975, 3)
    )


def test_greedy_completions_of_one_prompt_are_alike_and_tell_nothing_of_noise() -> None:
    result = summarise(judged([1.0, 1.0], [0.0, 0.0]), completions_vary=False)
    assert result is not None
    assert result.noise == {"validation_completions": 4, "validation_source_completions/a": 4}
    assert {name.partition("/")[0] for name in result.noise} <= set(BY_NAME)


def test_a_validation_without_a_single_score_has_no_result() -> None:
    assert summarise((make_group([None]),)) is None
