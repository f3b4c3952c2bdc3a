"""What the loop works with, built once by `setup`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor

from prorl_api.spec.run import ValidationSource
from prorl_api.wire.base import WeightsId
from prorl_api.wire.rollout import WeightSource
from prorl_trainer.algorithm.types import Prompt
from prorl_trainer.engines.ranks import RankedEngine
from prorl_trainer.export.best import BestExport
from prorl_trainer.progress import beats_while_writing, with_beats
from prorl_trainer.sample_files import SampleFolder
from prorl_trainer.sampling import Sampler
from prorl_trainer.service.io_loop import IoLoop
from prorl_trainer.service.publisher import Publisher
from prorl_trainer.service.reset_queue import ResetQueue
from prorl_trainer.service.rollout_client import RolloutClient
from prorl_trainer.service.rollout_servers import RolloutServers
from prorl_trainer.service.sandbox_wait import Judges
from prorl_trainer.service.shared_status import SharedStatus
from prorl_trainer.step_sampling import StepSampler
from prorl_trainer.storage.checkpoints import CheckpointStore
from prorl_trainer.storage.fence import Fence
from prorl_trainer.storage.journal import Journal
from prorl_trainer.storage.lines import LineFile
from prorl_trainer.storage.references import ReferenceStore
from prorl_trainer.tracking.processes import TrackerProcesses


@dataclass(slots=True, kw_only=True)
class LearnerParts:
    """Ready parts, each with one job."""

    shared_status: SharedStatus
    engine: RankedEngine
    num_ranks: int
    io: IoLoop
    judges: Judges
    members: RolloutServers
    rollouts: RolloutClient
    sampler: Sampler
    step_sampler: StepSampler
    held_out: dict[ValidationSource, list[Prompt]]
    probe_tokens: tuple[int, ...]
    """What every rollout server must give the learner's log-probabilities before it serves new weights."""
    publisher: Publisher
    reset_queue: ResetQueue
    fence: Fence
    checkpoints: CheckpointStore
    references: ReferenceStore
    journal: Journal
    metrics_file: LineFile
    samples: SampleFolder
    best_export: BestExport
    trackers: TrackerProcesses
    _kept: tuple[int, str] | None = field(default=None)

    async def want(self, weights_id: WeightsId, sources: tuple[WeightSource, ...]) -> None:
        """From now on only servers with these weights get prompts. On the event loop, which owns the registry."""
        self.members.want(weights_id, sources)

    def keep_policy(self, step: int) -> str:
        """Keep the policy after training step `step` beside the references; its digest."""
        if self._kept is None or self._kept[0] != step:
            self._kept = (step, self._keep(self.engine.weights()))
        return self._kept[1]

    def keep_reference(self) -> str:
        """Keep the reference as it is now, an average, beside the others; its digest."""
        digest = self._keep(self.engine.reference_weights())
        self.engine.reference_is_kept_in(self.references.file(digest))
        self.shared_status.update(reference_digest=digest)
        return digest

    def _keep(self, weights: Iterator[tuple[str, Tensor]]) -> str:
        beat = self.shared_status.beat
        with beats_while_writing(self.references.folder, beat):
            return self.references.add(with_beats(weights, beat), attempt=self.fence.attempt)
