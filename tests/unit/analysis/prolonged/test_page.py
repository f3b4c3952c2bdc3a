"""What is said of runs, by what their intervals allow."""

from __future__ import annotations

from pathlib import Path

import pytest

from prorl_analysis.estimators import Estimate
from prorl_analysis.prolonged import claims, words
from prorl_analysis.prolonged.__main__ import kept_in, main
from prorl_analysis.prolonged.arms import read_arms
from prorl_analysis.prolonged.findings import judge, not_shown, shown
from prorl_analysis.prolonged.page import page
from prorl_analysis.prolonged.record import Ending, write
from prorl_api.errors import SpecError
from tests.unit.analysis.prolonged.builders import ARMS, BASE, SOLVED, make_evaluation, make_record

HALF = make_evaluation({"depth-2": (8, 8, 8, 8), "depth-5": (4, 3, 2, 0)})
FORGOTTEN = make_evaluation({"depth-2": (0, 8, 8, 8), "depth-5": (0, 0, 0, 0)})


def test_what_did_not_run_is_said_first() -> None:
    kept = judge(ARMS, BASE, [make_record(steps=12, ended=Ending.UNFINISHED)])
    text = page(kept)
    assert text.index("What did not show") < text.index("What showed")
    for sentence in (
        "1 of 9 runs are here. Not run: metric with seed 2 and 3; no-reset with seed 1, 2 and 3; divided-kl with seed",
        "metric, seed 1: stands at step 12 of 20, not finished.",
        "metric, seed 1: no checkpoint of it has been evaluated",
        "Not built: averaged reference (nobody has).",
        "No arm has three seeds yet",
    ):
        assert sentence in not_shown(kept)
    assert "Nothing yet." in shown(kept)


def test_no_run_at_all_is_a_page_too() -> None:
    assert "0 of 9 runs are here." in page(judge(ARMS, None, []))


def test_what_the_base_never_solved_is_claimed_with_its_bound() -> None:
    """By hand: 0 of 4 x 8 samples; 1 - 0.05^(1/32) is 8.94 %. pass@1 is (8 + 7 + 6) / 32 = 0.656."""
    found = shown(judge(ARMS, BASE, [make_record(evaluations={20: SOLVED})]))
    assert "depth-5: the base solved none of 4 items within 8 samples (below 8.94 % a sample" in found
    assert "the checkpoint some, in 1 of 1 runs: metric, seed 1 (3; pass@1 +0.656 (" in found


def test_what_was_lost_is_said() -> None:
    """By hand: the first item of depth 2 was right 8 of 8 times, and is 0 of 8."""
    found = not_shown(judge(ARMS, BASE, [make_record(evaluations={20: FORGOTTEN})]))
    assert (
        "depth-2: items that the base solved within 8 samples were lost, in 1 of 1 runs: metric, seed 1 (1)." in found
    )
    assert "depth-5: pass@1 did not rise beyond doubt, in 1 of 1 runs: metric, seed 1 (+0.000)." in found
    assert "from step 0 to 20: pass@1 over depths 3 to 8 did not rise beyond doubt" in found


def test_runs_that_show_the_same_are_told_together_depth_by_depth() -> None:
    records = [make_record(evaluations={20: SOLVED}), make_record("no-reset", evaluations={20: HALF})]
    lines = [line for line in shown(judge(ARMS, BASE, records)).splitlines() if line.startswith("- depth-5")]
    assert len(lines) == 1
    assert "in 2 of 2 runs: metric, seed 1 (3; " in lines[0]
    assert "; no-reset, seed 1 (3; " in lines[0]


def test_an_arm_is_summed_up_over_its_seeds_at_a_step_that_all_have() -> None:
    """By hand: at step 20 the shares of depth 5 are 21/32 and 9/32, means 0.469; items solved 3 and 3."""
    records = [
        make_record(seed=1, evaluations={10: FORGOTTEN, 20: SOLVED}),
        make_record(seed=2, evaluations={20: HALF, 30: SOLVED}),
    ]
    found = claims.by_arm(records, "metric")
    assert found is not None
    assert (found.step, found.seeds) == (20, (1, 2))
    assert found.means["depth-5"] == pytest.approx([21 / 32, 9 / 32])
    assert found.solved["depth-5"] == [3, 3]
    assert "| metric | 20 | 1 and 2 | 0.469; 3 |" in page(judge(ARMS, BASE, records))
    assert claims.by_arm(records, "no-reset") is None
    apart = [make_record(seed=1, evaluations={10: HALF}), make_record(seed=2, evaluations={20: HALF})]
    assert claims.by_arm(apart, "metric") is None


def test_runs_of_different_bases_are_not_put_together() -> None:
    with pytest.raises(SpecError, match=r"metric-seed-1\.json: got a run of base cccccccccccc.*bbbbbbbbbbbb"):
        judge(ARMS, BASE, [make_record(base="c" * 64)])
    with pytest.raises(SpecError, match=r"metric-seed-2\.json"):
        judge(ARMS, None, [make_record(), make_record(seed=2, base="c" * 64)])


def test_progress_goes_from_evaluation_to_evaluation() -> None:
    """By hand: depth 5's shares are 0, then (4 + 3 + 2) / 32, then (8 + 7 + 6) / 32."""
    steps = claims.progress(BASE, make_record(evaluations={20: SOLVED, 10: HALF}))
    assert [(step.earlier, step.later) for step in steps] == [(0, 10), (10, 20)]
    assert [step.gain.value for step in steps] == pytest.approx([9 / 32, 12 / 32])


def test_arms_are_compared_at_a_step_that_both_have() -> None:
    """By hand: at step 10 the arm has 9 / 32 and the other 0; step 20 is the arm's alone."""
    records = [make_record(evaluations={10: HALF, 20: SOLVED}), make_record("no-reset", evaluations={10: FORGOTTEN})]
    found = claims.contrast(records, "metric", "no-reset")
    assert found is not None
    assert [(seed, step) for seed, step, _ in found.at] == [(1, 10)]
    assert found.at[0][2].value == pytest.approx(9 / 32)
    assert found.over_seeds is None
    assert claims.contrast(records, "metric", "divided-kl") is None


def test_one_seed_says_nothing_of_arms() -> None:
    records = [make_record(evaluations={20: SOLVED}), make_record("no-reset", evaluations={20: HALF})]
    found = not_shown(judge(ARMS, BASE, records))
    assert "That metric ends above no-reset is not shown over seeds: seed 1 at step 20 +0.375" in found
    assert "1 of at least 3 seeds" in found


def test_the_interval_over_three_seeds_is_students() -> None:
    """By hand: mean 0.2, standard error 0.1 / sqrt(3), t(0.975, 2) = 4.3027: 0.2 -+ 0.2484."""
    found = claims.over_seeds([0.1, 0.2, 0.3])
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.2, -0.0484, 0.4484), abs=1e-4)
    assert claims.over_seeds([0.1, 0.2]) is None


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(0.01, 0.2, "higher"), (-0.2, -0.01, "lower"), (-0.1, 0.2, "not told apart"), (None, None, "not told apart")],
)
def test_a_word_needs_an_interval(low: float | None, high: float | None, word: str) -> None:
    assert claims.verdict(Estimate(value=0.1, low=low, high=high, num_items=4)) == word


def test_three_seeds_that_agree_are_a_claim() -> None:
    """By hand: the differences are 12, 13 and 14 of 32."""
    records = [
        make_record(arm, seed, evaluations={20: evaluation})
        for seed, last in enumerate((0, 1, 2), start=1)
        for arm, evaluation in (
            ("metric", make_evaluation({"depth-2": (8, 8, 8, 8), "depth-5": (8, 7, 6, last)})),
            ("no-reset", HALF),
        )
    ]
    found = shown(judge(ARMS, BASE, records))
    assert "metric ended above no-reset over seeds: +0.406 (+0.329 to +0.484) over 3 seeds" in found


def test_evaluations_of_other_items_are_not_compared() -> None:
    other = SOLVED.model_copy(update={"items_digest": "e" * 64})
    with pytest.raises(SpecError, match="sources"):
        judge(ARMS, BASE, [make_record(evaluations={20: other})])


def test_a_run_of_an_unknown_arm_is_refused() -> None:
    with pytest.raises(SpecError, match="one of metric"):
        judge(ARMS, BASE, [make_record("fancy")])


def test_page_and_pictures_come_from_the_folder_alone(tmp_path: Path) -> None:
    examples = Path(__file__).parents[4] / "examples/arms/prolonged.yaml"
    folder = tmp_path / "prolonged"
    write(folder / "base.json", BASE)
    write(folder / "metric-seed-1.json", make_record(evaluations={20: SOLVED}))
    assert main(examples, folder) == 0
    text = (tmp_path / "prolonged.md").read_text()
    assert "reset at step" in text
    drawn = {path.name: path.read_bytes() for path in folder.glob("*.svg")}
    assert drawn.keys() == {"curves.svg", "overview.svg", "pass-at-k.svg"}
    assert main(examples, folder) == 0
    assert {path.name: path.read_bytes() for path in folder.glob("*.svg")} == drawn
    assert (tmp_path / "prolonged.md").read_text() == text


def test_the_page_in_docs_is_what_the_data_there_say() -> None:
    root = Path(__file__).parents[4]
    folder = root / "docs/results/prolonged"
    kept = kept_in(folder, read_arms(root / "examples/arms/prolonged.yaml"))
    assert (root / "docs/results/prolonged.md").read_text() == page(kept), "run: make results"


def test_names_are_joined() -> None:
    assert [words.listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "none", "a", "a and b", "a, b and c",
    ]  # fmt: skip
