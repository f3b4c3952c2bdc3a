"""Bodies of the rollout server's API: one group of completions a request, weights by id.

`POST /v1/generate` answers with newline-delimited JSON: one `CompletionEvent` per completion as it finishes, then
one `DoneEvent`; an error after the stream began is an `ErrorBody` line and ends it. A request id seen before joins
the running request or replays its finished answer. `DELETE /v1/generate/{request_id}` cancels.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from prorl_api.wire.base import Float32List, Int32List, WeightsId, WireModel


class FinishReason(StrEnum):
    """Why a completion ended."""

    STOP = "stop"
    """An end token or stop string was produced."""
    LENGTH = "length"
    """Cut at `max_tokens`: the completion is truncated."""
    CANCELLED = "cancelled"


class Sampling(WireModel):
    """How to sample. Log-probabilities come from the very distribution sampled: after temperature and top-p."""

    temperature: Annotated[float, Field(ge=0.0, le=10.0)] = 1.0
    """0 is greedy."""
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Nucleus sampling; 1: none."""
    max_tokens: Annotated[int, Field(ge=1)]
    """A completion is cut here."""
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    """Completion `i` of the group is sampled with `seed + i`."""
    stop: tuple[str, ...] = ()
    """Stop strings; the text of the match stays in the tokens."""
    stop_token_ids: tuple[int, ...] = ()
    """End tokens beside the model's own."""


class GenerateRequest(WireModel):
    """One prompt, `num_completions` independent completions."""

    request_id: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._:-]+$")]
    """Chosen by the caller; the same id is the same request."""
    prompt_token_ids: Annotated[Int32List, Field(min_length=1)]
    """The whole prompt, as tokens."""
    num_completions: Annotated[int, Field(ge=1, le=4096)] = 1
    """Size of the group."""
    sampling: Sampling
    weights_id: WeightsId | None = None
    """The weights the caller expects; a server that holds others answers `wrong_weights`. None: whatever is held."""


class GeneratedSegment(WireModel):
    """Tokens sampled under one set of weights."""

    token_ids: Int32List
    """As sampled, the end token included."""
    logprobs: Float32List
    """`rollout_logprobs`, natural logarithm, one per token."""
    weights_id: WeightsId


class CompletionEvent(WireModel):
    """One finished completion. More than one segment only if weights changed while it was being sampled."""

    kind: Literal["completion"] = "completion"
    """Tells the lines of an answer apart."""
    index: Annotated[int, Field(ge=0)]
    """Which completion of the group, from 0."""
    segments: tuple[GeneratedSegment, ...]
    """In order; together they are the completion."""
    finish_reason: FinishReason


class DoneEvent(WireModel):
    """The last line of a whole answer."""

    kind: Literal["done"] = "done"
    """Tells the lines of an answer apart."""
    prompt_tokens: int
    """Tokens of the prompt."""
    cached_prompt_tokens: int = 0
    """Prompt tokens that the engine had in its cache."""
    completion_tokens: int
    """Tokens of all completions together."""
    queue_seconds: float = 0.0
    """Waiting before the engine began."""
    generate_seconds: float = 0.0
    """From the engine's beginning to the last token."""


class WeightSource(WireModel):
    """One place the chunks can be had from."""

    kind: Literal["http", "file"]
    """How the chunks are read."""
    location: str
    """http: the URL under which `/manifest` and `/chunks/{index}` are served. file: a folder holding
    `manifest.json` and the chunk files (shared memory on one machine)."""


class TensorInfo(WireModel):
    """One parameter as it is sent."""

    name: str
    """The parameter's name in the model."""
    shape: tuple[int, ...]
    """Its dimensions."""
    dtype: Literal["float32", "bfloat16", "float16"]
    """Number format of the bytes sent."""


class WeightChunk(WireModel):
    """One safetensors file."""

    file_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    """Name within the source."""
    num_bytes: Annotated[int, Field(ge=0)]
    """Size of the file."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Digest of the file's bytes, hexadecimal."""
    tensors: tuple[TensorInfo, ...]
    """The parameters in it."""


class WeightsManifest(WireModel):
    """Everything needed to fetch and check one set of weights."""

    weights_id: WeightsId
    chunks: tuple[WeightChunk, ...]
    """In the order of the digest."""

    @property
    def num_bytes(self) -> int:
        """Bytes of all chunks together."""
        return sum(chunk.num_bytes for chunk in self.chunks)


class LoadWeightsRequest(WireModel):
    """`POST /v1/weights`: fetch, check, put in place. Answered when served, or with a typed error."""

    weights_id: WeightsId
    sources: Annotated[tuple[WeightSource, ...], Field(min_length=1)]
    """Tried in order."""
    timeout_seconds: Annotated[float, Field(gt=0)] = 300.0
    """For fetching and loading together."""


class LoadWeightsResponse(WireModel):
    """What loading cost."""

    weights_id: WeightsId
    fetch_seconds: float
    """Reading and checking the chunks."""
    load_seconds: float
    """Putting them in place."""
    source_kind: Literal["http", "file", "held"]
    """`held`: these weights were already served."""


class RolloutServerState(WireModel):
    """`GET /v1/state`."""

    incarnation: str
    """New for every start of the process."""
    ready: bool
    """Holds weights, and a generation with them succeeded."""
    paused: bool
    """Asked to start no generation."""
    weights_id: WeightsId | None
    running_requests: int
    """Groups being generated."""
    attempt: int
    """Highest attempt seen."""
    detail: str = ""
    """For people: what it is doing or what is wrong."""
