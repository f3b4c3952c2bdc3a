"""One export: which checkpoint, which base model, and everything that goes into the folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prorl_api.errors import CheckpointError, Fault, SpecError
from prorl_api.export_record import RECORD_FILE, ExportRecord, TrainedSource
from prorl_api.manifest import read_job
from prorl_api.metrics import surviving
from prorl_api.run_folder import RunFolder
from prorl_api.spec.job import ProRLJob
from prorl_trainer.export.card import CardFacts, model_card
from prorl_trainer.export.policy_weights import Weights, policy_weights
from prorl_trainer.export.pretrained import loaded_model, write_model
from prorl_trainer.export.whole_folder import whole_folder
from prorl_trainer.model_folder import load_tokenizer, resolve_model
from prorl_trainer.storage.checkpoints import LineageEntry
from prorl_trainer.storage.choice import ChosenCheckpoint, choose_checkpoint
from prorl_trainer.storage.identity import recorded_identity
from prorl_trainer.storage.lines import LineFile


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedPolicy:
    """A policy of a run, found and described, its weights not yet read."""

    run: RunFolder
    chosen: ChosenCheckpoint
    base: Path
    """Folder of the base model."""
    job: ProRLJob | None
    record: ExportRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A policy that can be asked."""

    model: Any
    tokenizer: Any
    record: ExportRecord | None
    """None: the folder is not one that was exported."""


def find_policy(run: RunFolder, checkpoint: str, model: str | None = None) -> TrainedPolicy:
    """Return the policy of a checkpoint.

    Args:
        run: The run's folder, of one machine or of a cluster's volume.
        checkpoint: `best`, `last` or `step-N`.
        model: The base model's folder or name; None: as the run's manifest says.

    Raises:
        CheckpointError: There is no such checkpoint.
        SpecError: The base model, or the manifest that names it, is missing or cannot be read.
    """
    if not run.path.is_dir():
        raise CheckpointError(f"{run.path} is no folder; name a run folder, such as prorl run makes under runs/")
    chosen = choose_checkpoint(run, checkpoint)
    job = _manifest(run, is_needed=model is None)
    named = model or (job.spec.model.path if job is not None else "")
    try:
        base = resolve_model(named, Path.cwd() if model is not None else _manifest_folder(run))
    except SpecError as error:
        remedy = "put it back, or name another folder with the same model: --model FOLDER"
        faults = [Fault(path="the base model", got=fault.got, want=f"{fault.want}; {remedy}") for fault in error.faults]
        raise SpecError(faults, source="the export") from error
    return describe_policy(run, chosen, job, base, named)


def describe_policy(
    run: RunFolder, chosen: ChosenCheckpoint, job: ProRLJob | None, base: Path, named: str
) -> TrainedPolicy:
    """Return the policy of a checkpoint that was found; `named` is how people call the model in `base`."""
    return TrainedPolicy(run=run, chosen=chosen, base=base, job=job, record=_record(run, chosen, job, named))


def export(policy: TrainedPolicy, output: Path, *, may_replace: bool = False) -> ExportRecord:
    """Write the policy as a Hugging Face folder, whole or not at all.

    Raises:
        OutputError: The folder is taken or cannot be written.
        CheckpointError, SpecError: The run or the base model does not give what is needed.
    """
    with whole_folder(output, may_replace=may_replace) as partial:
        weights = policy_weights(policy.run, policy.chosen)
        write_model(partial, policy.base, weights)
        (partial / "README.md").write_text(model_card(_facts(policy, weights)), encoding="utf-8")
        text = policy.record.model_dump_json(indent=2, by_alias=True)
        (partial / RECORD_FILE).write_text(text + "\n", encoding="utf-8")
    return policy.record


def ask_policy(policy: TrainedPolicy) -> Asked:
    """Return the policy in memory, without a folder of its own."""
    weights = policy_weights(policy.run, policy.chosen)
    model = loaded_model(policy.base, weights)
    return Asked(model=model, tokenizer=load_tokenizer(policy.base), record=policy.record)


def _manifest(run: RunFolder, *, is_needed: bool) -> ProRLJob | None:
    """Return the job as it ran, where its manifest is there and this version reads it."""
    found = next((path for path in (run.effective_manifest, run.manifest) if path.is_file()), None)
    try:
        if found is not None:
            return read_job(found)
        want = "the manifest of the run; without it name the base model: --model FOLDER"
        error = SpecError([Fault(path=str(run.path), got="no effective.json and no job.yaml", want=want)])
    except SpecError as unreadable:
        want = "a manifest that this version reads: use the version that wrote it, or name the base model: --model"
        error = SpecError(
            [*unreadable.faults, Fault(path=str(found), got="these faults", want=want)], source=str(found)
        )
    if is_needed:
        raise error
    return None


def _manifest_folder(run: RunFolder) -> Path:
    """Return what relative paths in `job.yaml` are relative to; those in `effective.json` are absolute."""
    identity = recorded_identity(run)
    return Path(identity.manifest_folder) if identity is not None and identity.manifest_folder else run.path


def _record(run: RunFolder, chosen: ChosenCheckpoint, job: ProRLJob | None, base: str) -> ExportRecord:
    identity, spec = recorded_identity(run), job.spec if job is not None else None
    lines = [line for line in _timeline(run) if line["step"] == chosen.step and "validation_accuracy" in line]
    sources = spec.data.sources if spec is not None else ()
    return ExportRecord(
        job=job.metadata.name if job is not None else run.path.resolve().name,
        run_uid=identity.uid if identity is not None else "",
        checkpoint=chosen.name,
        step=chosen.step,
        accuracy=lines[-1]["validation_accuracy"] if lines else None,
        base_model=base,
        digest=chosen.best_digest or "",
        sources=tuple(TrainedSource(name=source.name, prompt=source.prompt) for source in sources),
        max_completion_tokens=spec.rollout.max_completion_tokens if spec is not None else None,
        stop=spec.rollout.stop if spec is not None else (),
    )


def _timeline(run: RunFolder) -> list[dict[str, Any]]:
    return surviving(LineFile(run.metrics).read())


def _facts(policy: TrainedPolicy, weights: Weights) -> CardFacts:
    step, named = policy.chosen.step, policy.record.base_model
    sizes = {tensor.data_ptr(): tensor.numel() for tensor in weights.values()}  # tied weights count once
    is_on_hub = named.count("/") == 1 and not Path(named).exists() and not named.startswith((".", "/"))
    return CardFacts(
        record=policy.record,
        spec=policy.job.spec if policy.job is not None else None,
        lines=[line for line in _timeline(policy.run) if line["step"] <= step],
        lineage=_lineage_until(policy.chosen),
        num_parameters=sum(sizes.values()),
        base_name=named if is_on_hub else policy.base.name,
        is_on_hub=is_on_hub,
    )


def _lineage_until(chosen: ChosenCheckpoint) -> list[LineageEntry]:
    """Return the references up to the policy's step; a run that continues another one begins with that one's."""
    lineage = list(chosen.state.lineage)
    while len(lineage) > 1 and lineage[-1].since_step >= max(chosen.step, 1):
        lineage.pop()  # in force only after the policy's last step
    return lineage
