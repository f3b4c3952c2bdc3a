"""Base of the manifest's models, and the marks that say when a change of a field takes effect."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Self, TypeVar, overload

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationInfo, model_validator
from pydantic.alias_generators import to_camel

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$", max_length=40)]
"""Lower-case letters, digits and hyphens, at most 40 characters: part of generated names and metric labels."""

Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]

KEYED_BY_NAME: dict[str, JsonValue] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
"""As `json_schema_extra` of a list: the API server refuses two items of one name. A rule says the same in Python."""


@dataclass(frozen=True, slots=True)
class Cel:
    """A rule as the API server judges it, in the Common Expression Language."""

    expression: str
    """True where the rule holds. `self` is the model, in the manifest's spelling, with defaults filled in, but not
    within lists (`crd.schema` says why): there `item.?field.orValue(default)`. `oldSelf` is the model before an edit,
    and a rule that speaks of it is asked at edits only."""
    message: str
    """What is wanted, naming the fields in back-quotes. `{...}` holds a CEL expression whose value is shown there."""


_Rule = TypeVar("_Rule", bound=Callable[[Any], None])


@overload
def rule(*forms: Cel) -> Callable[[_Rule], _Rule]: ...
@overload
def rule(check: _Rule, /) -> _Rule: ...
def rule(*forms: Any) -> Any:
    """Mark a method as a rule that crosses fields. It raises ValueError, naming the fields in back-quotes.

    Args:
        forms: The same rule in CEL: together they refuse what the method refuses. None for a rule that the schema
            itself says to the API server, or that CEL cannot say, so that the operator alone judges it.
    """

    def mark(check: _Rule, cel: tuple[Cel, ...] = ()) -> _Rule:
        check.__cel_forms__ = cel  # type: ignore[attr-defined]
        return check

    if len(forms) == 1 and not isinstance(forms[0], Cel):
        return mark(forms[0])
    return lambda check: mark(check, forms)


@functools.cache
def rules_of(model: type[BaseModel]) -> Mapping[str, tuple[Cel, ...]]:
    """Return the rules of a model by their methods' names, each with its forms in CEL."""
    forms = {name: getattr(getattr(model, name, None), "__cel_forms__", None) for name in dir(model)}
    return MappingProxyType({name: cel for name, cel in forms.items() if cel is not None})


@functools.lru_cache(maxsize=4096)
def _shared(names: frozenset[str]) -> set[str]:
    return set(names)


class BrokenRules:
    """Pass as validation context to collect broken rules instead of raising at the first model that breaks one."""

    def __init__(self) -> None:
        self.found: list[tuple[SpecModel, str]] = []


class SpecModel(BaseModel):
    """Base of every model of the manifest: immutable, camelCase in YAML, unknown fields refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    server_rules: ClassVar[tuple[Cel, ...]] = ()
    """Rules that the API server alone judges: they compare the stored object with an edit of it, beyond what follows
    from marks."""
    immutable_remedy: ClassVar[str] = "create another job, with `initFrom` to continue this one's weights"
    """What to do instead of changing an immutable field."""

    @model_validator(mode="after")
    def every_rule_holds(self, info: ValidationInfo) -> Self:
        """Check all rules of this model, so that one broken rule does not hide another."""
        # Which fields were given: one set for all models that were given the same. Of the memory of hundreds of jobs
        # these sets would be two fifths; they are never changed, since a copy of a model gets a copy of its set.
        object.__setattr__(self, "__pydantic_fields_set__", _shared(frozenset(self.model_fields_set)))
        messages = []
        for name in rules_of(type(self)):
            try:
                getattr(self, name)()
            except ValueError as error:
                messages.append(str(error))
        if isinstance(info.context, BrokenRules):
            info.context.found += [(self, message) for message in messages]
        elif messages:
            raise ValueError("; ".join(messages))
        return self


class Change(StrEnum):
    """When an edit of a field takes effect in a run that has begun. Used as a mark inside `Annotated`.

    A section's mark holds for every field below it that has none of its own; without any mark a field is
    `next-attempt`.
    """

    LIVE = "live"
    """At once."""
    STEP_BOUNDARY = "step-boundary"
    """Before the next training step."""
    NEXT_ATTEMPT = "next-attempt"
    """When the learner starts next."""
    IMMUTABLE = "immutable"
    """Never: start another job, with `initFrom` to continue this one's weights."""


def change_marks(
    model: type[BaseModel], prefix: str = "", inherited: Change = Change.NEXT_ATTEMPT
) -> dict[str, Change]:
    """Dotted camelCase path of every leaf section or field to its mark; lists and maps count as one field."""
    marks: dict[str, Change] = {}
    for name, field in model.model_fields.items():
        mark = next((item for item in field.metadata if isinstance(item, Change)), inherited)
        path = f"{prefix}{field.alias or name}"
        nested = _model_of(field.annotation)
        if nested is None:
            marks[path] = mark
        else:
            marks |= change_marks(nested, f"{path}.", mark)
    return marks


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """Return the model that an annotation `Model` or `Model | None` holds, or None."""
    options = getattr(annotation, "__args__", (annotation,)) if not isinstance(annotation, type) else (annotation,)
    models = [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]
    plain = [option for option in options if option is not type(None)]
    return models[0] if len(models) == 1 and len(plain) == 1 else None
