"""What only this machine can tell about a manifest: paths, models, data files, task names; and paths made absolute."""

from __future__ import annotations

import glob
import importlib.util
import os
import re
import warnings
from pathlib import Path

from prorl_api.custom_rewards import read_reward, reward_path, with_reward_path
from prorl_api.errors import Fault, SpecError
from prorl_api.model.config import length_faults
from prorl_api.model.folder import look_at
from prorl_api.model.head_sizes import cpu_head_sizes, head_size_faults
from prorl_api.spec.data import DataSource
from prorl_api.spec.job import ProRLJob
from prorl_cli.local.gpus import find_gpus
from prorl_cli.local.packages import missing_packages

_DECLARATION = re.compile(r"""^DATASET_NAME = ["']([a-z0-9_]+)["']""", re.MULTILINE)


def with_absolute_paths(job: ProRLJob, manifest_folder: Path) -> ProRLJob:
    """Return the job with every path of this machine absolute; a model that is no path here stays a hub name."""
    spec = job.spec
    updates: dict[str, object] = {}
    model = spec.model.path
    if not looks_like_hub_name(model, manifest_folder):
        updates["model"] = spec.model.model_copy(update={"path": _absolute(model, manifest_folder)})
    if spec.init_from is not None:
        run = _absolute(spec.init_from.run, manifest_folder)
        updates["init_from"] = spec.init_from.model_copy(update={"run": run})
    sources = tuple(_with_absolute_files(source, manifest_folder) for source in spec.data.sources)
    updates["data"] = spec.data.model_copy(update={"sources": sources})
    return job.model_copy(update={"spec": spec.model_copy(update=updates)})


def _with_absolute_files(source: DataSource, folder: Path) -> DataSource:
    updates: dict[str, object] = {}
    if source.jsonl is not None:
        updates["jsonl"] = _absolute(source.jsonl, folder)
    if source.reward is not None:
        updates["reward"] = with_reward_path(source.reward, _absolute(reward_path(source.reward), folder))
    return source.model_copy(update=updates)


def looks_like_hub_name(path: str, manifest_folder: Path) -> bool:
    """`owner/name` or `name`, with no such folder here."""
    if path.startswith(("/", ".", "~")) or path.count("/") > 1 or path.endswith("/"):
        return False
    return not Path(_absolute(path, manifest_folder)).exists()


def check_machine(job: ProRLJob, *, has_checkpoint: bool = False) -> None:
    """Check a job with absolute paths against this machine.

    Args:
        job: The job.
        has_checkpoint: The run goes on from a checkpoint of its own, and needs no other run any more.

    Raises:
        SpecError: With every fault.
    """
    faults = [*missing_packages(job.spec), *_model_faults(job), *([] if has_checkpoint else _init_faults(job))]
    for position, source in enumerate(job.spec.data.sources):
        faults += _source_faults(source, f"spec.data.sources[{position}]")
        faults += _reward_faults(source, f"spec.data.sources[{position}]")
    if faults:
        raise SpecError(faults, source=f"job {job.metadata.name} on this machine")


def _absolute(path: str, folder: Path) -> str:
    expanded = Path(path).expanduser()
    # Not resolved: a link to a model is a name that people recognise.
    return str(tidy(expanded if expanded.is_absolute() else folder / expanded))


def tidy(path: Path) -> Path:
    """Return a path without `..` within it, where it leads to the same place: behind a link it need not."""
    plain = Path(os.path.normpath(path))
    return plain if path.exists() and plain.exists() and plain.samefile(path) else path


def _model_faults(job: ProRLJob) -> list[Fault]:
    path = job.spec.model.path
    if not Path(path).is_absolute():
        return []
    found = look_at(Path(path))
    faults = list(found.faults)
    if found.config is not None:
        spec = job.spec
        faults += length_faults(found.config, path, spec.max_sequence_tokens, spec.rollout.max_prompt_tokens)
        if not find_gpus(os.environ):
            faults += head_size_faults(found.config, path, cpu_head_sizes())
    return faults


def _init_faults(job: ProRLJob) -> list[Fault]:
    init = job.spec.init_from
    if init is None:
        return []
    folder = Path(init.run)
    if not (folder / "CURRENT").exists():
        want = "the folder of a run that has written a checkpoint"
        return [Fault(path="spec.initFrom.run", got=f"{init.run}, which has no CURRENT", want=want)]
    return []


def _reward_faults(source: DataSource, where: str) -> list[Fault]:
    if source.reward is None:
        return []
    try:
        read_reward(source.reward, Path(), f"{where}.reward")
    except SpecError as error:
        return list(error.faults)
    return []


def _source_faults(source: DataSource, where: str) -> list[Fault]:
    if source.jsonl is not None:
        if not glob.glob(source.jsonl, recursive=True):
            want = "a path or glob of JSONL files, relative to the manifest's folder"
            return [Fault(path=f"{where}.jsonl", got=f"{source.jsonl}, which matches no file", want=want)]
        return []
    if source.reasoning_gym is None or importlib.util.find_spec("reasoning_gym") is None:
        return []
    declared = _declared_tasks()
    unknown = {task.name for task in source.reasoning_gym.tasks} - declared
    known = _registered_tasks() if unknown else declared
    return [
        Fault(path=f"{where}.reasoningGym.tasks[{index}].name", got=task.name, want=_near(task.name, known))
        for index, task in enumerate(source.reasoning_gym.tasks)
        if task.name not in known
    ]


def _declared_tasks() -> frozenset[str]:
    """Find the task names in the library's source: in a moment, where importing it takes seconds."""
    spec = importlib.util.find_spec("reasoning_gym")
    folders = spec.submodule_search_locations if spec is not None else None
    files = [file for folder in folders or () for file in Path(folder).rglob("*.py")]
    return frozenset(name for file in files for name in _DECLARATION.findall(file.read_text(encoding="utf-8")))


def _registered_tasks() -> frozenset[str]:
    """Return the task names of the imported library."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of its dependencies warn when they are compiled
        import reasoning_gym
        from reasoning_gym.factory import DATASETS

    assert reasoning_gym is not None
    return frozenset(DATASETS)


def _near(name: str, known: frozenset[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return f"a reasoning-gym task; did you mean `{near[0]}`?" if near else "a task of the installed reasoning-gym"
