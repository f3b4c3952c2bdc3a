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

from prorl_api.run_folder import RunFolder
from prorl_api.wire.base import Float32List, Int32List, WeightsId, WireModel
from prorl_api.wire.rollout import FinishReason
from prorl_api.wire.sandbox import Verdict
from prorl_trainer.algorithm.types import Prompt, Rollout, RolloutGroup, Segment
from prorl_trainer.storage.durable import publish_folder
from prorl_trainer.storage.fence import Fence
from prorl_trainer.storage.lines import LineFile


class _SegmentLine(WireModel):
    source: str
    token_ids: Int32List
    logprobs: Float32List
    weights_id: WeightsId | None
    loss_mask: bool


class _RolloutLine(WireModel):
    segments: tuple[_SegmentLine, ...]
    finish_reason: FinishReason
    text: str
    reward: float | None
    verdict: Verdict
    detail: str


class _GroupLine(WireModel):
    prompt_index: int
    source: str
    made_with: str
    rollouts: tuple[_RolloutLine, ...]
    judge_seconds: float


class Purpose(StrEnum):
    """What groups were sampled for; the value begins their file's name."""

    TRAINING = "step"
    VALIDATION = "validation"


class Journal:
    """The groups of the steps since the last checkpoint."""

    def __init__(self, fence: Fence) -> None:
        """Of the fence's attempt, beginning with what its predecessor left."""
        self._fence = fence
        self._folder = fence.run.journal(fence.attempt)
        self._adopt(fence.run)
        self._files: dict[tuple[Purpose, int], LineFile] = {}

    def groups(self, step: int, purpose: Purpose = Purpose.TRAINING) -> dict[tuple[int, str], Any]:
        """Journalled groups of a step by prompt index and settings; turn one into a group with `restore`."""
        return {(line["prompt_index"], line["made_with"]): line for line in self._file(purpose, step).read()}

    def restore(self, line: Any, prompt: Prompt) -> RolloutGroup:
        """The group that a journal line describes."""
        stored = _GroupLine.model_validate(line)
        rollouts = tuple(
            Rollout(
                segments=tuple(
                    Segment(
                        source="model" if part.source == "model" else "environment",
                        token_ids=tuple(part.token_ids),
                        logprobs=tuple(part.logprobs),
                        weights_id=part.weights_id,
                        loss_mask=part.loss_mask,
                    )
                    for part in rollout.segments
                ),
                finish_reason=rollout.finish_reason,
                text=rollout.text,
                reward=rollout.reward,
                verdict=rollout.verdict,
                detail=rollout.detail,
            )
            for rollout in stored.rollouts
        )
        return RolloutGroup(prompt=prompt, rollouts=rollouts, judge_seconds=stored.judge_seconds)

    def append(self, step: int, group: RolloutGroup, made_with: str, purpose: Purpose = Purpose.TRAINING) -> None:
        """Make a group durable; those of a validation outlive the process, but perhaps not the machine.

        Args:
            step: Training step that it belongs to.
            group: The group.
            made_with: Digest of everything that it depends on but the weights: under other settings it is no answer.
            purpose: What it was sampled for.
        """
        line = _GroupLine(
            prompt_index=group.prompt.index,
            source=group.prompt.source,
            made_with=made_with,
            rollouts=tuple(
                _RolloutLine(
                    segments=tuple(
                        _SegmentLine(
                            source=part.source,
                            token_ids=list(part.token_ids),
                            logprobs=list(part.logprobs),
                            weights_id=part.weights_id,
                            loss_mask=part.loss_mask,
                        )
                        for part in rollout.segments
                    ),
                    finish_reason=rollout.finish_reason,
                    text=rollout.text,
                    reward=rollout.reward,
                    verdict=rollout.verdict,
                    detail=rollout.detail,
                )
                for rollout in group.rollouts
            ),
            judge_seconds=group.judge_seconds,
        )
        self._file(purpose, step).append(line.model_dump(mode="json"))

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

    def _file(self, purpose: Purpose, step: int) -> LineFile:
        if (purpose, step) not in self._files:
            # Hundreds of fsyncs a validation would cost seconds; a lost one is only sampled again.
            is_synced = purpose is Purpose.TRAINING
            self._files[purpose, step] = LineFile(self._path(purpose, step), self._fence, sync=is_synced)
        return self._files[purpose, step]

    def _path(self, purpose: Purpose, step: int) -> Path:
        return self._folder / f"{purpose}-{step}.jsonl"

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
