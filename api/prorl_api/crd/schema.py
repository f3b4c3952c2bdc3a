"""From pydantic models to Kubernetes' structural schemas (apiextensions v1). Pure.

The API server takes a part of JSON schema only: no references, no unions, exclusive bounds as booleans. What a model
says beyond that cannot be carried over and is an error here, never left out.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from prorl_api.crd.validations import validations

_INT32 = range(-(2**31), 2**31)
_LARGEST_EXACT = 2**53
"""Bounds of a schema are float64 to the API server; larger integers are bounded by their format."""
_KEPT = (
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "format",
)
_PREFIX = "x-kubernetes-"
_INT_OR_STRING = {"integer", "string"}


class SchemaError(TypeError):
    """A model says something that a structural schema cannot say."""


def structural_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the structural schema of a model, with its rules, defaults, bounds and descriptions.

    Raises:
        SchemaError: Part of the model has no structural form.
    """
    schema = model.model_json_schema(by_alias=True, schema_generator=_Generator)
    return _without_defaults_in_lists(_structural(schema, schema.get("$defs", {}), model.__name__))


class _Generator(GenerateJsonSchema):
    """Pydantic's generator, with the models' rules, and with defaults as a manifest spells them."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Return the schema of a model with its rules."""
        found = super().model_schema(schema)
        rules = validations(schema["cls"])
        return {**found, f"{_PREFIX}validations": rules} if rules else found

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        """Keep the order of the models, which is the order of reading."""
        return value

    def encode_default(self, dft: Any) -> Any:
        """Write defaults in full, although fields below have the same: the API server judges a default as it stands."""
        if isinstance(dft, BaseModel):
            return dft.model_dump(mode="json", by_alias=True, exclude_none=True)
        if isinstance(dft, tuple | list):
            return [self.encode_default(item) for item in dft]
        return super().encode_default(dft)


def _structural(node: dict[str, Any], definitions: dict[str, Any], path: str) -> dict[str, Any]:
    node = _without_union(_resolved(node, definitions), definitions, path)
    result: dict[str, Any] = {}
    if description := " ".join(node.get("description", "").split()):
        result["description"] = description
    if node.get("default") is not None:
        result["default"] = node["default"]
    result |= {key: node[key] for key in _KEPT if key in node}
    result |= {key: value for key, value in node.items() if key.startswith(_PREFIX)}
    if "const" in node:
        result["enum"] = [node["const"]]
    if f"{_PREFIX}int-or-string" in node:
        return result | {"anyOf": node["anyOf"]} | _bounds(node)
    match node.get("type"):
        case "object":
            return result | _object(node, definitions, path)
        case "array":
            return result | {"type": "array", "items": _structural(node["items"], definitions, f"{path}[]")}
        case "integer":
            return result | {"type": "integer", "format": _integer_format(node, path)} | _bounds(node)
        case "number":
            return result | {"type": "number"} | _bounds(node)
        case "string" | "boolean":
            return result | {"type": node["type"]}
    raise SchemaError(f"{path}: a structural schema cannot say {node}; choose another type for the field")


def _without_defaults_in_lists(node: dict[str, Any], *, is_in_list: bool = False) -> dict[str, Any]:
    """Return the schema without defaults below lists.

    `kubectl apply` compares a list as a whole: one whose items the server completed differs from the manifest for ever,
    so that every apply would be a change, and a server-side one a conflict. The models fill those defaults in.
    """
    result = {key: value for key, value in node.items() if not (key == "default" and is_in_list)}
    if "properties" in node:
        result["properties"] = {
            name: _without_defaults_in_lists(child, is_in_list=is_in_list) for name, child in node["properties"].items()
        }
    if "items" in node:
        result["items"] = _without_defaults_in_lists(node["items"], is_in_list=True)
    if "additionalProperties" in node:
        result["additionalProperties"] = _without_defaults_in_lists(node["additionalProperties"], is_in_list=is_in_list)
    return result


def _resolved(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the node with its reference followed; what stands beside the reference is about this use and wins."""
    while "$ref" in node:
        beside = {key: value for key, value in node.items() if key != "$ref"}
        node = {**definitions[node["$ref"].rpartition("/")[2]], **beside}
    return node


def _without_union(node: dict[str, Any], definitions: dict[str, Any], path: str) -> dict[str, Any]:
    """`X | None` as X, which the API server lets be absent; text or integer as Kubernetes' int-or-string."""
    if "anyOf" not in node:
        return node
    options = [_resolved(option, definitions) for option in node["anyOf"] if option.get("type") != "null"]
    beside = {key: value for key, value in node.items() if key != "anyOf"}
    if len(options) == 1:
        return _without_union({**options[0], **beside}, definitions, path)
    if len(options) == 2 and {option.get("type") for option in options} == _INT_OR_STRING:
        both = {key: value for option in options for key, value in option.items() if key != "type"}
        types = [{"type": kind} for kind in sorted(_INT_OR_STRING)]
        return {**both, **beside, f"{_PREFIX}int-or-string": True, "anyOf": types}
    raise SchemaError(f"{path}: a structural schema has no unions but int-or-string, got {node['anyOf']}")


def _object(node: dict[str, Any], definitions: dict[str, Any], path: str) -> dict[str, Any]:
    if "properties" in node:
        properties = {
            name: _structural(child, definitions, f"{path}.{name}") for name, child in node["properties"].items()
        }
        required = {"required": node["required"]} if node.get("required") else {}
        # The API server drops an empty map, and would then differ from the file for ever.
        fields = {"properties": properties} if properties else {"maxProperties": 0}
        return {"type": "object", **fields, **required}
    values = node.get("additionalProperties")
    if isinstance(values, dict):
        return {"type": "object", "additionalProperties": _structural(values, definitions, f"{path}[]")}
    if values is False:
        raise SchemaError(f"{path}: an object without any field")
    return {"type": "object", f"{_PREFIX}preserve-unknown-fields": True}


def _integer_format(node: dict[str, Any], path: str) -> str:
    bounds = [node[key] for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum") if key in node]
    bounds += node.get("enum", [])
    if not bounds:
        raise SchemaError(f"{path}: an integer without bounds; give it `ge` and `le`")
    return "int32" if all(bound in _INT32 for bound in bounds) else "int64"


def _bounds(node: dict[str, Any]) -> dict[str, Any]:
    """Bounds in the form of JSON schema's draft 4: an exclusive bound is a bound with a flag."""
    result: dict[str, Any] = {}
    for side in ("minimum", "maximum"):
        exclusive = f"exclusive{side.capitalize()}"
        if exclusive in node:
            result |= {side: node[exclusive], exclusive: True}
        elif side in node and abs(node[side]) <= _LARGEST_EXACT:
            result[side] = node[side]
    return result
