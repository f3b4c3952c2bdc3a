"""`prorl ls` and `prorl prune`: what runs take, and that nothing goes which a run needs."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from prorl_api.run_folder import RunFolder
from prorl_api.status import Condition, ConditionStatus, ConditionType, JobStatus
from prorl_cli.disk import size_of, size_text
from prorl_cli.local.folder import begin, locked
from prorl_cli.main import app
from prorl_trainer.storage.checkpoints import BestPolicy, CheckpointStore, LearnerState, LineageEntry
from prorl_trainer.storage.fence import Fence

DIGESTS = {name: name * 64 for name in "abcd"}


def prorl(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def make_state(step: int, reference: str, best: str) -> LearnerState:
    digest = DIGESTS[reference]
    return LearnerState(
        step=step,
        attempt=1,
        seed=1,
        next_prompt_index=0,
        optimizer_steps_since_clear=0,
        stage="",
        reference_digest=digest,
        lineage=(LineageEntry(digest=digest, since_step=0),),
        best=BestPolicy(step=step, accuracy=0.5, digest=DIGESTS[best]),
        spec_revision="r",
        engine="plain",
        precision="float32",
        num_ranks=1,
    )


def save_engine(folder: Path) -> None:
    (folder / "engine.bin").write_bytes(b"e" * 9000)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Three checkpoints with references a, b, c; the last one needs b and c. A torn one, and a reference of nobody."""
    made = RunFolder(tmp_path / "runs" / "demo")
    made.create()
    begin(made, "text", manifest_folder=tmp_path, model=None)
    fence = Fence(made, 1)
    fence.enter()
    store = CheckpointStore(fence)
    for step, reference, best in ((4, "a", "a"), (8, "a", "b"), (12, "b", "c")):
        store.write(make_state(step, reference, best), save_engine)
    for digest in DIGESTS.values():
        (made.references / digest).mkdir(parents=True)
        (made.references / digest / "model.safetensors").write_bytes(b"w" * 9000)
    (made.attempt(1) / "checkpoints" / "step-16.partial").mkdir()
    return made


def left(run: RunFolder) -> set[str]:
    checkpoints = {path.name for path in run.attempts.glob("*/checkpoints/*")}
    return checkpoints | {path.name[0] for path in run.references.iterdir()}


@pytest.mark.parametrize(
    ("options", "stays"),
    [
        ((), {"step-12", "b", "c"}),
        (("--keep", "2"), {"step-8", "step-12", "a", "b", "c"}),
        (("--keep", "9"), {"step-4", "step-8", "step-12", "a", "b", "c"}),
    ],
)
def test_what_the_kept_checkpoints_need_stays_and_the_rest_goes(
    run: RunFolder, options: tuple[str, ...], stays: set[str]
) -> None:
    before = size_of(run.path)
    result = prorl("prune", run.path, *options)
    assert result.exit_code == 0, result.output
    assert left(run) == stays
    assert "freed" in result.output
    assert before > size_of(run.path)
    store = CheckpointStore(Fence(run, 1))
    current = store.current()
    assert current is not None
    assert store.read_state(current).step == 12
    assert "nothing to remove" in prorl("prune", run.path, *options).output


def test_the_checkpoint_that_it_goes_on_from_stays_though_it_is_not_the_newest(run: RunFolder) -> None:
    later = run.checkpoint(1, 16)  # renamed, but CURRENT was not moved yet: a kill in between
    later.parent.joinpath("step-16.partial").rmdir()
    later.mkdir()
    later.joinpath("checkpoint.json").write_text(run.checkpoint(1, 4).joinpath("checkpoint.json").read_text())
    assert prorl("prune", run.path).exit_code == 0
    assert {"step-12", "step-16"} <= left(run)


def test_a_rehearsal_removes_nothing(run: RunFolder) -> None:
    before = left(run)
    output = prorl("prune", run.path, "--dry-run").output
    assert left(run) == before
    assert "would free" in output
    assert "attempts/1/checkpoints/step-4" in output


def test_a_run_that_somebody_drives_is_left_alone(run: RunFolder) -> None:
    before = left(run)
    with locked(run):
        result = prorl("prune", run.path)
    assert result.exit_code == 1
    assert "is driven by another `prorl run`" in result.output
    assert left(run) == before


@pytest.mark.parametrize("damage", ["the state", "CURRENT", "a reference"])
def test_nothing_goes_where_it_cannot_be_told_what_is_needed(run: RunFolder, damage: str) -> None:
    if damage == "the state":
        (run.checkpoint(1, 12) / "checkpoint.json").write_text("{")
    elif damage == "CURRENT":
        run.current.write_text("{")
    else:
        (run.references / DIGESTS["c"]).rename(run.path / "elsewhere")
    before = left(run)
    assert prorl("prune", run.path).exit_code == 1
    assert left(run) == before


def test_a_run_without_checkpoints_loses_torn_ones_only(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.create()
    begin(run, "text", manifest_folder=tmp_path, model=None)
    (run.attempt(1) / "checkpoints" / "step-4.partial").mkdir(parents=True)
    (run.references / DIGESTS["a"]).mkdir(parents=True)
    assert prorl("prune", run.path).exit_code == 0
    assert left(run) == {"a"}


def test_runs_are_listed_with_their_state_and_disk(run: RunFolder) -> None:
    done = Condition(
        type=ConditionType.SUCCEEDED, status=ConditionStatus.TRUE, reason="Succeeded", last_transition_time=1.0
    )
    status = JobStatus(step=12, total_steps=12, attempt=1, updated=1.0, last_accuracy="0.510", conditions=(done,))
    run.status.write_text(status.model_dump_json())
    other = RunFolder(run.path.parent / "other")
    other.create()
    begin(other, "text", manifest_folder=run.path, model=None)
    (run.path.parent / "no-run").mkdir()
    lines = prorl("ls", run.path.parent).output.splitlines()
    assert [line.split()[0] for line in lines] == ["run", "other", "demo"]
    assert lines[2].split()[1:4] == ["finished", "12/12", "0.510"]
    assert lines[2].split()[-1] == "kB"
    with locked(run):
        assert "running" in prorl("ls", run.path.parent).output
    assert prorl("ls", run.path.parent / "none").exit_code == 1
    assert "no runs in" in prorl("ls", run.path.parent / "no-run").output


def test_files_with_two_names_count_once(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"x" * 100_000)
    (tmp_path / "two").hardlink_to(tmp_path / "one")
    assert 100_000 <= size_of(tmp_path) < 150_000
    assert [size_text(size) for size in (4096, 12_000_000, 1_640_000_000)] == ["4 kB", "12 MB", "1.6 GB"]


def test_the_version_is_told() -> None:
    result = prorl("--version")
    assert result.exit_code == 0
    assert result.output.startswith("prorl ")
    assert prorl("ls", "--help").exit_code == 0
