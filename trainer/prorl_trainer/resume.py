"""Where an attempt begins: at `CURRENT`, at another run's policy, or at the base model."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path

from prorl_api.errors import CheckpointError, Fault, SpecError
from prorl_api.model.weight_files import header
from prorl_api.run_folder import RunFolder
from prorl_api.spec.job import ProRLJobSpec
from prorl_api.spec.merge import ever_measures_kl
from prorl_api.spec.roles import InitFrom
from prorl_api.spec.values import EngineKind
from prorl_trainer.engines.ranks import RankedEngine
from prorl_trainer.storage.checkpoints import CheckpointStore, LearnerState, LineageEntry
from prorl_trainer.storage.choice import ChosenCheckpoint, UnknownCheckpointError, choose_checkpoint
from prorl_trainer.storage.fence import Fence
from prorl_trainer.storage.references import ReferenceStore

_logger = logging.getLogger(__name__)


def spec_revision(spec: ProRLJobSpec) -> str:
    """Return the sha256 of the spec's canonical JSON."""
    return hashlib.sha256(spec.model_dump_json(by_alias=True).encode()).hexdigest()


def resume_or_begin(
    spec: ProRLJobSpec,
    *,
    attempt: int,
    num_ranks: int,
    engine: RankedEngine,
    checkpoints: CheckpointStore,
    references: ReferenceStore,
) -> LearnerState:
    """Bring the engine to where the run stands; return the state that goes with it.

    Raises:
        CheckpointError: What the run needs is missing or damaged.
        SpecError: The checkpoint was made with settings that cannot be changed.
    """
    revision = spec_revision(spec)
    current = checkpoints.current()
    if current is not None:
        state = checkpoints.read_state(current)
        _raise_if_incompatible(state, spec)
        reference = references.verified_file(state.reference_digest)
        _raise_if_other_model(engine, reference, "spec.model.path", "the model that the run began with; another one")
        engine.load(checkpoints.engine_folder(current))
        engine.reference_from_file(reference)
        _logger.info("resumed", extra={"step": state.step, "from_attempt": current.attempt})
        return replace(state, attempt=attempt, spec_revision=revision, num_ranks=num_ranks, zero_stage=zero_stage(spec))
    optimizer_steps = 0
    if spec.init_from is not None:
        other, chosen = _other_run(spec.init_from)
        _raise_if_foreign(chosen.state, spec)
        lineage = _take_over(spec.init_from, other, chosen, engine, references, attempt)
        optimizer_steps = chosen.state.optimizer_steps_since_clear if spec.init_from.optimizer else 0
    else:
        digest = references.add(engine.weights(), attempt=attempt)
        if not ever_measures_kl(spec):  # there is no reference yet; an edit of the manifest may ask for one later
            engine.reference_from_file(references.file(digest))
        lineage = (LineageEntry(digest=digest, since_step=0, trigger="base model"),)
    return LearnerState(
        step=0,
        seed=spec.seed,
        next_prompt_index=0,
        optimizer_steps_since_clear=optimizer_steps,
        stage="",
        reference_digest=lineage[-1].digest,
        lineage=lineage,
        engine=spec.learner.engine.value,
        precision=spec.learner.precision.value,
        num_ranks=num_ranks,
        zero_stage=zero_stage(spec),
        unrecorded={},
        attempt=attempt,
        spec_revision=revision,
    )


def check_init_from(spec: ProRLJobSpec) -> None:
    """Judge whether the run that a job continues has what the job asks of it.

    Raises:
        SpecError: It has no such checkpoint, one of another engine or precision, or what is there is not whole.
    """
    if spec.init_from is not None:
        other, chosen = _other_run(spec.init_from)
        _raise_if_foreign(chosen.state, spec)
        references = ReferenceStore(other)
        try:
            for digest in {chosen.state.reference_digest, chosen.best_digest} - {None}:
                references.file(str(digest))
        except CheckpointError as error:
            raise _not_whole(error) from error


def initial_weights(init_from: InitFrom | None) -> Path | None:
    """Return the weights that policy and reference of a new run are built with, if not the base model's."""
    if init_from is None:
        return None
    other, chosen = _other_run(init_from)
    return ReferenceStore(other).verified_file(chosen.best_digest) if chosen.best_digest is not None else None


def _take_over(
    init_from: InitFrom,
    other: RunFolder,
    chosen: ChosenCheckpoint,
    engine: RankedEngine,
    references: ReferenceStore,
    attempt: int,
) -> tuple[LineageEntry, ...]:
    """Take the other run's policy into the engine and its reference into ours; the lineage continues."""
    state = chosen.state
    source = ReferenceStore(other).verified_file(state.reference_digest)
    _raise_if_other_model(engine, source, "spec.initFrom.run", "a run of the model in spec.model.path; another model")
    if chosen.best_digest is None:
        engine.load(CheckpointStore(Fence(other, chosen.current.attempt)).engine_folder(chosen.current))
    if not init_from.optimizer:
        engine.clear_optimizer()
    engine.reference_from_file(source)
    copied = references.copy(source, state.reference_digest, attempt=attempt)
    return (*state.lineage, LineageEntry(digest=copied, since_step=0, trigger=f"continues {init_from.run}"))


def _other_run(init_from: InitFrom) -> tuple[RunFolder, ChosenCheckpoint]:
    other = RunFolder(Path(init_from.run))
    try:
        return other, choose_checkpoint(other, init_from.checkpoint)
    except UnknownCheckpointError as error:
        raise SpecError([Fault(path=f"spec.initFrom.{error.field}", got=error.got, want=error.want)]) from error
    except CheckpointError as error:
        raise _not_whole(error) from error


def _not_whole(error: CheckpointError) -> SpecError:
    """Return a fault, not a failure: starting again would find the same."""
    want = "a whole run folder: copy it again, or name another run or checkpoint"
    return SpecError([Fault(path="spec.initFrom.run", got=f"a run that is damaged: {error}", want=want)])


def _raise_if_foreign(state: LearnerState, spec: ProRLJobSpec) -> None:
    """Refuse masters and moments of another engine or precision: whole weights fit every one."""
    assert spec.init_from is not None
    if spec.init_from.checkpoint != "best":
        _raise_if_different(_kind(state, spec), "keep it, or take initFrom.checkpoint: best")
    elif spec.init_from.optimizer:
        want = "false with `checkpoint: best`, of which only the weights are kept; or another checkpoint"
        raise SpecError([Fault(path="spec.initFrom.optimizer", got="true", want=want)])


def _raise_if_incompatible(state: LearnerState, spec: ProRLJobSpec) -> None:
    seed = {"spec.seed": (str(state.seed), str(spec.seed))}
    _raise_if_different(_kind(state, spec) | seed, "keep it, or start a run with initFrom and its checkpoint: best")
    if not state.lineage:
        raise CheckpointError("the checkpoint has no reference; it is damaged")


def _raise_if_other_model(engine: RankedEngine, reference: Path, path: str, want: str) -> None:
    """Refuse a run of a model with other parameters, before its weights are touched: its reference has them all."""
    theirs = {name: tuple(entry["shape"]) for name, entry in header(reference).items()}
    ours = engine.shapes()
    if theirs == ours:
        return
    name = min(name for name in {*theirs, *ours} if theirs.get(name) != ours.get(name))
    found, wanted = _shaped(theirs.get(name)), _shaped(ours.get(name))
    got = f"a checkpoint in which {name} has {found}, and a model in which it has {wanted}"
    fault = Fault(path=path, got=got, want=f"{want} needs a run of its own")
    raise SpecError([fault], source="the checkpoint")


def _shaped(shape: tuple[int, ...] | None) -> str:
    return "no place" if shape is None else f"shape {'x'.join(map(str, shape))}"


def zero_stage(spec: ProRLJobSpec) -> int | None:
    """Return the ZeRO stage of a spec's engine; None for an engine that has none."""
    return spec.learner.deepspeed.zero_stage if spec.learner.engine is EngineKind.DEEPSPEED else None


def _kind(state: LearnerState, spec: ProRLJobSpec) -> dict[str, tuple[str, str]]:
    """Pair what a checkpoint was written with and what would read it, by path. Ranks and ZeRO stage may differ."""
    return {
        "spec.learner.engine": (state.engine, spec.learner.engine.value),
        "spec.learner.precision": (state.precision, spec.learner.precision.value),
    }


def _raise_if_different(values: dict[str, tuple[str, str]], remedy: str) -> None:
    faults = [
        Fault(path=path, got=now, want=f"the checkpoint was made with {then}; {remedy}")
        for path, (then, now) in values.items()
        if then != now
    ]
    if faults:
        raise SpecError(faults, source="the checkpoint")
