"""`spec.local`: what differs when the job runs on one machine under `prorl run`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from prorl_api.spec.base import Change, SpecModel
from prorl_api.spec.roles import Path
from prorl_api.spec.values import EngineKind, Precision, ReferencePlace


class LocalRollout(SpecModel):
    """Overrides of `spec.rollout`."""

    replicas: Annotated[int, Field(ge=1, le=64)] | None = None
    """Rollout servers here."""
    tensor_parallel_size: Annotated[int, Field(ge=1, le=64)] | None = None
    """GPUs a server spreads one model over."""
    dtype: Precision | None = None
    max_running_sequences: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Sequences a server decodes at once."""
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of the GPU's memory for a server."""
    cpu_kv_cache_bytes: Annotated[int, Field(ge=64 * 2**20, le=2**42)] | None = None
    """Key-value cache of a server without a GPU."""
    enforce_eager: bool | None = None
    """No compilation in vLLM."""
    threads: Annotated[int, Field(ge=0, le=1024)] | None = None
    """CPU threads of a server; 0: vLLM decides."""


class LocalLearner(SpecModel):
    """Overrides of `spec.learner`. On one machine there is one replica."""

    processes_per_replica: Annotated[int, Field(ge=1, le=64)] | None = None
    """Ranks on this machine."""
    precision: Annotated[Precision | None, Change.IMMUTABLE] = None
    engine: Annotated[EngineKind | None, Change.IMMUTABLE] = None
    reference: ReferencePlace | None = None
    offload_activations: bool | None = None
    """Keep the inputs of layers in host memory; needs a GPU."""
    microbatch_tokens: Annotated[int, Field(ge=16, le=4_194_304)] | None = None
    """Positions in one packed sequence of the forward pass."""
    threads: Annotated[int, Field(ge=0, le=1024)] | None = None
    """CPU threads of a rank; 0: torch decides."""


class LocalSandbox(SpecModel):
    """Overrides of `spec.sandbox`. On one machine there is one replica unless said otherwise."""

    replicas: Annotated[int, Field(ge=1, le=64)] | None = None
    """Sandboxes here; unset: 1."""
    workers: Annotated[int, Field(ge=1, le=256)] | None = None
    """Verifier processes, and programs at once, in one sandbox."""


class LocalSpec(SpecModel):
    """The overlay for one machine. A field that cannot hold there and has no overlay is refused by name."""

    model_path: Path | None = None
    """Instead of `spec.model.path`. A run that has begun takes another folder if it holds the same weights."""
    paths: Annotated[dict[str, Path], Field(max_length=64)] = {}
    """Mount path of a volume to a folder of this machine: `{/data: ./data}`."""
    rollout: LocalRollout = LocalRollout()
    learner: LocalLearner = LocalLearner()
    sandbox: LocalSandbox = LocalSandbox()
    ignore: Annotated[
        tuple[Annotated[str, Field(pattern=r"^spec\.[A-Za-z.]+$", max_length=253)], ...], Field(max_length=32)
    ] = ()
    """Fields that mean something in a cluster only and are knowingly without effect here, by path:
    `spec.learner.podTemplate`."""
