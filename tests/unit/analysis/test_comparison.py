"""What is said of two evaluations beside the boundary: votes, strict scoring, competence, sweeps, warnings."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, stats

from prorl_analysis.answers import answer_entropy, majority
from prorl_analysis.bayes import fitted_prior, posterior_pass_at_k
from prorl_analysis.comparison import compare
from prorl_analysis.competence import Point, correlation, item_points
from prorl_analysis.estimators import paired_p_value
from prorl_analysis.groups import groups_of, sweeps_of
from prorl_analysis.results import Contamination, Results, Sample
from prorl_analysis.scores import format_split, scores
from tests.unit.analysis.builders import make_results, make_sample


def answered(*answers: tuple[str | None, float | None]) -> list[Sample]:
    return [
        replace(make_sample(("math", 0), number, reward), answer=answer)
        for number, (answer, reward) in enumerate(answers)
    ]


@pytest.mark.parametrize(
    ("votes", "value"),
    [
        ([("4", 1), ("4", 1), ("5", 0)], 1.0),
        ([("4", 1), ("5", 0), ("5", 0)], 0.0),
        ([("4", 1), ("5", 0)], 0.5),  # a tie: one of them is drawn
        ([(None, 0), (None, 0), ("4", 1)], 1.0),  # who does not answer does not vote
        ([("5", None), ("5", None), ("4", 1)], 1.0),  # nor does what was not judged
        ([(None, 0)], 0.0),
    ],
)
def test_the_majority_s_answer_by_hand(votes: list[tuple[str | None, float | None]], value: float) -> None:
    assert majority(answered(*votes)) == value


def test_entropy_of_answers_by_hand() -> None:
    assert answer_entropy(answered(("4", 1), ("4", 1))) == 0.0
    assert answer_entropy(answered(("4", 1), ("5", 0), (None, 0), (None, 0))) == pytest.approx(1.5 * math.log(2))


def test_posterior_of_one_item_is_the_integral() -> None:
    """The mean of 1 - (1 - p)^k under Beta(a + c, b + n - c), by numeric integration."""
    n, c, k = [8, 8, 8, 8], [0, 2, 5, 8], 3
    a, b = fitted_prior(np.array(n, dtype=float), np.array(c, dtype=float))
    exact = [
        integrate.quad(lambda p, right=right: (1 - (1 - p) ** k) * stats.beta.pdf(p, a + right, b + 8 - right), 0, 1)[0]
        for right in c
    ]
    found = posterior_pass_at_k(n, c, k)
    assert found.value == pytest.approx(float(np.mean(exact)), rel=1e-6)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high


def test_the_fitted_prior_is_the_one_that_made_the_counts() -> None:
    rng = np.random.default_rng(2)
    n = np.full(4000, 32.0)
    a, b = fitted_prior(n, rng.binomial(32, rng.beta(0.6, 2.0, 4000)).astype(float))
    assert (a, b) == pytest.approx((0.6, 2.0), rel=0.1)


def test_a_hard_set_is_not_lifted_by_its_prior() -> None:
    """A uniform prior would say 1 / 18 of each of 0 in 16."""
    found = posterior_pass_at_k([16] * 50, [0] * 49 + [1], 1)
    assert found.value == pytest.approx(1 / 800, rel=0.5)


def test_counts_that_are_all_alike_carry_no_posterior_interval() -> None:
    assert posterior_pass_at_k([16, 16], [0, 0], 1).low is None
    assert posterior_pass_at_k([16, 16], [16, 16], 1).value == 1.0
    with pytest.raises(ValueError, match="pass@4 needs 4 judged samples"):
        posterior_pass_at_k([3], [1], 4)


def test_a_permutation_test_by_hand() -> None:
    """Of the eight signs of three equal differences two are as extreme: p = 1/4."""
    assert paired_p_value([0, 0, 0], [1, 1, 1]) == pytest.approx(0.25)
    assert paired_p_value([0, 1], [0, 1]) is None
    assert paired_p_value([0], [1]) is None
    small = paired_p_value(np.zeros(200), np.r_[np.ones(120), -np.ones(80)])
    assert small is not None
    assert small == pytest.approx(stats.binomtest(120, 200).pvalue, abs=0.003)


def test_a_gain_of_format_alone_is_told_from_one_of_content() -> None:
    """Half of the answers are right before and after; only that all are found is new: F 0.5 to 1, A 0.5 and 0.5."""
    form, content = format_split(np.array([0.5, 0.5]), np.array([0.5, 0.0]), np.array([1.0, 1.0]), np.array([1.0, 0.0]))
    assert form is not None
    assert content is not None
    assert (form.value, content.value) == pytest.approx((0.25, 0.0))


def test_parts_of_a_gain_add_up() -> None:
    rng = np.random.default_rng(4)
    f0, f1 = rng.random(30), rng.random(30)
    c0, c1 = f0 * rng.random(30), f1 * rng.random(30)
    form, content = format_split(f0, c0, f1, c1)
    assert form is not None
    assert content is not None
    assert form.value + content.value == pytest.approx(float((c1 - c0).mean()))
    assert format_split(np.zeros(2), np.zeros(2), f1, c1) == (None, None)


def test_strict_scoring_stands_beside_normal() -> None:
    found = scores(make_results({0: [1, 1, 0.5, 0], 1: [1, 1, 1, 1]}), [("math", 0), ("math", 1)])
    assert found.reward.value == pytest.approx((0.625 + 1) / 2)
    assert found.average.value == pytest.approx(0.75)
    assert [(tau, share.value) for tau, share in found.covered] == [(0.1, 1.0), (0.5, 1.0), (0.9, 0.5)]


def test_chance_alone_shows_no_fall_of_gain_with_competence() -> None:
    """Base and checkpoint are the same model: with the same samples in both, r would be about -0.6."""
    rng = np.random.default_rng(6)
    draws = {side: {item: rng.binomial(1, 0.5, 8).tolist() for item in range(300)} for side in "ab"}
    points = item_points(make_results(draws["a"]), make_results(draws["b"]), [("math", item) for item in range(300)])
    found = correlation(points)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0 < found.high


def test_correlation_is_pearson_s() -> None:
    rng = np.random.default_rng(7)
    x, y = rng.random(40), rng.random(40)
    found = correlation([Point(name="", competence=a, gain=b) for a, b in zip(x, y, strict=True)])
    assert found is not None
    assert found.value == pytest.approx(float(stats.pearsonr(x, y).statistic))
    assert correlation([Point(name="", competence=0.1, gain=float(n)) for n in range(9)]) is None
    assert correlation([Point(name="", competence=float(n), gain=float(n)) for n in range(4)]) is None


def test_sweeps_are_groups_that_differ_in_a_small_number() -> None:
    (found,) = sweeps_of(["depth-10", "depth-2", "depth-1", "other", "aime-2024", "aime-2025", "aime-2026", "x1", "x2"])
    assert (found.stem, found.levels) == ("depth", ((1, "depth-1"), (2, "depth-2"), (10, "depth-10")))


def tasks(results: Results, names: dict[int, str]) -> Results:
    samples = {
        item: tuple(replace(sample, task=names[item[1]]) for sample in found) for item, found in results.samples.items()
    }
    return replace(results, samples=samples)


def test_a_source_of_several_tasks_is_reported_by_task() -> None:
    results = make_results({0: [1], 1: [0], 2: [1]})
    assert groups_of(results) == {"math": (("math", 0), ("math", 1), ("math", 2))}
    mixed = tasks(results, {0: "maze", 1: "dice", 2: "maze"})
    assert groups_of(mixed) == {"math/dice": (("math", 1),), "math/maze": (("math", 0), ("math", 2))}
    assert groups_of(tasks(results, dict.fromkeys(range(3), "maze"))).keys() == {"math"}


def test_fewer_samples_than_k_give_no_number() -> None:
    base, after = make_results({0: [0, 1, None], 1: [1, 1, 1]}), make_results({0: [0, 1, 1], 1: [1, 1, 1]})
    assert compare(base, after, k=2).rows[0].boundary.k == 2
    found = compare(base, after, k=3)
    assert found.rows == ()
    assert "math: no numbers. An item has 2 judged samples, and 3 of every item are asked for." in found.warnings


def test_items_that_nobody_could_judge_are_left_out_and_counted() -> None:
    found = compare(make_results({0: [0, 1], 1: [None, None]}), make_results({0: [1, 1], 1: [1, 1]}))
    assert found.rows[0].base.average.num_items == 1
    assert "math: 1 items without a judged sample are left out." in found.warnings
    assert "math: k ends at 2: an item has no more judged samples; 4 were asked for." in found.warnings
    nothing = compare(make_results({0: [None]}), make_results({0: [1]}))
    assert nothing.rows == ()
    assert "math: no numbers. No item has a judged sample in both evaluations." in nothing.warnings


def test_what_a_reader_must_know_first_is_told() -> None:
    results = make_results({0: [0, 1, None], 1: [1, 1, 1]})
    settings = results.settings.model_copy(
        update={
            "contamination": {"math": Contamination(items=2, touched=1)},
            "weights": "1-0-abc",
            "trained": ("other",),
        }
    )
    found = compare(replace(results, settings=settings), replace(results, settings=settings))
    text = "\n".join(found.warnings)
    assert "math: 1 of 2 items stand in files that the job trains on" in text
    assert "Both evaluations sampled the same weights (abc)" in text
    assert "1 of 6 samples could not be judged" in text
    assert found.rows[0].is_trained is False
    assert compare(results, results).rows[0].is_trained is None
