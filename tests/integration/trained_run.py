"""A run folder as a learner leaves it, made in a second: real engine, real checkpoint, no rollouts and no judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prorl_api.manifest import validate_job
from prorl_api.run_folder import RunFolder
from prorl_api.run_identity import RunIdentity
from prorl_api.spec.roles import LearnerSpec
from prorl_trainer.storage.checkpoints import BestPolicy, CheckpointStore, LineageEntry
from prorl_trainer.storage.references import ReferenceStore
from tests.integration.engine_kit import make_engine, train, weights_of
from tests.integration.learner_world import manifest
from tests.unit.trainer.trainer_builders import begin_attempt, make_state

RESET = LineageEntry(digest="e" * 64, since_step=2, reset_uid="01R", trigger="KL averaged 0.55 nats | above 0.25")


class TrainedRun:
    """Best policy at step 2, checkpoint at step 4, another reference between them."""

    def __init__(self, folder: Path, model: Path, learner: LearnerSpec, **sections: Any) -> None:
        self.run = RunFolder(folder)
        self.run.path.mkdir()
        self.run.references.mkdir()
        document = manifest(model, **sections)
        validate_job(document)
        self.run.effective_manifest.write_text(json.dumps(document))
        self.run.identity.write_text(RunIdentity(uid="01RUN", created=1.0).model_dump_json())
        engine, fence = make_engine(model, learner), begin_attempt(folder)
        base = ReferenceStore(self.run).add(engine.weights(), attempt=1)
        train(engine, [1])
        self.best = weights_of(engine)
        best = ReferenceStore(self.run).add(engine.weights(), attempt=1)
        train(engine, [2])
        self.last = weights_of(engine)
        state = make_state(
            step=4,
            engine=learner.engine.value,
            precision=learner.precision.value,
            zero_stage=learner.deepspeed.zero_stage,
            reference_digest=RESET.digest,
            best=BestPolicy(step=2, accuracy=0.75, digest=best),
            lineage=(LineageEntry(digest=base, since_step=0, trigger="base model"), RESET),
        )
        CheckpointStore(fence).write(state, engine.save)
        self._record()

    def _record(self) -> None:
        accuracies = {0: 0.25, 2: 0.75, 4: 0.5}
        lines = [
            {"step": step, "attempt": 1, "validation_accuracy": value, "validation_source_accuracy/sums": value}
            for step, value in accuracies.items()
        ]
        self.run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))


def loaded(folder: Path) -> tuple[Any, Any]:
    """What transformers makes of an exported folder, and its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", local_files_only=True)
    return model, AutoTokenizer.from_pretrained(folder, local_files_only=True)


def is_same(model: Any, weights: dict[str, Tensor]) -> bool:
    parameters = dict(model.named_parameters())
    return set(parameters) == set(weights) and all(
        torch.equal(parameters[name].float(), tensor) for name, tensor in weights.items()
    )
