"""What a body tells a rollout server or a sandbox at its start, as one JSON environment variable each.

The learner needs none: it reads the manifest itself.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from prorl_api.spec.values import LIBRARIES, IsolationLevel, Libraries
from prorl_api.wire.base import WireModel


class RolloutServerSettings(WireModel):
    """The engine's settings; the model itself comes from the learner."""

    dtype: Literal["bfloat16", "float32", "float16"] = "bfloat16"
    """Number format of the served weights."""
    tensor_parallel_size: Annotated[int, Field(ge=1, le=64)] = 1
    """GPUs the engine spreads one model over."""
    max_model_tokens: Annotated[int, Field(ge=8)] = 2048
    """Longest prompt plus completion."""
    max_running_sequences: Annotated[int, Field(ge=1, le=4096)] = 128
    """Sequences the engine decodes at once."""
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Share of the GPU's memory for the engine; ignored without a GPU."""
    cpu_kv_cache_bytes: Annotated[int, Field(ge=64 * 2**20)] = 1 * 2**30
    """Key-value cache when there is no GPU."""
    enforce_eager: bool = False
    """No compilation: starts faster, generates slower."""
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """CPU threads of the engine; 0: the engine decides."""
    startup_timeout_seconds: Annotated[float, Field(gt=0)] = 900.0
    """An engine that is not up after so long has failed."""


class SandboxSettings(WireModel):
    """The judge's settings."""

    workers: Annotated[int, Field(ge=1, le=256)] = 2
    """Worker processes for verifiers, and programs run at once."""
    max_queued_items: Annotated[int, Field(ge=1)] = 4096
    """Items waiting beyond this are answered `busy`."""
    worker_memory_bytes: Annotated[int, Field(ge=256 * 2**20)] = 2 * 2**30
    """Address space of one verifier worker."""
    network: Literal["in-process", "policy-verified"] = "in-process"
    """`policy-verified`: a connection that the pod's network policy forbids is tried, and must fail."""
    recycle_after_items: Annotated[int, Field(ge=1)] = 5000
    """A worker is replaced after so many items, so that leaks stay bounded."""
    libraries: Libraries = LIBRARIES
    """What programs in Python may import besides the standard library, unless their row says otherwise."""
    minimum_isolation: IsolationLevel = "process"
    """Weakest acceptable containment of programs; a sandbox that obtains less does not start."""
