"""The manifest while a run goes on: an edit is taken up as its fields' marks say, or explained and left alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path

from prorl_api.errors import SpecError
from prorl_api.journalled import sampled_again
from prorl_api.run_folder import RunFolder
from prorl_api.run_identity import RunIdentity
from prorl_api.spec.base import Change
from prorl_api.spec.edits import TAKEN_UP, FieldChange, changes, taken_up
from prorl_api.spec.job import ProRLJob
from prorl_cli.local.files import write_atomically
from prorl_cli.local.folder import refused_changes
from prorl_cli.local.job import LocalJob
from prorl_cli.local.observer import checkpoint_step

FIXED_HERE = frozenset({"spec.rollout.replicas", "spec.sandbox.replicas"})
"""Live in a cluster; one machine's members have their addresses for the whole start."""
_NEXT_START = "holds from the next start on"
_NEXT_STEP = "holds from the next step on"
_LENGTH = "spec.rollout.maxCompletionTokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What came of an edit."""

    messages: tuple[str, ...]
    is_refused: bool = False
    """The whole edit is left alone; the messages say why."""


class ManifestWatch:
    """Looks at the manifest's file; keeps the job as it runs."""

    def __init__(
        self, path: Path, run: RunFolder, job: LocalJob, load: Callable[[], LocalJob], identity: RunIdentity
    ) -> None:
        """Watch `path`, from which `job` was read and from which `load` reads it again."""
        self._identity = identity
        self._path = path
        self._run = run
        self._load = load
        self._text = job.text
        self._accepted = job.accepted
        self._engine_tokens = job.effective.spec.max_sequence_tokens
        self.effective = job.effective
        """The job as it runs here now."""

    def look(self) -> Edit | None:
        """Take up an edit, if there is one: the learner finds it in `effective.json` before its next step.

        What is taken up is the run's manifest from then on (`job.yaml`), so that a later start has it, too.

        Raises:
            OSError: The run folder cannot be written.
        """
        try:
            text = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None  # an editor is about to replace it; a broken one is refused at the next start
        if text == self._text:
            return None
        self._text = text
        try:
            edited = self._load()
            found = changes(self._accepted, edited.accepted)
            if faults := refused_changes(self._accepted, edited.accepted, edited.effective, self._identity):
                raise SpecError(faults, source="the edited manifest")
            effective = self._mixed(edited.effective)
            known = self._sampled_again(self.effective)
        except SpecError as error:
            return Edit(messages=(f"the edit is left alone, the run goes on as before: {error}",), is_refused=True)
        self._accepted = edited.accepted
        if found:
            write_atomically(self._run.manifest, edited.stored)
        if effective != self.effective:
            self.effective = effective
            write_effective(self._run, effective)
        late = frozenset(change.path for change in changes(self.effective, edited.effective))
        said = [f"{change} ({_when(change, late)})" for change in found]
        if_early = "if the run is started again before its next checkpoint, "
        again = [f"{if_early}{text}" for text in self._sampled_again(edited.effective) if text not in known]
        return Edit(messages=(*said, *again))

    def _sampled_again(self, job: ProRLJob) -> list[str]:
        return sampled_again(self._run, job.spec, checkpoint_step(self._run.current))

    def _mixed(self, edited: ProRLJob) -> ProRLJob:
        rollout, sandbox = self.effective.spec.rollout, self.effective.spec.sandbox
        fixed = {
            "rollout": edited.spec.rollout.model_copy(update={"replicas": rollout.replicas}),
            "sandbox": edited.spec.sandbox.model_copy(update={"replicas": sandbox.replicas}),
        }
        wanted = edited.model_copy(update={"spec": edited.spec.model_copy(update=fixed)})
        return taken_up(self.effective, wanted, engine_tokens=self._engine_tokens)


def write_effective(run: RunFolder, job: ProRLJob) -> None:
    """Write the job as it runs here, for the learner."""
    document = job.model_dump(mode="json", by_alias=True, exclude_none=True)
    # JSON, which is YAML: what the learner reads needs no second format.
    write_atomically(run.effective_manifest, json.dumps(document, indent=2, ensure_ascii=False))


def _when(change: FieldChange, late: Container[str]) -> str:
    """Say when a change holds; `late` are the fields that were not taken up."""
    if change.path == _LENGTH:  # its mark cannot tell what the engines were started for
        return f"{_NEXT_START}: the engines are sized when they start" if change.path in late else _NEXT_STEP
    if change.path in FIXED_HERE or change.mark not in TAKEN_UP:
        return _NEXT_START
    return "holds now" if change.mark is Change.LIVE else _NEXT_STEP
