"""Where an attempt begins, with an engine that only notes what it is told."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from prorl_api.errors import CheckpointError, SpecError
from prorl_api.run_folder import RunFolder
from prorl_api.spec.job import ProRLJobSpec
from prorl_trainer.engines.ranks import RankedEngine
from prorl_trainer.resume import check_init_from, initial_weights, resume_or_begin
from prorl_trainer.storage.checkpoints import BestPolicy, CheckpointStore, LearnerState, LineageEntry
from prorl_trainer.storage.references import ReferenceStore
from tests.unit.trainer.trainer_builders import begin_attempt, make_spec, make_state


class FakeEngine:
    def __init__(self) -> None:
        self.calls: list[tuple[str, Path | None]] = []

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        yield "w", torch.ones(3)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"w": (3,)}

    def load(self, folder: Path) -> None:
        self.calls.append(("load", folder))

    def reference_from_file(self, file: Path) -> None:
        self.calls.append(("reference", file))

    def clear_optimizer(self) -> None:
        self.calls.append(("clear", None))


def other_run(folder: Path, **fields: Any) -> Path:
    """A run with one checkpoint at step 4, its reference and its best policy."""
    fence = begin_attempt(folder, 1)
    fence.run.references.mkdir()
    store = ReferenceStore(fence.run)
    reference = store.add([("w", torch.zeros(3))], attempt=1)
    best = store.add([("w", torch.full((3,), 2.0))], attempt=1)
    state = make_state(
        reference_digest=reference,
        lineage=(LineageEntry(digest=reference, since_step=0, trigger="base model"),),
        best=BestPolicy(step=2, accuracy=0.5, digest=best),
        **fields,
    )
    CheckpointStore(fence).write(state, lambda path: None)
    return folder


def begin(folder: Path, spec: ProRLJobSpec, attempt: int = 1) -> tuple[LearnerState, FakeEngine]:
    fence, engine = begin_attempt(folder, attempt), FakeEngine()
    fence.run.references.mkdir(exist_ok=True)
    state = resume_or_begin(
        spec,
        attempt=attempt,
        num_ranks=1,
        engine=cast(RankedEngine, engine),
        checkpoints=CheckpointStore(fence),
        references=ReferenceStore(fence.run),
    )
    return state, engine


def taking(run: Path, checkpoint: str = "last", **fields: Any) -> ProRLJobSpec:
    return make_spec(initFrom={"run": str(run), "checkpoint": checkpoint, **fields})


def test_a_new_run_begins_at_the_base_model_which_is_its_reference(tmp_path: Path) -> None:
    state, engine = begin(tmp_path, make_spec())
    assert (state.step, state.next_prompt_index, state.applied_resets) == (0, 0, ())
    assert [entry.trigger for entry in state.lineage] == ["base model"]
    assert state.unrecorded == {}, "the validation before the first step is still to come"
    assert ReferenceStore(RunFolder(tmp_path)).verified_file(state.reference_digest)
    assert engine.calls == []


def test_the_next_attempt_continues_at_the_checkpoint(tmp_path: Path) -> None:
    other_run(tmp_path, unrecorded=None)
    state, engine = begin(tmp_path, make_spec(), attempt=2)
    assert (state.step, state.attempt, state.next_prompt_index) == (4, 2, 8)
    reference = RunFolder(tmp_path).references / state.reference_digest / "model.safetensors"
    assert engine.calls == [
        ("load", RunFolder(tmp_path).checkpoint(1, 4) / "engine"),
        ("reference", reference),
    ]


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([("w", torch.zeros(4))], "w has shape 4, and a model in which it has shape 3"),
        ([("w", torch.zeros(3, 1))], "w has shape 3x1, and a model in which it has shape 3"),
        ([("v", torch.zeros(3)), ("w", torch.zeros(3))], "v has shape 3, and a model in which it has no place"),
        ([("x", torch.zeros(3))], "w has no place, and a model in which it has shape 3"),
    ],
)
@pytest.mark.parametrize("own", [True, False], ids=["its own checkpoint", "initFrom"])
def test_a_checkpoint_of_another_model_is_refused_before_anything_is_loaded(
    tmp_path: Path, own: bool, weights: list[tuple[str, Tensor]], said: str
) -> None:
    fence, engine = begin_attempt(tmp_path / "other", 1), FakeEngine()
    fence.run.references.mkdir()
    digest = ReferenceStore(fence.run).add(weights, attempt=1)
    lineage = (LineageEntry(digest=digest, since_step=0, trigger="base model"),)
    CheckpointStore(fence).write(make_state(reference_digest=digest, lineage=lineage), lambda path: None)
    folder = tmp_path / ("other" if own else "new")
    fence = begin_attempt(folder, 2)
    fence.run.references.mkdir(exist_ok=True)
    with pytest.raises(SpecError, match=f"{'spec.model.path' if own else 'spec.initFrom.run'}: got .*{said}"):
        resume_or_begin(
            make_spec() if own else taking(tmp_path / "other"),
            attempt=2,
            num_ranks=1,
            engine=cast(RankedEngine, engine),
            checkpoints=CheckpointStore(fence),
            references=ReferenceStore(fence.run),
        )
    assert engine.calls == []
    assert CheckpointStore(begin_attempt(tmp_path / "other", 3)).current() is not None, "nothing is lost"


@pytest.mark.parametrize("checkpoint", ["last", "step-4"])
@pytest.mark.parametrize("optimizer", [False, True])
def test_init_from_takes_policy_reference_and_lineage_and_the_optimizer_if_asked(
    tmp_path: Path, checkpoint: str, optimizer: bool
) -> None:
    other = other_run(tmp_path / "other")
    state, engine = begin(tmp_path / "new", taking(other, checkpoint, optimizer=optimizer))
    assert [name for name, _ in engine.calls] == ["load", *(["clear"] if not optimizer else []), "reference"]
    assert state.optimizer_steps_since_clear == (4 if optimizer else 0)
    assert state.step == 0
    assert [entry.trigger for entry in state.lineage] == ["base model", f"continues {other}"]
    assert (RunFolder(tmp_path / "new").references / state.reference_digest).is_dir()


def test_init_from_best_builds_the_engine_with_the_best_weights(tmp_path: Path) -> None:
    other = other_run(tmp_path / "other")
    spec = taking(other, "best")
    assert initial_weights(spec.init_from) is not None
    assert initial_weights(taking(other).init_from) is None
    _, engine = begin(tmp_path / "new", spec)
    assert "load" not in [name for name, _ in engine.calls]


@pytest.mark.parametrize(
    ("fields", "options", "message"),
    [
        ({"engine": "deepspeed"}, {}, r"spec.learner.engine: got plain; .* made with deepspeed.*checkpoint: best"),
        ({"precision": "bfloat16"}, {}, r"spec.learner.precision: got float32; the checkpoint was made with bfloat16"),
        ({}, {"checkpoint": "step-9"}, r"initFrom.checkpoint: got step-9; one of step-4"),
        ({}, {"checkpoint": "best", "optimizer": True}, r"spec.initFrom.optimizer: got true; false with"),
    ],
)
def test_what_cannot_be_taken_over_is_named(
    tmp_path: Path, fields: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    other = other_run(tmp_path / "other", **fields)
    spec = make_spec(initFrom={"run": str(other), "checkpoint": "last", **options}, learner={"engine": "plain"})
    with pytest.raises(SpecError, match=message):
        begin(tmp_path / "new", spec)


def test_best_fits_every_engine(tmp_path: Path) -> None:
    other = other_run(tmp_path / "other", engine="deepspeed", precision="bfloat16", num_ranks=8)
    assert begin(tmp_path / "new", taking(other, "best"))[0].step == 0


def damage_current(run: RunFolder) -> None:
    run.current.write_text("{attempt")


def no_text_in_current(run: RunFolder) -> None:
    run.current.write_bytes(b"\xff\xfe")


def current_is_a_folder(run: RunFolder) -> None:
    run.current.unlink()
    run.current.mkdir()


def current_names_what_is_gone(run: RunFolder) -> None:
    shutil.rmtree(run.attempts)


def damage_state(run: RunFolder) -> None:
    (run.checkpoint(1, 4) / "checkpoint.json").write_text("{")


def no_text_in_state(run: RunFolder) -> None:
    (run.checkpoint(1, 4) / "checkpoint.json").write_bytes(b"\xff\xfe")


def references_are_gone(run: RunFolder) -> None:
    shutil.rmtree(run.references)


@pytest.mark.parametrize(
    "damage",
    [
        damage_current,
        no_text_in_current,
        current_is_a_folder,
        current_names_what_is_gone,
        damage_state,
        no_text_in_state,
        references_are_gone,
    ],
)
@pytest.mark.parametrize("checkpoint", ["last", "best"])
def test_a_damaged_run_to_continue_is_a_fault_with_path_and_remedy(
    tmp_path: Path, damage: Callable[[RunFolder], None], checkpoint: str
) -> None:
    other = other_run(tmp_path / "other")
    damage(RunFolder(other))
    with pytest.raises(SpecError) as caught:
        check_init_from(taking(other, checkpoint))
    (fault,) = caught.value.faults
    assert fault.path == "spec.initFrom.run"
    assert "copy it again" in fault.want


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"spec.initFrom.run: got .*nowhere; a run folder with at least one checkpoint"):
        begin(tmp_path / "new", taking(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("sections", "path"),
    [
        ({"seed": 4}, "spec.seed: got 4; the checkpoint was made with 3"),
        ({"learner": {"precision": "bfloat16"}}, "spec.learner.precision: got bfloat16"),
    ],
)
def test_settings_that_the_checkpoint_does_not_allow_are_named(
    tmp_path: Path, sections: dict[str, Any], path: str
) -> None:
    other_run(tmp_path)
    with pytest.raises(SpecError, match=path):
        begin(tmp_path, make_spec(**sections), attempt=2)


DEEPSPEED = {"engine": "deepspeed", "zero_stage": 2}


@pytest.mark.parametrize("own", [True, False], ids=["its own checkpoint", "initFrom"])
@pytest.mark.parametrize("ranks", [1, 8])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_checkpoint_of_other_ranks_and_another_zero_stage_is_taken_and_the_new_ones_are_noted(
    tmp_path: Path, stage: int, ranks: int, own: bool
) -> None:
    other_run(tmp_path / "other", **DEEPSPEED, num_ranks=ranks)
    learner, init = {"engine": "deepspeed", "deepspeed": {"zeroStage": stage}}, {"run": str(tmp_path / "other")}
    sections = {} if own else {"initFrom": {**init, "checkpoint": "last"}}
    spec = make_spec(learner=learner, **sections)
    state, engine = begin(tmp_path / ("other" if own else "new"), spec, attempt=2)
    assert (state.zero_stage, state.num_ranks) == (stage, 1)
    assert engine.calls[0][0] == "load"


@pytest.mark.parametrize("zero_stage", [2, None], ids=["as written", "by an earlier version"])
def test_the_same_zero_stage_goes_on_and_is_noted(tmp_path: Path, zero_stage: int | None) -> None:
    other_run(tmp_path, **{**DEEPSPEED, "zero_stage": zero_stage})
    state, engine = begin(tmp_path, make_spec(learner={"engine": "deepspeed"}), attempt=2)
    assert state.zero_stage == 2
    assert engine.calls[0][0] == "load"


def test_what_a_host_holds_is_no_part_of_a_checkpoint(tmp_path: Path) -> None:
    other_run(tmp_path, **DEEPSPEED)
    learner = {"engine": "deepspeed", "deepspeed": {"offloadOptimizer": True}, "gradientCheckpointing": True}
    assert begin(tmp_path, make_spec(learner=learner), attempt=2)[0].step == 4


def test_a_checkpoint_without_its_reference_is_refused(tmp_path: Path) -> None:
    other_run(tmp_path)
    for folder in RunFolder(tmp_path).references.iterdir():
        (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        begin(tmp_path, make_spec(), attempt=2)
