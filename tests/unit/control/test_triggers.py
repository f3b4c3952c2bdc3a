"""Triggers that hold over thousands of steps: values worked by hand, and scipy's as an independent judge."""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from prorl_api.resets import Evidence, ResetCondition
from prorl_api.spec.resets import DEFAULT_TRIGGERS, ReferenceResetSpec
from prorl_api.spec.triggers import Trigger, WeightedSource
from prorl_control.resets.decide import ResetProposal, decide, replay
from prorl_control.resets.samples import validations
from prorl_control.resets.statistics import (
    binomial_variance,
    fitted_line,
    median_and_deviation,
    student_quantile,
    successive_variance,
)
from prorl_control.resets.triggers import names_wanted, window_steps
from prorl_control.resets.words import described

sys.path.insert(0, str(Path(__file__).parent))
from control_builders import make_policy, make_samples
from test_resets import make_record

NOISE = "validation_completions"


def judged(
    values: Sequence[float], *, every: int = 10, count: float | None = 512, **more: float
) -> list[dict[str, Any]]:
    """Validations, one every so many steps."""
    counted = {} if count is None else {NOISE: count}
    return [
        {"step": every * index, "attempt": 1, "validation_accuracy": value, **counted, **more}
        for index, value in enumerate(values)
    ]


def looks(trigger: dict[str, Any], samples: list[dict[str, Any]], **policy: Any) -> ResetProposal | None:
    return decide(make_policy(triggers=[{"name": "it", **trigger}], **policy), samples, (), int(samples[-1]["step"]))


def evidence_of(trigger: dict[str, Any], samples: list[dict[str, Any]]) -> Evidence:
    proposal = looks(trigger, samples)
    assert proposal is not None
    return proposal.evidence


SPIKE = {"klSpike": {"deviations": 3, "windowSteps": 2, "baselineSteps": 10}}
BASE = [0.10, 0.11, 0.12, 0.13, 0.14, 0.10, 0.11, 0.12, 0.13, 0.14]
"""Median 0.12, median absolute deviation 0.01: one robust deviation is 0.014826."""


def test_a_spike_is_measured_in_robust_deviations_from_the_median_of_the_steps_before() -> None:
    found = evidence_of(SPIKE, make_samples("kl", [*BASE, 0.16, 0.18]))
    assert found.steps == (11, 12)
    assert found.values == (0.16, 0.18)
    assert found.reason == (
        "KL averaged 0.17 nats over steps 11-12, 3.4 robust deviations of 0.015 nats above the median 0.12 of steps "
        "1-10; above 3 asked"
    )
    assert found.rule == "mean of kl over 2 steps above 3 robust deviations over the median of the 10 steps before"


@pytest.mark.parametrize(
    "window",
    [(0.16, 0.168), (0.12, 0.5), (0.5, 0.14)],
    ids=["2.97 deviations", "one outlier, last", "one outlier, first"],
)
def test_what_is_no_spike(window: tuple[float, float]) -> None:
    assert looks(SPIKE, make_samples("kl", [*BASE, *window])) is None


def test_a_baseline_with_a_gap_or_too_short_is_none() -> None:
    assert looks(SPIKE, make_samples("kl", [*BASE[1:], 0.5, 0.5])) is None
    assert looks(SPIKE, make_samples("kl", [None, *BASE[1:], 0.5, 0.5])) is None
    assert looks(SPIKE, make_samples("kl", [*BASE, None, 0.5])) is None


def test_the_baseline_begins_anew_after_a_reset() -> None:
    samples = make_samples("kl", [0.5, *BASE, 0.5, 0.5])
    policy = make_policy(triggers=[{"name": "it", **SPIKE}])
    applied = make_record(condition=ResetCondition.APPLIED, applied_step=1)
    assert decide(policy, samples, (applied,), 13) is not None
    assert decide(policy, samples, (applied.model_copy(update={"applied_step": 2}),), 13) is None


def test_a_baseline_that_does_not_move_makes_no_spike_of_a_tremor() -> None:
    """A hundredth of the median counts as one deviation."""
    assert looks(SPIKE, make_samples("kl", [0.2] * 10 + [0.205, 0.206])) is None
    assert looks(SPIKE, make_samples("kl", [0.2] * 10 + [0.207, 0.207])) is not None


def test_a_steady_rise_is_no_spike() -> None:
    rising = [0.001 * step for step in range(1, 400)]
    policy = make_policy(triggers=[{"name": "it", "klSpike": {"deviations": 3.25, "windowSteps": 3}}])
    assert replay(policy, make_samples("kl", rising)) == []


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40))
def test_median_and_deviation_are_scipys(values: list[float]) -> None:
    middle, deviation = median_and_deviation(values)
    assert middle == statistics.median(values)
    # scipy's "normal" scale is 1 / 0.67449, ours its four digits as the literature gives them
    assert deviation == pytest.approx(stats.median_abs_deviation(values, scale="normal"), rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("degrees", [3, 4, 5, 10, 33, 200])
@pytest.mark.parametrize("probability", [0.9, 0.95, 0.975])
def test_the_quantile_of_student_is_scipys(degrees: int, probability: float) -> None:
    assert student_quantile(probability, degrees) == pytest.approx(stats.t.ppf(probability, degrees), rel=4e-3)


def test_the_fitted_line_is_scipys_weighted_least_squares() -> None:
    rng = np.random.default_rng(1)
    xs, variances = np.arange(12.0), rng.uniform(0.5, 2, 12) * 1e-4
    ys = 0.4 + 0.002 * xs + rng.normal(0, 0.03, 12)
    parameters, covariance = np.polyfit(xs, ys, 1, w=1 / np.sqrt(variances), cov="unscaled")
    chi = float((((ys - np.polyval(parameters, xs)) ** 2) / variances).sum() / 10)
    assert chi > 1
    slope, error, scale = fitted_line(list(xs), list(ys), list(variances))
    assert slope == pytest.approx(parameters[0])
    assert scale == pytest.approx(math.sqrt(chi))
    assert error == pytest.approx(math.sqrt(covariance[0, 0]) * math.sqrt(chi))


def test_without_known_noise_the_fitted_line_is_scipys_linear_regression() -> None:
    rng = np.random.default_rng(2)
    xs = np.arange(20.0)
    ys = 0.4 + 0.002 * xs + rng.normal(0, 0.03, 20)
    wanted = stats.linregress(xs, ys)
    slope, error, _ = fitted_line(list(xs), list(ys), [1e-12] * 20)
    assert [slope, error] == pytest.approx([wanted.slope, wanted.stderr])


def test_a_share_of_one_is_not_certain() -> None:
    assert binomial_variance(0.5, 100) == pytest.approx(52 / 104 * 52 / 104 / 100)
    assert binomial_variance(1.0, 10) == pytest.approx(12 / 14 * 2 / 14 / 10)


def test_successive_differences_hardly_see_a_trend() -> None:
    assert successive_variance([0.1, 0.3, 0.1]) == pytest.approx((0.04 + 0.04) / 4)
    assert successive_variance([0.1]) == 0.0


STALLED = {"validationStalled": {"patience": 4, "minGain": 0.01, "confidence": 0.9}}


def test_a_gain_that_noise_explains_is_a_stall_and_says_how_sure_it_is() -> None:
    """Slope 0.01 a validation over 4: gain 0.04. Each variance p (1 - p) / n near 0.5 is 0.25 / 512 to three digits, so
    the slope's standard error is sqrt(0.000488 / 10) and the margin 1.2816 * 4 times that, 0.0358."""
    found = evidence_of(STALLED, judged([0.48, 0.49, 0.50, 0.51, 0.52]))
    assert found.steps == (0, 10, 20, 30, 40)
    assert found.reason == (
        "held-out accuracy gained +0.040 over steps 0-40 (5 validations of 512 completions), at 90 % confidence at "
        "least +0.004; above 0.01 asked"
    )


def test_a_gain_beyond_noise_is_none() -> None:
    rising = [0.48, 0.49, 0.50, 0.51, 0.52]
    assert looks(STALLED, judged(rising, count=2048)) is None
    assert looks(STALLED, judged(rising, validation_stderr=0.011)) is None, "the same prompts vary less than a binomial"
    assert looks(STALLED, judged(rising, count=None)) is None, "they lie on a line: nothing speaks of noise"


def test_fewer_validations_than_patience_never_stall() -> None:
    assert looks(STALLED, judged([0.5] * 4)) is None
    assert looks(STALLED, judged([0.5] * 5)) is not None


def test_accuracies_that_scatter_more_than_sampling_says_are_believed_less() -> None:
    calm, wild = [0.40, 0.45, 0.50, 0.55, 0.60], [0.40, 0.60, 0.30, 0.70, 0.60]
    assert looks(STALLED, judged(calm)) is None
    assert looks(STALLED, judged(wild)) is not None


DROPPED = {"validationDropped": {"confidence": 0.95}}


def test_a_drop_counts_beyond_what_noise_explains_at_every_look_there_was() -> None:
    """Third look, two candidates: error 0.05 / (3 * 4 * 2) = 0.00208, quantile 2.865. Both variances are 0.25 / 512 to
    three digits: 2.865 * sqrt(2 * 0.000488) = 0.0895."""
    found = evidence_of(DROPPED, judged([0.50, 0.52, 0.42]))
    assert found.steps == (10, 20)
    assert found.values == (0.52, 0.42)
    assert found.reason == (
        "held-out accuracy fell to 0.420 at step 20, below 0.520 of step 10; noise alone explains 0.089 at 95 % "
        "confidence"
    )
    assert looks(DROPPED, judged([0.50, 0.52, 0.44])) is None


def test_a_drop_may_have_to_be_deep_as_well() -> None:
    deep = {"validationDropped": {"confidence": 0.95, "belowBest": 0.2}}
    assert looks(deep, judged([0.50, 0.52, 0.42])) is None
    assert looks(deep, judged([0.50, 0.52, 0.30])) is not None


def test_where_nobody_says_how_noisy_validations_are_the_earlier_ones_do() -> None:
    assert looks(DROPPED, judged([0.50, 0.52, 0.30], count=None)) is None, "two tell too little"
    assert looks(DROPPED, judged([0.50, 0.52, 0.51, 0.30], count=None)) is not None
    assert looks(DROPPED, judged([0.30, 0.52, 0.35, 0.30], count=None)) is None


def by_source(values: Sequence[tuple[float, float]]) -> list[dict[str, Any]]:
    return [
        {
            "step": 10 * index,
            "attempt": 1,
            "validation_accuracy": 0.9,
            "validation_source_accuracy/sums": first,
            "validation_source_accuracy/words": second,
            "validation_source_completions/sums": 100,
            "validation_source_completions/words": 400,
        }
        for index, (first, second) in enumerate(values)
    ]


def test_sources_are_blended_by_their_weights_and_so_is_their_noise() -> None:
    sources = [WeightedSource(name="sums", weight=3), WeightedSource(name="words")]
    (found,) = validations(by_source([(0.5, 0.9)]), sources)
    assert found.accuracy == pytest.approx(0.75 * 0.5 + 0.25 * 0.9)
    wanted = 0.75**2 * binomial_variance(0.5, 100) + 0.25**2 * binomial_variance(0.9, 400)
    assert found.variance == pytest.approx(wanted)
    assert found.count == 500
    missing = by_source([(0.5, 0.9)])
    del missing[0]["validation_source_accuracy/words"]
    assert validations(missing, sources) == []


def test_a_trigger_on_one_source_sees_that_one_alone() -> None:
    trigger = {"validationDropped": {"belowBest": 0.1, "sources": [{"name": "sums"}]}}
    found = evidence_of(trigger, by_source([(0.5, 0.5), (0.3, 0.9)]))
    assert found.metric == "validation_source_accuracy/sums"
    assert found.reason.startswith("held-out accuracy of sums fell to 0.300")
    assert looks(trigger, by_source([(0.5, 0.9), (0.5, 0.1)])) is None


LOW = {"threshold": {"metric": "entropy", "below": 0.2, "forSteps": 2}}


def test_a_threshold_wants_every_one_of_its_steps() -> None:
    found = evidence_of(LOW, make_samples("entropy", [0.5, 0.19, 0.1]))
    assert (found.metric, found.steps, found.values) == ("entropy", (2, 3), (0.19, 0.1))
    assert found.reason == "entropy was below 0.2 at steps 2-3, 0.1 at the last"
    assert found.rule == "entropy below 0.2 for 2 steps"
    for values in ([0.1, 0.2], [0.1], [0.1, None], [0.1, float("nan")]):
        assert looks(LOW, make_samples("entropy", values)) is None


def test_a_threshold_on_a_signal_of_the_job_reads_its_own_name() -> None:
    trigger = {"threshold": {"metric": "signals.judge_disagreement", "above": 0.3}}
    assert (
        evidence_of(trigger, make_samples("signals.judge_disagreement", [0.31])).metric == "signals.judge_disagreement"
    )
    assert looks(trigger, make_samples("signals.judge_disagreement", [0.3])) is None


def test_a_threshold_on_validation_counts_validations() -> None:
    trigger = {"threshold": {"metric": "validation_accuracy", "below": 0.2, "forSteps": 2}}
    found = evidence_of(trigger, make_samples("validation_accuracy", [0.1, None, None, 0.15, None]))
    assert found.steps == (1, 4)


def test_all_needs_everything_and_tells_everything() -> None:
    both = {"all": [LOW, {"interval": {"everySteps": 3}}]}
    found = evidence_of(both, make_samples("entropy", [0.5, 0.1, 0.1]))
    assert found.metric == "entropy"
    assert found.steps == (2, 3)
    assert found.rule == "entropy below 0.2 for 2 steps and every 3 steps"
    assert found.reason.endswith("; and 3 steps since the start, every 3 asked")
    assert looks(both, make_samples("entropy", [0.1, 0.1])) is None
    assert looks(both, make_samples("entropy", [0.1, 0.1, 0.3])) is None


def test_any_needs_one_and_tells_that_one() -> None:
    either = {"any": [LOW, {"interval": {"everySteps": 3}}]}
    assert evidence_of(either, make_samples("entropy", [0.1, 0.1])).metric == "entropy"
    assert evidence_of(either, make_samples("entropy", [0.5, 0.5, 0.5])).metric == "step"
    assert looks(either, make_samples("entropy", [0.5, 0.5])) is None


OFTEN = {"interval": {"everySteps": 2}}


def test_the_bound_on_resets_counts_applied_ones_and_that_of_a_trigger_its_own() -> None:
    samples = make_samples("kl", [0.1] * 10)
    mine = make_record(condition=ResetCondition.APPLIED, applied_step=2)
    foreign = mine.model_copy(update={"evidence": mine.evidence.model_copy(update={"trigger": "other"})})
    refused = mine.model_copy(update={"condition": ResetCondition.VETOED, "applied_step": None, "evidence_step": 2})
    bounded = make_policy(triggers=[{"name": "it", **OFTEN}], maxResets=1)
    assert decide(bounded, samples, (foreign,), 10) is None
    assert decide(bounded, samples, (refused,), 10) is not None
    own = make_policy(triggers=[{"name": mine.evidence.trigger, "maxResets": 1, **OFTEN}])
    assert decide(own, samples, (mine,), 10) is None
    assert decide(own, samples, (foreign,), 10) is not None


def test_replay_counts_towards_the_bound() -> None:
    policy = make_policy(triggers=[{"name": "it", **OFTEN}], maxResets=3)
    assert [item.evidence_step for item in replay(policy, make_samples("kl", [0.1] * 20))] == [2, 4, 6]


def test_the_warm_up_holds_at_the_start_and_the_cooldown_afterwards() -> None:
    policy = make_policy(triggers=[{"name": "it", **OFTEN}], cooldownSteps=2, warmupSteps=7)
    assert [item.evidence_step for item in replay(policy, make_samples("kl", [0.1] * 12))] == [7, 9, 11]
    early = make_policy(triggers=[{"name": "it", **OFTEN}], cooldownSteps=5, warmupSteps=0)
    assert [item.evidence_step for item in replay(early, make_samples("kl", [0.1] * 12))] == [2, 7, 12]


def test_a_policy_says_which_metrics_it_reads_and_how_far_back() -> None:
    policy = make_policy(
        triggers=[
            {"name": "a", "klSpike": {"metric": "klLossShare", "deviations": 3}},
            {"name": "b", "all": [LOW, {"validationStalled": {"sources": [{"name": "sums"}]}}]},
            {"name": "c", "threshold": {"metric": "signals.mine", "above": 1, "forSteps": 300}},
            {"name": "d", "interval": {"everySteps": 500}},
        ]
    )
    assert names_wanted(policy) == {
        "kl_loss_share", "entropy", "signals.mine", "validation_source_accuracy/sums",
        "validation_source_completions/sums", "validation_source_stderr/sums",
    }  # fmt: skip
    assert window_steps(policy) == 300
    assert window_steps(ReferenceResetSpec()) == 103
    assert names_wanted(ReferenceResetSpec()) == {"kl", "validation_accuracy", NOISE, "validation_stderr"}
    assert window_steps(make_policy(triggers=[])) == 1


def test_the_default_triggers_in_words() -> None:
    assert [described(trigger) for trigger in DEFAULT_TRIGGERS] == [
        "kl 3.25 robust deviations above the median of the 100 steps before, mean of 3 steps",
        "2 validations in a row below the best, beyond noise at 95 % confidence",
        "every 200 steps",
    ]
    both = Trigger.model_validate({"name": "it", "maxResets": 2, "all": [LOW, {"klSpike": {"above": 0.1}}]})
    assert described(both) == "entropy below 0.2 for 2 steps and kl above 0.1, mean of 10 steps; at most 2 times"


@given(
    values=st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=60),
    kind=st.sampled_from([SPIKE, STALLED, DROPPED, LOW]),
)
def test_whatever_the_series_evidence_names_steps_and_values_that_are_in_it(
    values: list[float | None], kind: dict[str, Any]
) -> None:
    samples = [
        {"step": step, "attempt": 1, **({} if value is None else dict.fromkeys(("kl", "entropy"), value))}
        | ({} if value is None else {"validation_accuracy": value, NOISE: 64})
        for step, value in enumerate(values, start=1)
    ]
    for proposal in replay(make_policy(triggers=[{"name": "it", **kind}]), samples):
        found = proposal.evidence
        assert [values[step - 1] for step in found.steps] == list(found.values)
        assert max(found.steps) <= proposal.evidence_step
