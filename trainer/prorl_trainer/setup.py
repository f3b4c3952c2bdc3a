"""Builds the parts of a learner, in the order in which they can fail: cheap checks first, engines last."""

from __future__ import annotations

import logging
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from prorl_api.process.fence import OwnAttempt
from prorl_api.process.listen import address_of
from prorl_api.process.tokens import AcceptedTokens
from prorl_api.spec.job import ProRLJobSpec
from prorl_api.spec.merge import ever_measures_kl
from prorl_api.spec.values import EngineKind
from prorl_api.wire.learner import LearnerPhase
from prorl_trainer.engine_mismatch import probe_tokens
from prorl_trainer.engines.build import build_engine, training_device
from prorl_trainer.engines.engine import TrainingEngine
from prorl_trainer.engines.gpu_use import is_gpu_unused
from prorl_trainer.engines.ranks import RankedEngine, join_ranks
from prorl_trainer.export.best import BestExport
from prorl_trainer.live_spec import LiveSpec
from prorl_trainer.loop import Learner
from prorl_trainer.parts import LearnerParts
from prorl_trainer.preflight import prepare
from prorl_trainer.resume import initial_weights, resume_or_begin
from prorl_trainer.sample_files import SampleFolder
from prorl_trainer.sampling import Sampler
from prorl_trainer.service.api import LearnerService, create_app, serve
from prorl_trainer.service.io_loop import IoLoop
from prorl_trainer.service.publisher import Publisher
from prorl_trainer.service.reset_queue import ResetQueue
from prorl_trainer.service.reward_client import RewardClient
from prorl_trainer.service.rollout_client import RolloutClient
from prorl_trainer.service.rollout_servers import RolloutServers
from prorl_trainer.service.sandbox_wait import Judges
from prorl_trainer.service.shared_status import SharedStatus
from prorl_trainer.settings import LearnerSettings
from prorl_trainer.step_sampling import StepSampler
from prorl_trainer.storage.checkpoints import CheckpointStore
from prorl_trainer.storage.durable import explained, write_file
from prorl_trainer.storage.fence import Fence
from prorl_trainer.storage.identity import claim_run, recorded_identity
from prorl_trainer.storage.journal import Journal
from prorl_trainer.storage.lines import LineFile
from prorl_trainer.storage.references import ReferenceStore
from prorl_trainer.tracking.processes import TrackerProcesses, environment_of_trackers
from prorl_trainer.watchdog import watch_progress

_logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class ApiServer:
    """What is up before the engine: the API and what it speaks for."""

    io: IoLoop
    shared_status: SharedStatus
    members: RolloutServers
    reset_queue: ResetQueue
    service: LearnerService
    base_url: str


def open_front(settings: LearnerSettings, live: LiveSpec, model: Path, listening: socket.socket) -> ApiServer:
    """Bring the API up."""
    fence = Fence(settings.run, settings.attempt)
    recorded = LineFile(settings.run.metrics)
    shared_status = SharedStatus(settings.attempt, live.spec.schedule.total_steps, recorded)
    members = RolloutServers(settings.attempt)
    reset_queue = ResetQueue(LineFile(settings.run.reset_log, fence, sync=True))
    service = LearnerService(shared_status, members, reset_queue, model, settings.job, lambda: live.spec)
    io = IoLoop()
    app = create_app(service, AcceptedTokens.from_environment(), OwnAttempt(settings.attempt))
    io.submit(serve(app, listening))
    base_url = settings.advertised_url or f"http://{address_of(listening)}"
    return ApiServer(
        io=io, shared_status=shared_status, members=members, reset_queue=reset_queue, service=service, base_url=base_url
    )


def build_rank_engine(settings: LearnerSettings, spec: ProRLJobSpec, model: Path) -> TrainingEngine:
    """Build the engine of this rank. Collective."""
    device = training_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if spec.learner.threads:
        torch.set_num_threads(spec.learner.threads)
    if spec.learner.engine is EngineKind.DEEPSPEED:
        join_ranks(device)
    # A run that has begun loads its own checkpoint: the run it began from may be gone by now.
    initial = None if settings.run.current.exists() else initial_weights(spec.init_from)
    return build_engine(str(model), spec.learner, device, initial, with_reference=ever_measures_kl(spec))


def build_learner(settings: LearnerSettings, live: LiveSpec, model: Path, front: ApiServer) -> Learner:
    """Rank 0's loop, ready to run.

    Raises:
        SpecError, CheckpointError, StaleAttemptError: Before anything was trained.
    """
    shared_status, spec = front.shared_status, live.spec
    fence = Fence(settings.run, settings.attempt)
    watch_progress(shared_status, fence, lambda: live.spec.learner.progress_timeout_seconds)
    with explained(settings.run.path):
        claim_run(settings.run, settings.run_uid, adopt=settings.adopt_run, job=live.qualified_name)
        fence.enter()
        if settings.run_uid:  # of a cluster's body nothing else reaches the volume, and an export needs the manifest
            write_file(settings.run.effective_manifest, settings.manifest.read_text(encoding="utf-8"))
        settings.run.references.mkdir(parents=True, exist_ok=True)
    shared_status.enter(LearnerPhase.LOADING_MODEL, "reading prompts")
    stored = LineFile(settings.run.prompts, fence, is_private=True)
    has_checkpoint = settings.run.current.exists()
    prepared = prepare(spec, model, settings.manifest.parent, stored, has_checkpoint=has_checkpoint)
    tokenizer, prompts, held_out = prepared.tokenizer, prepared.prompts, prepared.held_out
    shared_status.enter(LearnerPhase.LOADING_MODEL, f"building the {spec.learner.engine} engine")
    engine = RankedEngine(build_rank_engine(settings, spec, model))
    engine.on_progress(shared_status.beat)
    num_ranks = spec.learner.replicas * spec.learner.processes_per_replica
    checkpoints, references = CheckpointStore(fence), ReferenceStore(settings.run)
    state = resume_or_begin(
        spec,
        attempt=settings.attempt,
        num_ranks=num_ranks,
        engine=engine,
        checkpoints=checkpoints,
        references=references,
    )
    shared_status.show_earlier_metrics(state.step)
    front.reset_queue.resume(state.step, state.applied_resets)
    resumed = checkpoints.current()
    shared_status.update(
        step=max(0, state.recorded_step),  # what is left to record is left to do
        stage=state.stage,
        reference_digest=state.reference_digest,
        resumed_from_step=resumed.step if resumed else None,
        last_checkpoint_step=resumed.step if resumed else None,
        best_accuracy=state.best.accuracy if state.best else None,
        best_step=state.best.step if state.best else None,
        is_gpu_unused=is_gpu_unused(),
    )
    journal = Journal(fence)
    rollouts = RolloutClient(front.members, shared_status, settings.attempt)
    rewards = RewardClient(settings.sandbox_urls, settings.attempt, rewards=prepared.rewards)
    sampler = Sampler(rollouts, rewards, _decoder(tokenizer), shared_status)
    publisher = Publisher(settings.attempt, front.base_url)
    front.service.publisher = publisher
    parts = LearnerParts(
        shared_status=shared_status,
        engine=engine,
        num_ranks=num_ranks,
        io=front.io,
        judges=Judges(settings.sandbox_urls, settings.attempt),
        members=front.members,
        rollouts=rollouts,
        sampler=sampler,
        step_sampler=StepSampler(sampler, prompts.take, journal, shared_status),
        held_out=held_out,
        probe_tokens=probe_tokens(
            (prompt.token_ids for prompts in held_out.values() for prompt in prompts),
            spec.rollout.max_prompt_tokens + spec.rollout.max_completion_tokens,
        ),
        publisher=publisher,
        reset_queue=front.reset_queue,
        fence=fence,
        checkpoints=checkpoints,
        references=references,
        journal=journal,
        metrics_file=LineFile(settings.run.metrics, fence, sync=True),
        samples=SampleFolder(settings.run.samples, fence),
        best_export=BestExport(settings.run, live.job, model, shared_status),
        trackers=_start_trackers(settings, spec),
    )
    return Learner(live, parts, state)


def _start_trackers(settings: LearnerSettings, spec: ProRLJobSpec) -> TrackerProcesses:
    identity = recorded_identity(settings.run)
    uid = identity.uid if identity is not None else settings.job or "run"
    trackers = spec.tracking.trackers
    return TrackerProcesses(settings.run, settings.manifest, uid, trackers, environment_of_trackers())


def _decoder(tokenizer: Any) -> Any:
    """Completion tokens to the text that is judged: special tokens, the end token among them, are left out."""

    def decode(token_ids: Any) -> str:
        text: str = tokenizer.decode(token_ids, skip_special_tokens=True)
        return text

    return decode


def remove_weights(front: ApiServer) -> None:
    """Leave nothing in shared memory."""
    if front.service.publisher is not None:
        front.service.publisher.close()


def quiet_libraries() -> None:
    """Progress bars and advice of libraries do not belong in a service's log."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
