"""What is said of runs, by what their intervals allow."""

from __future__ import annotations

from pathlib import Path

import pytest

from prorl_analysis.prolonged import claims, words
from prorl_analysis.prolonged.__main__ import kept_in, main
from prorl_analysis.prolonged.arms import Arm, Contrast, read_arms
from prorl_analysis.prolonged.figures import draw
from prorl_analysis.prolonged.findings import judge, not_shown, shown
from prorl_analysis.prolonged.page import page
from prorl_analysis.prolonged.record import Ending, Reset, write
from prorl_analysis.prolonged.reduction import Run, record_of_shown
from prorl_api.errors import SpecError
from tests.unit.analysis.prolonged.builders import (
    ARMS,
    BASE,
    DIGEST,
    SOLVED,
    doubled,
    make_evaluation,
    make_record,
)

HALF = make_evaluation({"depth-2": (8, 8, 8, 8), "depth-5": (4, 3, 2, 2, 1, 1, 1, 0)})
FORGOTTEN = make_evaluation({"depth-2": (0, 8, 8, 8), "depth-5": (0,) * 8})


def test_what_did_not_run_is_said_first() -> None:
    kept = judge(ARMS, BASE, [make_record(steps=12, ended=Ending.UNFINISHED)])
    text = page(kept)
    assert text.index("What did not show") < text.index("What showed")
    for sentence in (
        "1 of 9 runs are here. Not run: metric with seed 2 and 3; no-reset with seed 1, 2 and 3; divided-kl with seed",
        "metric, seed 1: stands at step 12 of 20, not finished.",
        "metric, seed 1: no checkpoint of it has been evaluated",
        "Fewer than three seeds: none.",
        "pass@k goes to 8, not to 1024",
    ):
        assert sentence in not_shown(kept)
    assert "Nothing yet." in shown(kept)


def test_no_run_at_all_is_a_page_too() -> None:
    assert "0 of 9 runs are here." in page(judge(ARMS, None, []))


def test_what_the_base_never_solved_is_claimed_with_its_bounds() -> None:
    """By hand: 0 of 8 x 8 samples; 1 - 0.05^(1/64) is 4.57 %, 1 - 0.05^(1/8) 31.2 %. pass@1 is 35 / 64 = 0.547."""
    found = shown(judge(ARMS, BASE, [make_record(evaluations={20: SOLVED})]))
    assert (
        "depth-5: the base solved none of 8 items within 8 samples (its mean rate over these items is below 4.57 %"
        in found
    )
    assert (
        "that of one item below 31.2 %), the checkpoint some, in 1 of 1 runs: metric, seed 1 (7; pass@1 +0.547" in found
    )


@pytest.mark.parametrize(
    "counts",
    [
        (8, 8, 8, 8, 8, 0, 0, 0),  # 5 items against 0: p = 0.0625
        (1, 0, 0, 0, 0, 0, 0, 0),  # one right sample is a guess
    ],
)
def test_what_chance_explains_is_not_beyond_the_base(counts: tuple[int, ...]) -> None:
    after = make_evaluation({"depth-2": (8, 8, 8, 8), "depth-5": counts})
    assert "the base solved none" not in shown(judge(ARMS, BASE, [make_record(evaluations={20: after})]))


def test_what_rises_no_higher_than_guessing_did_not_rise() -> None:
    """Every item once of eight times: 0.125 on all of them, where a guess is right in one of five."""
    after = make_evaluation({"depth-2": (8, 8, 8, 8), "depth-5": (1,) * 8})
    arms = ARMS.model_copy(update={"evaluation": ARMS.evaluation.model_copy(update={"guess": 0.2})})
    kept = judge(arms, BASE, [make_record(evaluations={20: after})])
    assert "depth-5: pass@1 did not rise beyond doubt and guessing" in not_shown(kept)
    assert "depth-5: pass@1 rose" not in shown(kept)
    assert "the base solved none" not in shown(kept)


def test_what_fell_is_said_to_have_fallen_also_where_there_was_nothing_to_learn() -> None:
    worse = make_evaluation({"depth-2": (1,) * 8, "depth-5": (0,) * 8})
    base = BASE.model_copy(update={"evaluation": make_evaluation({"depth-2": (8,) * 8, "depth-5": (0,) * 8})})
    better = make_evaluation({"depth-2": (8,) * 8, "depth-5": (8, 7, 6, 5, 4, 3, 2, 0)})
    found = not_shown(judge(ARMS, base, [make_record(evaluations={10: better, 20: worse})]))
    assert "depth-2: pass@1 fell, in 1 of 1 runs: metric, seed 1 (-0.875)." in found
    assert "from one evaluation to the next, fell, in 1 of 1 runs: metric, seed 1 (step 10 to 20: -0.547" in found


def test_what_was_lost_is_said() -> None:
    """By hand: the first item of depth 2 was right 8 of 8 times, and is 0 of 8."""
    found = not_shown(judge(ARMS, BASE, [make_record(evaluations={20: FORGOTTEN})]))
    runs = "in 1 of 1 runs: metric, seed 1"
    assert f"depth-2: items that the base solved within 8 samples were lost, {runs} (1, and 0 gained)." in found
    assert f"depth-5: pass@1 did not rise beyond doubt and guessing, {runs} (+0.000)." in found
    assert f"from one evaluation to the next, did not rise beyond doubt, {runs} (step 0 to 20: +0.000)." in found


def test_runs_that_show_the_same_are_told_together_depth_by_depth() -> None:
    records = [make_record(evaluations={20: SOLVED}), make_record("no-reset", evaluations={20: HALF})]
    lines = [line for line in shown(judge(ARMS, BASE, records)).splitlines() if line.startswith("- depth-5")]
    assert len(lines) == 1
    assert "in 2 of 2 runs: metric, seed 1 (7; " in lines[0]
    assert "; no-reset, seed 1 (7; " in lines[0]


def test_a_run_that_shows_a_thing_twice_is_counted_once() -> None:
    (line,) = [
        line
        for line in shown(judge(ARMS, BASE, [make_record(evaluations={10: HALF, 20: SOLVED})])).splitlines()
        if "from one evaluation to the next" in line
    ]
    assert "rose, in 1 of 1 runs: metric, seed 1 (step 0 to 10: " in line
    assert ", step 10 to 20: " in line


def test_an_arm_is_summed_up_over_its_seeds_at_a_step_that_all_have() -> None:
    """By hand: at step 20 the shares of depth 5 are 35/64 and 14/64, mean 0.383; items solved 7 and 7."""
    records = [
        make_record(seed=1, evaluations={10: FORGOTTEN, 20: SOLVED}),
        make_record(seed=2, evaluations={20: HALF, 30: SOLVED}),
    ]
    found, later = claims.by_arm(records, "metric")
    assert (found.step, found.seeds) == (20, (1, 2))
    assert found.means["depth-5"] == pytest.approx([35 / 64, 14 / 64])
    assert found.solved["depth-5"] == [7, 7]
    assert (later.step, later.seeds, later.solved["depth-5"]) == (30, (2,), [7]), "one seed went further"
    text = page(judge(ARMS, BASE, records))
    assert "| metric | 20 | 1 and 2 | 0.383; 7 |" in text
    assert "| metric | 30 | 2 | 0.547; 7 |" in text
    assert claims.by_arm(records, "no-reset") == []
    apart = [make_record(seed=1, evaluations={10: HALF}), make_record(seed=2, evaluations={20: HALF})]
    assert [(level.step, level.seeds) for level in claims.by_arm(apart, "metric")] == [(20, (2,))]


def test_runs_of_different_bases_are_not_put_together() -> None:
    with pytest.raises(SpecError, match=r"metric-seed-1\.json: got a run of base cccccccccccc.*bbbbbbbbbbbb"):
        judge(ARMS, BASE, [make_record(base="c" * 64)])
    with pytest.raises(SpecError, match=r"metric-seed-2\.json"):
        judge(ARMS, None, [make_record(), make_record(seed=2, base="c" * 64)])


def test_progress_goes_from_evaluation_to_evaluation() -> None:
    """By hand: depth 5's shares are 0, then (4 + 3 + 2 + 2 + 1 + 1 + 1) / 64 = 14 / 64, then 35 / 64."""
    steps = claims.progress(BASE, make_record(evaluations={20: SOLVED, 10: HALF}))
    assert [(step.earlier, step.later) for step in steps] == [(0, 10), (10, 20)]
    assert [step.gain.value for step in steps] == pytest.approx([14 / 64, 21 / 64])


def test_arms_are_compared_at_one_step_that_both_have_with_most_seeds() -> None:
    """By hand: at step 10 the arm has 14 / 64 and the other 0; at step 20 seed 2 alone has both, 35 and 14 of 64."""
    records = [
        make_record(evaluations={10: HALF, 20: SOLVED}),
        make_record("no-reset", evaluations={10: FORGOTTEN}),
        make_record(seed=2, evaluations={10: SOLVED, 20: SOLVED}),
        make_record("no-reset", 2, evaluations={10: HALF, 20: HALF}),
    ]
    found, later = claims.contrasts(records, "metric", "no-reset")
    assert (found.step, list(found.by_seed)) == (10, [1, 2])
    assert found.by_seed[1].value == pytest.approx(14 / 64)
    assert found.over_seeds is None
    assert (later.step, list(later.by_seed)) == (20, [2])
    assert later.by_seed[2].value == pytest.approx(21 / 64)
    assert claims.contrasts(records, "metric", "divided-kl") == []


def test_one_seed_says_nothing_of_arms() -> None:
    records = [make_record(evaluations={20: SOLVED}), make_record("no-reset", evaluations={20: HALF})]
    found = not_shown(judge(ARMS, BASE, records))
    assert (
        "metric less no-reset (what resets add), pass@1 over depths 3 to 8 at step 20: 1 of at least 3 seeds; " in found
    )
    assert "seed 1 +0.328 (" in found


def test_the_interval_over_three_seeds_is_students() -> None:
    """By hand: mean 0.2, standard error 0.1 / sqrt(3), t(0.975, 2) = 4.3027: 0.2 -+ 0.2484."""
    found = claims.over_seeds([0.1, 0.2, 0.3])
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.2, -0.0484, 0.4484), abs=1e-4)
    assert claims.over_seeds([0.1, 0.2]) is None
    alike = claims.over_seeds([0.2, 0.2, 0.2])
    assert alike is not None
    assert (alike.value, alike.low) == (0.2, None)


def test_three_seeds_that_agree_are_a_claim() -> None:
    """By hand: the differences are 21, 22 and 23 of 64; 4.3027 / 64 / sqrt(3) = 0.0388."""
    records = [
        make_record(arm, seed, evaluations={20: evaluation})
        for seed, last in enumerate((0, 1, 2), start=1)
        for arm, evaluation in (
            ("metric", make_evaluation({"depth-2": (8, 8, 8, 8), "depth-5": (8, 7, 6, 5, 4, 3, 2, last)})),
            ("no-reset", HALF),
        )
    ]
    found = shown(judge(ARMS, BASE, records))
    assert "at step 20: +0.344 (+0.305 to +0.383) over 3 seeds: higher; seed 1 +0.328" in found


def test_an_arm_that_is_lower_over_seeds_is_said_to_be_lower() -> None:
    records = [
        make_record(arm, seed, evaluations={20: evaluation})
        for seed, last in enumerate((0, 1, 2), start=1)
        for arm, evaluation in (
            ("no-reset", make_evaluation({"depth-2": (8, 8, 8, 8), "depth-5": (8, 7, 6, 5, 4, 3, 2, last)})),
            ("metric", HALF),
        )
    ]
    assert "-0.344 (-0.383 to -0.305) over 3 seeds: lower" in shown(judge(ARMS, BASE, records))


def test_a_run_that_failed_by_itself_is_said_first() -> None:
    kept = judge(ARMS, BASE, [make_record(evaluations={10: HALF}, ended=Ending.FAILED)])
    assert "metric, seed 1: FAILED at step 20 by itself" in not_shown(kept).splitlines()[3]


def test_what_a_run_would_have_reset_is_shown() -> None:
    record = make_record("no-reset").model_copy(
        update={"resets": (), "only_recorded": (Reset(step=7, trigger="kl-spike", reason="KL averaged 1.4 nats"),)}
    )
    text = page(judge(ARMS, BASE, [record]))
    assert "What the trigger would have reset where nothing was" in text
    assert "| no-reset, seed 1 | 7 | kl-spike | KL averaged 1.4 nats |" in text


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


def test_evaluations_with_more_samples_are_told_beside_the_others() -> None:
    """By hand: 16 samples an item instead of 8; at depth 5 the base has one of them right, and one item preserved."""
    base = doubled(BASE.evaluation, {"depth-2": (16, 16, 16, 15), "depth-5": (1,) + (0,) * 7})
    after = doubled(SOLVED, {"depth-2": (16,) * 4, "depth-5": (16, 9, 9, 9, 9, 9, 9, 0)})
    record = make_record(evaluations={20: SOLVED}).model_copy(update={"deep": {20: after}})
    text = page(judge(ARMS, BASE.model_copy(update={"deep": base}), [record, make_record(seed=2)]))
    assert "### With 16 samples an item" in text
    assert "base and last checkpoint of metric, seed 1 at step 20" in text
    assert "| depth-5 | 1 of 128 |" in text
    deep = text.partition("### With 16 samples an item")[2].partition("## Novelty")[0]
    assert "pass@16" in deep
    assert "0 / 6 / 1 / 1" in deep
    assert "not to 1024: four times" in text, "16 are not 1,024"


def test_an_arm_that_is_shown_solutions_is_compared_and_claims_nothing(tmp_path: Path) -> None:
    arms = ARMS.model_copy(update={"arms": (*ARMS.arms, Arm(name="shown", title="solutions", supervised=True))})
    arms = arms.model_copy(update={"contrasts": (Contrast(arm="metric", other="shown", asks="what finding is worth"),)})
    which = Run(arm="shown", seed=1, base=DIGEST, assignments=("seed=1",), planned_steps=20)
    record = record_of_shown(which, 20, "e" * 64, 40.0, {20: SOLVED})
    kept = judge(arms, BASE, [make_record(evaluations={20: HALF}), record])
    text = page(kept)
    assert "shown, seed 1 | solutions | 20 of 20 | finished | 0 | - |" in text
    assert "metric less shown (what finding is worth)" in text
    assert "shown, seed 1 (" not in not_shown(kept) + shown(kept)
    assert "in 1 of 1 runs: metric, seed 1" in shown(kept)
    draw(tmp_path, kept)
    assert "shown, seed 1" not in (tmp_path / "curves.svg").read_text()


@pytest.mark.parametrize(("of_base", "of_run"), [(True, False), (False, True)])
def test_more_samples_of_one_side_alone_say_nothing(of_base: bool, of_run: bool) -> None:
    base = BASE.model_copy(update={"deep": BASE.evaluation if of_base else None})
    record = make_record(evaluations={20: SOLVED}).model_copy(update={"deep": {20: SOLVED} if of_run else {}})
    text = page(judge(ARMS, base, [record]))
    assert "samples an item\n" not in text
    assert "not to 1024: four times" in text


def test_the_page_in_docs_is_what_the_data_there_say() -> None:
    root = Path(__file__).parents[4]
    folder = root / "docs/results/prolonged"
    kept = kept_in(folder, read_arms(root / "examples/arms/prolonged.yaml"))
    assert (root / "docs/results/prolonged.md").read_text() == page(kept), "run: make results"


def test_names_are_joined() -> None:
    assert [words.listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "none", "a", "a and b", "a, b and c",
    ]  # fmt: skip
