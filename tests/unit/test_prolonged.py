"""What starts the prolonged run's arms: what it refuses, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from prorl_analysis.prolonged.arms import read_arms
from prorl_analysis.prolonged.record import Ending, Record, read, write
from prorl_analysis.results import Results, write_results
from prorl_api.errors import RewardError
from tests.unit.analysis.builders import make_results
from tests.unit.analysis.prolonged.builders import BASE, DIGEST, SOLVED, make_record
from tests.unit.example_scripts import load_script

prolonged = load_script("prolonged")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prolonged, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(prolonged, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(prolonged, "OWN", tmp_path / "runs/results")
    monkeypatch.setattr(prolonged, "base_digest", lambda: DIGEST)


def keep(*records: Record) -> None:
    for record in records:
        write(prolonged.KEPT / f"{record.arm}-seed-{record.seed}.json", record)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["metrics", "1"], "one of metric, optimizer-kept"),
        (["divided-kl", "1"], "the run of arm metric with seed 1 first"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_starts(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(make_record("metric", 2))  # another seed does not do
    assert prolonged.main(arguments) == 1
    assert message in capsys.readouterr().err
    assert not prolonged.RUNS.exists()


@pytest.mark.parametrize("arguments", [[], ["metric"], ["metric", "1", "--all"]])
def test_an_arm_with_a_seed_or_all_of_them(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        prolonged.main(arguments)


def test_what_has_ended_is_left_alone() -> None:
    keep(make_record(evaluations={2000: SOLVED}, steps=2000))
    keep(make_record("no-kl", evaluations={300: SOLVED, 600: SOLVED}, steps=600, ended=Ending.SHORTENED))
    assert prolonged.main(["metric", "1"]) == 0
    assert prolonged.main(["no-kl", "1", "--steps", "600"]) == 0
    assert not prolonged.RUNS.exists()


def test_what_is_kept_of_another_bases_runs_is_kept_apart(capsys: pytest.CaptureFixture[str]) -> None:
    write(prolonged.KEPT / "base.json", BASE.model_copy(update={"base": "c" * 64}))
    write(prolonged.OWN / "metric-seed-1.json", make_record(evaluations={2000: SOLVED}, steps=2000))
    assert prolonged.main(["metric", "1"]) == 0
    assert "holds runs of another base" in capsys.readouterr().out
    assert prolonged.OWN.with_suffix(".md").is_file()


def test_the_same_base_goes_on_where_it_was() -> None:
    write(prolonged.KEPT / "base.json", BASE)
    assert prolonged.kept_folder(DIGEST) == prolonged.KEPT


def test_a_base_that_is_not_there_is_a_fault_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(prolonged, "MANIFEST", _copied(prolonged.MANIFEST, tmp_path / "examples/prolonged.yaml"))
    assert prolonged.main(["metric", "1"]) == 1
    assert "`make toy-model` puts it there" in capsys.readouterr().err


def _copied(path: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True)
    target.write_bytes(path.read_bytes())
    return target


def test_a_command_that_fails_ends_it_with_its_code() -> None:
    with pytest.raises(prolonged.NotWholeError, match="2"):
        prolonged.prorl("no-such-command", minutes=None)


def _stored(results: Results, **settings: float) -> None:
    folder = prolonged.RUNS / "evaluations" / "base"
    folder.mkdir(parents=True)
    samples = [sample for found in results.samples.values() for sample in found]
    wanted = {"samples": 256, "temperature": 1.0, "top_p": 1.0, **settings}
    write_results(folder / "results.jsonl", results.settings.model_copy(update=wanted), samples)


def test_an_evaluation_of_which_items_were_not_judged_is_not_kept() -> None:
    _stored(make_results({0: [1.0, None], 1: [None, None], 2: [0.0, 1.0]}))
    with pytest.raises(RewardError, match=r"nobody judged any sample of 1 items; .*remove the folder"):
        prolonged.evaluated("base", None, read_arms(prolonged.ARMS), None)
    assert not prolonged.KEPT.exists()


@pytest.mark.parametrize("settings", [{"samples": 4}, {"temperature": 0.6}, {"top_p": 0.95}])
def test_an_evaluation_of_other_settings_is_not_taken_for_this_one(settings: dict[str, float]) -> None:
    _stored(make_results({0: [1.0, 0.0]}), **settings)
    with pytest.raises(RewardError, match=r"wanted \(256, 1\.0, 1\.0\)\. Remove the folder"):
        prolonged.evaluated("base", None, read_arms(prolonged.ARMS), None)


def test_more_samples_of_a_run_that_is_not_here_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    keep(make_record(evaluations={2000: SOLVED}, steps=2000), make_record("no-kl", ended=Ending.FAILED))
    for name in ("metric-seed-1", "no-kl-seed-1"):  # the second one has no checkpoint
        prolonged.deepen(read_arms(prolonged.ARMS), prolonged.KEPT / f"{name}.json", None)
    assert capsys.readouterr().out.count("the run's folder is not here") == 1


def test_what_is_kept_of_the_base_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prolonged, "evaluated", lambda *_: make_results({0: [1.0], 1: [0.0]}))
    asked = SimpleNamespace(base=DIGEST, kept=prolonged.KEPT)
    prolonged.base(read_arms(prolonged.ARMS), asked)
    first = (prolonged.KEPT / "base.json").read_bytes()
    monkeypatch.setattr(prolonged, "evaluated", lambda *_: make_results({0: [0.0], 1: [0.0]}))
    prolonged.base(read_arms(prolonged.ARMS), asked)
    assert (prolonged.KEPT / "base.json").read_bytes() == first


def test_an_arm_that_is_shown_solutions_is_kept_with_its_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the real training and sampling, which have tests of their own: two folders with weights appear."""
    started = []

    def train(*arguments: str, minutes: float | None) -> None:
        started.append(arguments)
        for step in (150, 300):
            folder = prolonged.RUNS / f"supervised-seed-2/step-{step}"
            folder.mkdir(parents=True)
            save_file({"w": torch.full((2,), float(step))}, folder / "model.safetensors")
        (prolonged.RUNS / "supervised-seed-2/cost.json").write_text('{"seconds": 600.0}')

    sampled = []

    def evaluated(name: str, model: str | None, *_: object) -> Results:
        sampled.append((name, model))
        return make_results({0: [1.0], 1: [0.0]})

    monkeypatch.setattr(prolonged, "python", train)
    monkeypatch.setattr(prolonged, "evaluated", evaluated)
    monkeypatch.setattr(prolonged, "write_page", lambda *_: 0)
    assert prolonged.main(["supervised", "2", "--steps", "300", "--checkpoints", "2"]) == 0
    assert started[0][3:] == ("--seed=2", "--steps=300", "--at", "150", "300")
    kept = read(prolonged.KEPT / "supervised-seed-2.json", Record)
    assert (kept.steps, kept.ended, sorted(kept.evaluations)) == (300, Ending.SHORTENED, [150, 300])
    assert kept.cost.step_seconds == 2.0
    assert len({name for name, _ in sampled}) == 3, "base and two checkpoints"
    assert prolonged.main(["supervised", "2", "--steps", "300"]) == 0
    assert len(started) == 1
