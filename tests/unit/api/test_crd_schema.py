"""From a model to a structural schema, on small models worked by hand."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field

from prorl_api.crd.objects import ObjectModel
from prorl_api.crd.schema import SchemaError, structural_schema
from prorl_api.spec.base import KEYED_BY_NAME, Cel, Change, rule


class Colour(StrEnum):
    """What it looks like."""

    RED = "red"
    BLUE = "blue"


class Item(ObjectModel):
    """One of them."""

    name: Annotated[str, Field(max_length=9)]
    size: Annotated[int, Field(ge=1, le=8)] = 2


class Inner(ObjectModel):
    """A section."""

    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    extra: Annotated[str, Field(max_length=9)] | None = None


class Outer(ObjectModel):
    """All
    of it."""

    text: Annotated[str, Field(min_length=1, max_length=9, pattern="^a")]
    """Begins
    with a."""
    colour: Colour = Colour.BLUE
    literal: Literal["x", "y"] = "x"
    only: Literal["z"] = "z"
    flag: bool = False
    small: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    large: Annotated[int, Field(gt=-5, le=2**31)] = 0
    huge: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    amount: Annotated[str, Field(max_length=9, pattern="^[0-9]+$")] | Annotated[int, Field(ge=0, le=9)] | None = None
    free: Annotated[dict[str, Any], Field(max_length=4)] = {}
    table: Annotated[dict[str, Annotated[float, Field(ge=0, le=1)]], Field(max_length=4)] = {}
    items: Annotated[tuple[Item, ...], Field(max_length=3, json_schema_extra=KEYED_BY_NAME)] = (Item(name="one"),)
    inner: Inner = Inner()
    own: Inner | None = None
    """Said of this use."""


EXPECTED: dict[str, Any] = {
    "text": {"description": "Begins with a.", "pattern": "^a", "minLength": 1, "maxLength": 9, "type": "string"},
    "colour": {
        "description": "What it looks like.", "default": "blue", "enum": ["red", "blue"], "type": "string",
    },
    "literal": {"default": "x", "enum": ["x", "y"], "type": "string"},
    "only": {"default": "z", "enum": ["z"], "type": "string"},
    "flag": {"default": False, "type": "boolean"},
    "small": {"default": 0, "type": "integer", "format": "int32", "minimum": 0, "maximum": 2147483647},
    "large": {
        "default": 0, "type": "integer", "format": "int64", "minimum": -5, "exclusiveMinimum": True,
        "maximum": 2147483648,
    },
    "huge": {"default": 0, "type": "integer", "format": "int64", "minimum": 0},
    "amount": {
        "x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}],
        "pattern": "^[0-9]+$", "maxLength": 9, "minimum": 0, "maximum": 9,
    },
    "free": {"default": {}, "type": "object", "maxProperties": 4, "x-kubernetes-preserve-unknown-fields": True},
    "table": {
        "default": {}, "type": "object", "maxProperties": 4,
        "additionalProperties": {"type": "number", "minimum": 0.0, "maximum": 1.0},
    },
    "items": {
        "default": [{"name": "one", "size": 2}], "type": "array", "maxItems": 3, "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": {
            "description": "One of them.", "type": "object", "required": ["name"],
            "properties": {
                "name": {"type": "string", "maxLength": 9},
                "size": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 8},
            },
        },
    },
}  # fmt: skip
SECTION: dict[str, Any] = {
    "type": "object",
    "properties": {
        "share": {
            "default": 0.5, "type": "number", "minimum": 0.0, "exclusiveMinimum": True, "maximum": 1.0,
            "exclusiveMaximum": True,
        },
        "extra": {"type": "string", "maxLength": 9},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_a_field_becomes_its_structural_form(name: str) -> None:
    assert structural_schema(Outer)["properties"][name] == EXPECTED[name]


def test_a_section_is_inlined_with_its_default_in_full() -> None:
    inner = structural_schema(Outer)["properties"]["inner"]
    assert inner == {"description": "A section.", "default": {"share": 0.5}, **SECTION}


def test_what_a_field_says_of_itself_wins_over_what_its_model_says() -> None:
    own = structural_schema(Outer)["properties"]["own"]
    assert own == {"description": "Said of this use.", **SECTION}


def test_only_fields_without_a_default_are_required() -> None:
    schema = structural_schema(Outer)
    assert (schema["type"], schema["description"], schema["required"]) == ("object", "All of it.", ["text"])


class Unbounded(ObjectModel):
    """An integer without end."""

    number: int


class Union(ObjectModel):
    """Two things at once."""

    either: Annotated[int, Field(ge=0, le=1)] | bool


class Anything(ObjectModel):
    """No type at all."""

    value: Any


@pytest.mark.parametrize(
    ("model", "path"), [(Unbounded, "Unbounded.number"), (Union, "Union.either"), (Anything, "Anything.value")]
)
def test_what_has_no_structural_form_is_an_error_that_names_the_field(model: type[ObjectModel], path: str) -> None:
    with pytest.raises(SchemaError, match=rf"^{path}: "):
        structural_schema(model)


class Ruled(ObjectModel):
    """With rules."""

    low: Annotated[int, Field(ge=0, le=9), Change.IMMUTABLE]
    high: Annotated[int, Field(ge=0, le=9), Change.IMMUTABLE] = 9
    note: Annotated[Annotated[str, Field(max_length=9)] | None, Change.IMMUTABLE] = None
    free: Annotated[int, Field(ge=0, le=9), Change.LIVE] = 1

    server_rules: ClassVar[tuple[Cel, ...]] = (Cel("self.free >= oldSelf.free", "`free` only grows"),)
    immutable_remedy: ClassVar[str] = "start over"

    @rule(
        Cel("self.low <= self.high", "`low` {self.low} is over 100% of `high` {self.high}"),
        Cel("self.low != 3", "`low` is not 3"),
    )
    def ordered(self) -> None:
        """Low is below high."""

    @rule
    def for_the_operator(self) -> None:
        """What CEL cannot say."""


def test_rules_become_validations_and_values_go_into_their_messages() -> None:
    rules = structural_schema(Ruled)["x-kubernetes-validations"]
    assert rules[:3] == [
        {
            "rule": "self.low <= self.high",
            "messageExpression": '"`low` %s is over 100%% of `high` %s".format([dyn(self.low), dyn(self.high)])',
        },
        {"rule": "self.low != 3", "message": "`low` is not 3"},
        {"rule": "self.free >= oldSelf.free", "message": "`free` only grows"},
    ]


def test_an_immutable_field_stays_as_it_is_and_an_optional_one_neither_comes_nor_goes() -> None:
    rules = structural_schema(Ruled)["x-kubernetes-validations"]
    assert rules[3:] == [
        {
            "rule": "self.low == oldSelf.low",
            "fieldPath": ".low",
            "message": "`low` cannot be changed; put it back, or start over",
        },
        {
            "rule": "self.high == oldSelf.high",
            "fieldPath": ".high",
            "message": "`high` cannot be changed; put it back, or start over",
        },
        {
            "rule": "has(self.note) == has(oldSelf.note) && (!has(self.note) || self.note == oldSelf.note)",
            "fieldPath": ".note",
            "message": "`note` cannot be changed; put it back, or start over",
        },
    ]
