"""Bodies of the learner's API (rank 0): members, model files, weights, status, stop, resets, metrics."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from prorl_api.spec.values import OptimizerAction, ResetSource
from prorl_api.wire.base import Count, Moment, Sha256, WeightsId, WireModel
from prorl_api.wire.isolation import IsolationReport
from prorl_api.wire.rollout import RefusedWeights, WeightSource

MAX_REASON = 300
"""Characters of a judge's own words."""


class MemberHeartbeat(WireModel):
    """`PUT /v1/members/{incarnation}`: a rollout server says that it is there, every few seconds."""

    address: Annotated[str, Field(pattern=r"^https?://[^/\s?#@\\]+$", max_length=300)]
    """Base URL under which the learner reaches it: an address that it connects from, or a name of that address."""
    ttl_seconds: Annotated[float, Field(gt=0, le=600)] = 15.0
    """Without another heartbeat within this time the member is forgotten."""
    ready: bool
    """Holds weights, and a generation with them succeeded."""
    weights_id: WeightsId | None
    """What it holds."""
    refused: RefusedWeights | None = None
    """The weights it tried last, if its engine computes something else with them than the learner."""


class MemberAnswer(WireModel):
    """What the learner wants of the member."""

    attempt: Count
    """The learner's attempt."""
    weights_id: WeightsId | None
    """What it should hold; None before the first publish."""
    sources: tuple[WeightSource, ...] = ()
    """Where to pull it from."""
    heartbeat_seconds: float = 3.0
    """When to say it again."""


class ModelFiles(WireModel):
    """`GET /v1/model-files`: configuration and tokenizer, everything of the model folder but the weights."""

    files: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]]
    """File name to sha256 of its bytes; the bytes are at `/v1/model-files/{name}`."""


class LearnerPhase(StrEnum):
    """What the learner is doing. Heartbeats are judged by phase: a compile may take longer than an update."""

    STARTING = "starting"
    LOADING_MODEL = "loading-model"
    WAITING_FOR_SANDBOX = "waiting-for-sandbox"
    WAITING_FOR_ROLLOUT = "waiting-for-rollout"
    PUBLISHING = "publishing"
    VALIDATING = "validating"
    SAMPLING = "sampling"
    UPDATING = "updating"
    CHECKPOINTING = "checkpointing"
    RESETTING = "resetting"
    STOPPING = "stopping"
    DONE = "done"


EARLY_PHASES = frozenset(
    {
        LearnerPhase.STARTING,
        LearnerPhase.LOADING_MODEL,
        LearnerPhase.WAITING_FOR_SANDBOX,
        LearnerPhase.WAITING_FOR_ROLLOUT,
    }
)
"""Before there is anything that a stop could lose."""

PHASE_REMARK = "; note: "
"""In a phase's detail, before what is unusual and worth a line where phases are not."""


class TrackerState(WireModel):
    """How an experiment tracker does."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    """As in `spec.tracking.trackers`."""
    kind: Annotated[str, Field(min_length=1, max_length=64)]
    """`tensorboard`, `wandb`, `mlflow` or `trackio`."""
    step: Count | None = None
    """Last step that it was told; None: none yet."""
    where: Annotated[str, Field(max_length=4096)] = ""
    """Where to look at the run."""
    problem: Annotated[str, Field(max_length=1024)] = ""
    """Why it is not being told, with the remedy; empty: it is."""


class LearnerStatus(WireModel):
    """`GET /v1/status`."""

    attempt: Count
    """The learner's own attempt."""
    phase: LearnerPhase
    phase_detail: str = ""
    """For people: how far the phase has come."""
    phase_since: Moment
    """Unix time."""
    started: Moment = 0.0
    """Unix time at which this attempt began; 0: not told."""
    heartbeat: Moment
    """Unix time of the last progress within the phase."""
    step: Count
    """Training steps completed."""
    total_steps: Count
    """Steps at which the run is done."""
    stage: str = ""
    """Name of the stage in progress; empty before the first."""
    weights_id: WeightsId | None = None
    ready_rollout_servers: Count = 0
    """Members that hold the wanted weights."""
    live_rollout_servers: Count | None = None
    """Members that were heard of lately, fail no calls and refuse no weights; None: not counted."""
    last_checkpoint_step: Count | None = None
    """Completed steps that the newest checkpoint contains."""
    last_checkpoint_at: Moment | None = None
    """Unix time at which this attempt wrote its newest one; None: none yet."""
    resumed_from_step: Count | None = None
    """Completed steps of the checkpoint this attempt began with; None: it began afresh."""
    best_accuracy: float | None = None
    """Best validation accuracy of the run."""
    best_step: Count | None = None
    """Completed steps at the best validation."""
    reference_digest: Sha256 | None = None
    """Digest of the reference in use; of one that follows the policy, as the last checkpoint has kept it."""
    masked_rollouts: Count = 0
    """Rollouts of this attempt without a reward because the judge failed."""
    masked_reason: Annotated[str, Field(max_length=MAX_REASON)] = ""
    """What the judge said of the newest of them, shortened."""
    isolation: IsolationReport | None = None
    """What contains programs, by the weakest of the sandboxes; None: not asked yet."""
    vitals: Annotated[dict[str, float], Field(max_length=1000)] = {}
    """What the run's health is judged by: `prorl_api.vitals`."""
    is_gpu_unused: bool = False
    """It asked for no GPU, and trains on the CPU of a node that has some."""
    error: str | None = None
    """Why the learner is ending, if it failed."""
    trackers: Annotated[tuple[TrackerState, ...], Field(max_length=8)] = ()
    """All of `spec.tracking`."""
    exported_best_step: Count | None = None
    """Step of the policy in `exported/best`; None: none there yet."""
    export_problem: Annotated[str, Field(max_length=1024)] = ""
    """Why the best policy could not be exported; empty: it could, or nobody asked."""


class StopRequest(WireModel):
    """`POST /v1/stop`: finish what must be finished and end."""

    checkpoint: bool = True
    """Write a checkpoint first."""
    reason: str = ""
    """For people; goes into the log."""


class StopAnswer(WireModel):
    """The stop was taken note of; it is done when the status says `done` or the process is gone."""

    accepted: bool = True
    """Always true; a refusal is a typed error."""


class ResetCommand(WireModel):
    """`POST /v1/resets`: the same uid may be posted any number of times; it is applied once."""

    uid: Annotated[str, Field(min_length=1, max_length=64)]
    """The reset's identity."""
    name: Annotated[str, Field(min_length=1, max_length=253)]
    """The reset's name, for people."""
    source: ResetSource = ResetSource.CURRENT
    optimizer: OptimizerAction = OptimizerAction.CLEAR
    apply_at_step: Count | None = None
    """At the boundary after this many completed steps; None: the next boundary."""
    expires_after_step: Count | None = None
    """Not applied once more steps than this are completed."""
    trigger: str = ""
    """Why, in words; goes into the lineage."""


class ResetState(StrEnum):
    """Where a reset stands at the learner."""

    ACCEPTED = "accepted"
    APPLIED = "applied"
    EXPIRED = "expired"
    FAILED = "failed"


class ResetOutcome(WireModel):
    """What became of a reset; applied only once a checkpoint contains it."""

    uid: Annotated[str, Field(min_length=1, max_length=64)]
    """The reset's identity."""
    name: Annotated[str, Field(min_length=1, max_length=253)]
    """The reset's name, for people."""
    state: ResetState
    applied_step: Count | None = None
    """Completed steps at the boundary where it was applied."""
    digest_before: Sha256 | None = None
    """Digest of the reference that was replaced."""
    digest_after: Sha256 | None = None
    """Digest of the reference that replaced it."""
    source: ResetSource = ResetSource.CURRENT
    """As in the command."""
    optimizer: OptimizerAction = OptimizerAction.CLEAR
    """As in the command."""
    trigger: str = ""
    """As in the command: a body learns from it why the learner reset by itself, on entering a stage."""
    message: str = ""
    """Why it expired or failed."""


class ResetOutcomes(WireModel):
    """`GET /v1/resets`."""

    resets: tuple[ResetOutcome, ...]
    """Every reset that this run knows, in the order of arrival."""


class MetricsSeries(WireModel):
    """`GET /v1/metrics?since_step=N`: the surviving timeline's steps after N, oldest first."""

    steps: tuple[dict[str, Any], ...]
    """Each a line of metrics.jsonl: see `prorl_api.metrics`."""


class LearnerReport(WireModel):
    """`GET /v1/report?since_step=N`: all that a body asks a learner in every pass, of one moment."""

    status: LearnerStatus
    """As `GET /v1/status`."""
    metrics: MetricsSeries
    """As `GET /v1/metrics?since_step=N`."""
    resets: ResetOutcomes
    """As `GET /v1/resets`."""
