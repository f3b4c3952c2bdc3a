"""What `prorl validate` looks at beyond the manifest: the model and the data, as the learner will at its start.

It says what it has seen, what it has not, and what the run will take.
"""

from __future__ import annotations

import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from prorl_api.errors import CheckpointError, Fault, SpecError
from prorl_api.manifest import ManifestFaults
from prorl_api.model.folder import look_at
from prorl_api.spec.job import ProRLJob, ProRLJobSpec
from prorl_api.spec.merge import on_one_machine
from prorl_api.spec.run import ValidationSpec
from prorl_cli.local.folder import with_model
from prorl_cli.local.job import base_folder
from prorl_cli.local.machine import check_machine, with_absolute_paths
from prorl_cli.local.packages import missing_packages
from prorl_cli.program import command
from prorl_control.estimate import estimate
from prorl_control.few_rows import few_rows
from prorl_control.forecast.fitting import size_text

MAX_ROWS = 20_000
"""Rows of a source that are read: some seconds. The learner reads all."""
_HUB_SECONDS = 5.0
_LENGTH = "spec.rollout.maxCompletionTokens"
"""Where a job whose sequences are too long for its model is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """Lines for people."""

    checked: tuple[str, ...]
    unchecked: tuple[str, ...]
    forecast: tuple[str, ...]
    notices: tuple[str, ...] = ()
    """Of what the data is too little for."""


def look(job: ProRLJob, manifest: Path) -> Looked:
    """Judge a job whose paths are absolute on this machine, then open its model and data: all faults in one round.

    Args:
        job: The job.
        manifest: Where it was read from.

    Raises:
        SpecError: With every fault that `prorl run` would find, and the learner at its start.
    """
    faults: list[Fault] = []
    try:
        check_machine(job)
    except SpecError as error:
        faults += error.faults
        if missing_packages(job.spec):
            raise
    try:
        looked = _opened(job, manifest)
    except SpecError as error:
        faults += _unsaid(job, error.faults, faults)
    if faults:
        raise SpecError(faults, source=f"job {job.metadata.name} on this machine, with its model and its data,")
    return looked


def look_despite(error: ManifestFaults, manifest: Path, model: str | None) -> list[Fault]:
    """Judge model and data of a manifest that has faults of its own, as far as they can be told without what is wrong.

    Args:
        error: What is wrong.
        manifest: Where the job was read from.
        model: `--model`, if it was given.

    Returns:
        Faults beside those of `error`.
    """
    if not isinstance(error.rest, ProRLJob):
        return []
    rest = error.rest if model is None else with_model(error.rest, model)
    found: list[Fault] = []
    try:
        rest = on_one_machine(rest)
    except ManifestFaults as again:
        found += again.faults
        rest = again.rest if isinstance(again.rest, ProRLJob) else rest
    except SpecError as refused:
        return [*refused.faults]  # without the overlay nobody can say where files are
    named = [fault.path for fault in (*error.faults, *found)]
    if any(path.startswith("spec.local") for path in named):
        return found  # it may say where files are
    job = with_absolute_paths(_without_faulty(rest, named), base_folder(manifest.resolve()))
    try:
        look(job, manifest)
    except SpecError as unfit:
        found += unfit.faults
    except CheckpointError as damaged:
        found.append(Fault(path="spec.initFrom.run", got=str(damaged), want="the folder of a run that can be read"))
    has_lengths = not _name_lengths(named)
    return [fault for fault in found if fault not in error.faults and (has_lengths or fault.path != _LENGTH)]


def _without_faulty(job: ProRLJob, named: Sequence[str]) -> ProRLJob:
    """Return the job such that what is wrong with it, at the places `named`, lets nothing else look wrong."""
    spec = job.spec
    # What is validated, and in which stage, may name sources that are not there.
    updates: dict[str, object] = {
        "validation": ValidationSpec(),
        "schedule": spec.schedule.model_copy(update={"stages": ()}),
    }
    if any(path.startswith("spec.data") for path in named):
        updates["data"] = spec.data.model_copy(update={"sources": ()})
    if _name_lengths(named):  # they may be defaults that nobody asked for: then no prompt is too long
        updates["rollout"] = spec.rollout.model_copy(update={"max_prompt_tokens": sys.maxsize})
    return job.model_copy(update={"spec": spec.model_copy(update=updates)})


def _name_lengths(paths: Sequence[str]) -> bool:
    return any(path.startswith(("spec.rollout", "spec.schedule")) for path in paths)


def _unsaid(job: ProRLJob, found: Sequence[Fault], said: Sequence[Fault]) -> list[Fault]:
    """Return the faults at places that nothing was said of; the learner names sources where a manifest counts them."""
    numbers: dict[str, str] = {}
    for number, source in enumerate(job.spec.data.sources):
        numbers[f"sources[{source.name}]"] = f"sources[{number}]"
        for index, task in enumerate(source.reasoning_gym.tasks if source.reasoning_gym is not None else ()):
            numbers[f"sources[{number}].reasoningGym.tasks[{task.name}]"] = (
                f"sources[{number}].reasoningGym.tasks[{index}]"
            )
    places = {fault.path for fault in said}
    return [fault for fault in found if _counted(fault.path, numbers) not in places]


def _counted(path: str, numbers: Mapping[str, str]) -> str:
    for name, number in numbers.items():
        path = path.replace(name, number)
    return path


def _opened(job: ProRLJob, manifest: Path) -> Looked:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries that are imported for the first time
        from prorl_trainer.preflight import Unwritten, prepare
        from prorl_trainer.setup import quiet_libraries

        quiet_libraries()
        model, faults = find_model(job.spec)
        try:
            found = prepare(job.spec, model, Path(), Unwritten(), has_checkpoint=False, max_rows=MAX_ROWS)
        except SpecError as error:
            faults = [*error.faults, *faults]
    if faults:
        raise SpecError(faults, source=f"job {job.metadata.name}, its model and its data")
    partial = found.prompts.unread_sources()
    return Looked(
        checked=tuple(_checked(job.spec, model)),
        unchecked=tuple(_unchecked(job.spec, model, partial, manifest)),
        forecast=tuple(_forecast(job.spec, model)),
        notices=tuple(str(notice) for notice in few_rows(job.spec, found.prompts.num_rows())),
    )


def find_model(spec: ProRLJobSpec) -> tuple[Path | None, list[Fault]]:
    """Return the model's folder if it is on this machine; a fault if it is neither here nor to be had."""
    if Path(spec.model.path).is_absolute():
        return Path(spec.model.path), []
    from huggingface_hub import HfApi, snapshot_download

    try:
        return Path(snapshot_download(spec.model.path, local_files_only=True)), []
    except (OSError, ValueError):
        pass  # not downloaded yet
    try:
        HfApi().model_info(spec.model.path, timeout=_HUB_SECONDS)
    except Exception as error:  # noqa: BLE001 - whatever the client and its transport raise means the same: not to be had
        got = f"{spec.model.path}, which is no folder here and which no hub gives ({type(error).__name__})"
        want = "a folder in Hugging Face format, or a hub name while the hub is reachable"
        return None, [Fault(path="spec.model.path", got=got, want=want)]
    return None, []


def _checked(spec: ProRLJobSpec, model: Path | None) -> Iterator[str]:
    if model is not None:
        yield "the model's files are whole, its tokenizer fits it, its sequences are long enough"
        if any(source.prompt.chat for source in spec.data.sources):
            yield "its chat template makes a prompt of every source's questions"
    read = sum(source.jsonl is not None for source in spec.data.sources)
    made = len(spec.data.sources) - read
    if read:
        yield f"rows of {read} source{'s' if read > 1 else ''} of files: form, length, held-out rows"
    if made:
        yield f"tasks of {made} generated source{'s' if made > 1 else ''}, and their held-out items"


def _unchecked(spec: ProRLJobSpec, model: Path | None, partial: list[str], manifest: Path) -> Iterator[str]:
    if model is None:
        yield "the model, which is not on this machine yet: it is downloaded when the run starts"
    if partial:
        yield f"rows beyond the first {MAX_ROWS} of {', '.join(partial)}"
    if any(source.jsonl is not None for source in spec.data.sources):
        yield f"whether the answers verify: `{command('data', 'check', '--manifest', manifest)}` judges them"
    yield "whether vLLM and the learner compute the model alike: they prove it to each other when the run starts"


def _forecast(spec: ProRLJobSpec, model: Path | None) -> Iterator[str]:
    parameters = look_at(model).num_parameters if model is not None else None
    if parameters is None:
        yield "unknown: the size of the model is not known"
        return
    found = estimate(spec, parameters)
    yield (
        f"memory: {size_text(found.training)} training state ({found.training / parameters:.3g} bytes a parameter, "
        f"{parameters / 1e6:.1f} M), {size_text(found.reference)} reference, {size_text(found.served)} in rollout "
        f"servers, {size_text(found.kv_cache)} key-value cache on a CPU; with activations and libraries more "
        f"(`prorl plan`). {size_text(psutil.virtual_memory().available)} are free"
    )
    yield (
        f"disk: up to {size_text(found.disk)}: {spec.checkpoint.keep + 1} checkpoints of "
        f"{size_text(found.checkpoint)}, references {size_text(found.references)} and "
        f"{size_text(found.one_reference)} more each reset. {size_text(shutil.disk_usage(Path()).free)} are free here"
    )
