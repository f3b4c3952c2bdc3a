"""What our Kubernetes objects share: the models' base, conditions, and times as Kubernetes writes them."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from prorl_api.spec.base import Cel

ObjectTime = Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})]
"""A time as `2026-01-31T12:00:00Z`: whole seconds, as in Kubernetes' own objects."""
Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
Decimal = Annotated[str, Field(max_length=32, pattern=r"^(-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?)?$")]
"""A real number as text, because Kubernetes' conventions allow no floats; empty: unknown."""
Digest = Annotated[str, Field(max_length=128)]

MAX_MESSAGE = 32768
"""Characters of a message, which may hold the end of a log."""


class ObjectModel(BaseModel):
    """Base of what our objects hold beside the job's spec. Fields of newer versions are passed over."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        use_attribute_docstrings=True,
    )

    server_rules: ClassVar[tuple[Cel, ...]] = ()
    """Rules that cross fields, or compare an object with its edit. The API server judges them."""
    immutable_remedy: ClassVar[str] = "create another object"
    """What to do instead of changing an immutable field."""


class ObjectCondition(ObjectModel):
    """One condition, in the Kubernetes form."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    """What is true, false or unknown."""
    status: Annotated[str, Field(pattern="^(True|False|Unknown)$", max_length=7)]
    """`True`, `False` or `Unknown`."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """One CamelCase word for programs."""
    message: Annotated[str, Field(max_length=MAX_MESSAGE)] = ""
    """What is happening and what to do about it."""
    last_transition_time: ObjectTime
    """When `status` last changed."""
    observed_generation: Annotated[int, Field(ge=0, le=2**53)] | None = None
    """Generation of the object that it speaks of."""


CONDITIONS = Field(
    max_length=32, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
)
"""For a list of conditions: at most one of each type."""


def shortened(text: str, limit: int = MAX_MESSAGE) -> str:
    """Return the text, cut to `limit` characters: the API server refuses an object with a longer one."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def to_time(unix_seconds: float) -> str:
    """Return a Unix time as objects hold it, cut to the whole second, so that it is never in the future."""
    return _written(math.floor(unix_seconds))


@functools.lru_cache(maxsize=1024)
def _written(second: int) -> str:
    """Write a time as objects hold it. Cached: the conditions of a status changed at few different seconds."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_time(text: str) -> float:
    """Return the Unix time of a time in an object.

    Raises:
        ValueError: It is not a time with its zone.
    """
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"a time needs its zone, got {text}; write it as 2026-01-31T12:00:00Z")
    return time.timestamp()


def by_type(conditions: Iterable[ObjectCondition]) -> Mapping[str, ObjectCondition]:
    """Conditions by their types."""
    return {condition.type: condition for condition in conditions}
