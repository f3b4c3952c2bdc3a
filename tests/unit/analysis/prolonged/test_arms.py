"""What the arms change, and that the table beside the manifest is one that can run."""

from __future__ import annotations

from pathlib import Path

import pytest

from prorl_analysis.prolonged.arms import read_arms
from prorl_api.errors import SpecError
from prorl_api.manifest import read_job
from prorl_api.spec.job import ProRLJob
from prorl_api.spec.values import ResetMode
from tests.unit.analysis.prolonged.builders import ARMS, PLAN

EXAMPLES = Path(__file__).parents[4] / "examples"
TABLE = read_arms(EXAMPLES / "arms/prolonged.yaml")
MANIFEST = EXAMPLES / "prolonged.yaml"


def job_of(arm: str, seed: int = 2) -> ProRLJob:
    changes = TABLE.arm(arm).assignments(seed, read_job(MANIFEST).spec.algorithm.kl.coefficient, {"metric": 4})
    return read_job(MANIFEST, changes)


@pytest.mark.parametrize("arm", [arm.name for arm in TABLE.arms if not arm.supervised])
def test_every_arm_is_a_valid_manifest_that_differs_where_it_says(arm: str) -> None:
    """Nothing but the seed, the KL coefficient and the resets differs from the manifest."""
    plain, changed = read_job(MANIFEST), job_of(arm)
    assert changed.spec.seed == 2
    same = {"seed": 1, "algorithm": plain.spec.algorithm, "reference_reset": plain.spec.reference_reset}
    assert changed.spec.model_copy(update=same) == plain.spec
    assert (arm == "metric") == (changed.spec.model_copy(update={"seed": 1}) == plain.spec)


def test_the_arms_that_must_not_reset_do_not() -> None:
    runs = [arm.name for arm in TABLE.arms if not arm.supervised]
    resetting = {name for name in runs if job_of(name).spec.reference_reset.mode is ResetMode.AUTOMATIC}
    assert resetting == {"metric", "optimizer-kept", "interval"}


def test_the_manifest_has_two_thousand_steps_and_knows_the_worlds_depths() -> None:
    spec = read_job(MANIFEST).spec
    assert spec.schedule.total_steps >= 2000
    named = {source.name: source.composition.depths for source in spec.data.sources if source.composition}
    assert named == {f"depth-{depth}": (depth,) for depth in TABLE.evaluation.depths}


def test_the_coefficient_is_divided_by_the_resets_of_the_other_arm() -> None:
    """By hand: 0.2 / 4. Divided by one it would be the arm without resets under another name."""
    arm = ARMS.arm("divided-kl")
    assert arm.assignments(3, 0.2, {"metric": 4}) == ("seed=3", "algorithm.kl.coefficient=0.05")
    for count in (0, 1):
        with pytest.raises(SpecError, match=f"seed 3 with {count} resets; want at least two|at least two"):
            arm.assignments(3, 0.2, {"metric": count})


def test_an_arm_that_rests_on_another_one_waits_for_it() -> None:
    with pytest.raises(SpecError, match="arm metric with seed 3 first"):
        ARMS.arm("divided-kl").assignments(3, 0.2, {})


def test_an_unknown_arm_is_told_the_known_ones() -> None:
    with pytest.raises(SpecError, match="one of metric, no-reset, divided-kl"):
        ARMS.arm("metrics")


@pytest.mark.parametrize(
    ("last", "every", "steps"),
    [
        (2000, 50, (500, 1000, 1500, 2000)),
        (600, 50, (150, 300, 450, 600)),
        (130, 50, (50, 130)),  # 32 and 65 and 97 go down to 0, 50 and 50
        (20, 50, (20,)),
    ],
)
def test_checkpoints_are_evaluated_evenly_and_at_the_end(last: int, every: int, steps: tuple[int, ...]) -> None:
    assert PLAN.model_copy(update={"checkpoints": 4}).steps(last, every) == steps


def test_steps_at_which_other_runs_end_are_evaluated_too() -> None:
    """By hand: 620 goes down to the checkpoint of 600; 2,000 and what lies behind it add nothing."""
    plan = PLAN.model_copy(update={"checkpoints": 1})
    assert plan.steps(2000, 50, also=(620, 2000, 2400)) == (600, 2000)
    assert plan.steps(600, 50, also=(600,)) == (600,)


def test_a_contrast_is_of_arms_of_the_table(tmp_path: Path) -> None:
    path = tmp_path / "arms.yaml"
    text = (EXAMPLES / "arms/prolonged.yaml").read_text()
    path.write_text(text.replace("other: no-reset", "other: no-resets"))
    with pytest.raises(SpecError, match="contrast of metric and no-resets: got no-resets"):
        read_arms(path)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("arms: []", "evaluation"),
        ("seeds: [1]\nfits: 2\narms: []\ncontrasts: []", "evaluation"),
        ("[", "YAML"),
        ("", "a table of arms"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "arms.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=fault):
        read_arms(path)


@pytest.mark.parametrize(
    ("arms", "fault"),
    [
        ("[{name: a, title: A, set: []}, {name: a, title: A, set: []}]", "the name twice"),
        ("[{name: a, title: A, set: [], klDividedByResetsOf: b}, {name: b, title: B, set: []}]", "stands before it"),
        ("[{name: a, title: A, set: [], klDividedByResetsOf: a}]", "stands before it"),
    ],
)
def test_an_arm_rests_on_one_before_it(tmp_path: Path, arms: str, fault: str) -> None:
    path = tmp_path / "arms.yaml"
    plan = "{depths: [1], items: 2, samples: 4, temperature: 1.0, topP: 1.0, checkpoints: 1, guess: 0}"
    path.write_text(f"seeds: [1]\narms: {arms}\ncontrasts: []\nevaluation: {plan}\n")
    with pytest.raises(SpecError, match=fault):
        read_arms(path)
