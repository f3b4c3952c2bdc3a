"""The journal: every group of the steps since the last checkpoint, so that a resumed run trains on the same data.

Validations are in it too: the best policy, and the resets that look at accuracy, stay what they were. One file a step
and purpose under the attempt's own folder. A new attempt copies its predecessor's journal into its own folder
before it goes on, so that it too can be replayed if this attempt dies in turn.
"""

from __future__ import annotations

import shutil
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from prorl_api.journalled import SETTINGS_SUFFIX
from prorl_api.run_folder import RunFolder
from prorl_trainer.algorithm.types import Prompt, Rollout, RolloutGroup
from prorl_trainer.storage.durable import publish_folder
from prorl_trainer.storage.fence import Fence
from prorl_trainer.storage.lines import LineFile

_ROLLOUTS = TypeAdapter(tuple[Rollout, ...])


class Purpose(StrEnum):
    """What groups were sampled for; the value begins their file's name."""

    TRAINING = "step"
    VALIDATION = "validation"


class Journal:
    """The groups of the steps since the last checkpoint."""

    def __init__(self, fence: Fence) -> None:
        """Open the journal of the fence's attempt, beginning with what its predecessor left."""
        self._fence = fence
        self._folder = fence.run.journal(fence.attempt)
        self._adopt(fence.run)
        self._files: dict[tuple[Purpose, int], LineFile] = {}

    def groups(self, step: int, purpose: Purpose = Purpose.TRAINING) -> dict[tuple[int, str], Any]:
        """Return the journalled groups of a step by prompt index and settings; `restore` turns one into a group."""
        return {(line["prompt_index"], line["made_with"]): line for line in self._file(purpose, step).read()}

    def restore(self, line: Any, prompt: Prompt) -> RolloutGroup:
        """Return the group that a journal line describes."""
        rollouts = _ROLLOUTS.validate_python(line["rollouts"])
        return RolloutGroup(prompt=prompt, rollouts=rollouts, judge_seconds=line["judge_seconds"])

    def append(self, step: int, group: RolloutGroup, made_with: str, purpose: Purpose = Purpose.TRAINING) -> None:
        """Make a group durable; those of a validation outlive the process, but perhaps not the machine.

        Args:
            step: Training step that it belongs to.
            group: The group.
            made_with: Digest of everything that it depends on but the weights: under other settings it is no answer.
            purpose: What it was sampled for.
        """
        line = {
            "prompt_index": group.prompt.index,
            "source": group.prompt.source,
            "made_with": made_with,
            "rollouts": _ROLLOUTS.dump_python(group.rollouts, mode="json"),
            "judge_seconds": group.judge_seconds,
        }
        self._file(purpose, step).append(line)

    def note(self, step: int, settings: dict[str, Any]) -> None:
        """Keep with what settings the groups of a training step are made from now on, for people."""
        notes = LineFile(self._notes(step), self._fence)
        if settings not in notes.read():
            notes.append(settings)

    def forget(self, through_step: int) -> None:
        """Remove the steps that a checkpoint now contains."""
        for purpose in Purpose:
            for path in self._folder.glob(f"{purpose}-*.jsonl"):
                step = int(path.stem.removeprefix(f"{purpose}-"))
                if step <= through_step:
                    self.drop(step, purpose)

    def drop(self, step: int, purpose: Purpose = Purpose.TRAINING) -> None:
        """Forget one step. If it failed on its groups: sampled again, with the cause mended, it may succeed."""
        self._files.pop((purpose, step), None)
        self._path(purpose, step).unlink(missing_ok=True)
        if purpose is Purpose.TRAINING:
            self._notes(step).unlink(missing_ok=True)

    def _file(self, purpose: Purpose, step: int) -> LineFile:
        if (purpose, step) not in self._files:
            # Hundreds of fsyncs a validation would cost seconds; a lost one is only sampled again.
            is_synced = purpose is Purpose.TRAINING
            self._files[purpose, step] = LineFile(self._path(purpose, step), self._fence, sync=is_synced)
        return self._files[purpose, step]

    def _path(self, purpose: Purpose, step: int) -> Path:
        return self._folder / f"{purpose}-{step}.jsonl"

    def _notes(self, step: int) -> Path:
        return self._path(Purpose.TRAINING, step).with_suffix(SETTINGS_SUFFIX)

    def _adopt(self, run: RunFolder) -> None:
        if self._folder.exists():
            return
        earlier = [number for number in range(1, self._fence.attempt) if run.journal(number).is_dir()]
        partial = self._folder.with_name("journal.partial")
        shutil.rmtree(partial, ignore_errors=True)
        if earlier:
            shutil.copytree(run.journal(earlier[-1]), partial)
        else:
            partial.mkdir(parents=True)
        publish_folder(partial, self._folder)
        for number in earlier:
            _drop(run.journal(number))


def _drop(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
