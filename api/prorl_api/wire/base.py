"""What all wire bodies share: strictness, compact arrays, typed errors, the weights id and the attempt header."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

ATTEMPT_HEADER = "X-ProRL-Attempt"
"""Every call carries the caller's attempt here; a receiver that has seen a higher one answers `stale_attempt`."""


Count = Annotated[int, Field(ge=0, lt=2**31)]
"""Of steps, attempts and members: no run reaches the bound, and no status object holds more."""
Moment = Annotated[float, Field(ge=0, le=2**33)]
"""Unix time, until the year 2242."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A digest, hexadecimal."""


class WireModel(BaseModel):
    """Base of wire bodies: immutable, unknown fields refused, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


def _encode(typecode: str, values: Iterable[Any]) -> str:
    packed = array(typecode, values)
    if sys.byteorder == "big":
        packed.byteswap()
    return base64.b64encode(packed.tobytes()).decode("ascii")


def _decode(typecode: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    packed = array(typecode)
    packed.frombytes(base64.b64decode(value, validate=True))
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tolist()


_LARGEST_FLOAT32 = 3.4028234663852886e38

Int32List = Annotated[
    list[Annotated[int, Field(ge=-(2**31), lt=2**31)]],
    BeforeValidator(lambda value: _decode("i", value)),
    PlainSerializer(lambda values: _encode("i", values), when_used="json"),
    WithJsonSchema({"type": "string", "contentEncoding": "base64", "description": "int32, little endian"}),
]
"""Integers; on the wire one base64 string of little-endian int32 (a JSON list is accepted too)."""

Float32List = Annotated[
    list[Annotated[float, Field(ge=-_LARGEST_FLOAT32, le=_LARGEST_FLOAT32)]],
    BeforeValidator(lambda value: _decode("f", value)),
    PlainSerializer(lambda values: _encode("f", values), when_used="json"),
    WithJsonSchema({"type": "string", "contentEncoding": "base64", "description": "float32, little endian"}),
]
"""Real numbers; on the wire one base64 string of little-endian float32 (a JSON list is accepted too)."""


Int32Tuple = Annotated[
    tuple[int, ...],
    BeforeValidator(lambda value: _decode("i", value)),
    PlainSerializer(lambda values: _encode("i", values), when_used="json"),
]
"""As `Int32List`, for frozen dataclasses."""

Float32Tuple = Annotated[
    tuple[float, ...],
    BeforeValidator(lambda value: _decode("f", value)),
    PlainSerializer(lambda values: _encode("f", values), when_used="json"),
]
"""As `Float32List`, for frozen dataclasses."""


class ErrorKind(StrEnum):
    """What went wrong, for programs. The message is for people."""

    BAD_REQUEST = "bad_request"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    STALE_ATTEMPT = "stale_attempt"
    WRONG_WEIGHTS = "wrong_weights"
    WEIGHTS_MISMATCH = "weights_mismatch"
    ENGINE_MISMATCH = "engine_mismatch"
    NOT_READY = "not_ready"
    BUSY = "busy"
    CANCELLED = "cancelled"
    TOO_LARGE = "too_large"
    UNSUPPORTED = "unsupported"
    INTERNAL = "internal"


class ErrorInfo(WireModel):
    """The body of every non-2xx answer, under `error`."""

    kind: ErrorKind
    message: str
    """For people: what happened, what was got, what was wanted, the remedy."""
    retryable: bool = False
    """Whether the same request may succeed later without anybody changing it."""
    retry_after_seconds: Annotated[float, Field(ge=0)] | None = None
    """When to try again; also sent as `Retry-After`."""


class ErrorBody(WireModel):
    """`{"error": {...}}`."""

    error: ErrorInfo


class WeightsId(WireModel):
    """Which weights: of which attempt, after how many training steps, and the digest of the bytes."""

    attempt: Annotated[int, Field(ge=1, lt=2**31)]
    """The learner's attempt that made them."""
    step: Count
    """Training steps they have seen."""
    digest: Sha256
    """sha256 over the chunks' sha256 digests in order, hexadecimal."""

    def __str__(self) -> str:
        return f"{self.attempt}-{self.step}-{self.digest[:16]}"

    @classmethod
    def of_chunks(cls, attempt: int, step: int, chunk_digests: list[str]) -> Self:
        """Return the id of weights cut into chunks with the given sha256 digests (hexadecimal, in order)."""
        import hashlib

        return cls(attempt=attempt, step=step, digest=hashlib.sha256("".join(chunk_digests).encode()).hexdigest())
