"""What a null means in a manifest: the field is not set, as the API server takes it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import MappingProxyType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

_CONTAINERS = (dict, list)


def without_nulls(value: Any, annotation: Any) -> Any:
    """Return the value without the fields and map entries that are null, so that defaults hold there.

    Nulls stay as items of lists, under unknown names, and inside free-form values: they mean something there, or
    are faults.

    Args:
        value: As parsed from JSON or YAML.
        annotation: Type of the value: `ProRLJob` for a whole manifest.
    """
    return _without_nulls(value, _plain(annotation))


def _without_nulls(value: Any, kind: Any) -> Any:
    """Do the same for a plain type."""
    if isinstance(value, list):
        return (
            [_without_nulls(item, _plain(get_args(kind)[0])) for item in value] if get_origin(kind) is tuple else value
        )
    if not isinstance(value, dict):
        return value
    kinds: Mapping[str, Any]
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        kinds = _fields(kind)
    elif get_origin(kind) is dict and get_args(kind)[1] is not Any:
        kinds = dict.fromkeys(value, _plain(get_args(kind)[1]))
    else:
        return value
    return {
        key: _without_nulls(item, kinds.get(key, Any)) if isinstance(item, _CONTAINERS) else item
        for key, item in value.items()
        if item is not None or key not in kinds
    }


@functools.cache
def _fields(model: type[BaseModel]) -> Mapping[str, Any]:
    """Plain types by the manifest's names."""
    fields = model.model_fields.items()
    return MappingProxyType({field.alias or name: _plain(field.annotation) for name, field in fields})


def _plain(annotation: Any) -> Any:
    """Strip `Annotated` and `| None`."""
    while True:
        origin, arguments = get_origin(annotation), get_args(annotation)
        options = [option for option in arguments if option is not type(None)]
        if origin is Annotated or (origin in (Union, UnionType) and len(options) == 1):
            annotation = options[0]
        else:
            return annotation
