"""The CEL rules of a model: its own rules that cross fields, and those that keep immutable fields as they are. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import BaseModel

from prorl_api.spec.base import Cel, Change, rules_of

_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")


def validations(model: type[BaseModel]) -> list[dict[str, Any]]:
    """`x-kubernetes-validations` of a model."""
    forms = [form for cel in rules_of(model).values() for form in cel]
    forms += getattr(model, "server_rules", ())
    return [*(_validation(form) for form in forms), *_immutability(model)]


def _validation(form: Cel) -> dict[str, Any]:
    """Write one rule; a message with values in it becomes an expression that puts them in."""
    text, *rest = _PLACEHOLDER.split(form.message)  # text, expression, text, expression, ..., text
    if not rest:
        return {"rule": form.expression, "message": form.message}
    # `format`, because the API server takes the sum of texts with string() for unboundedly expensive and refuses it;
    # `dyn`, because a list must be of one type.
    template = "%s".join(part.replace("%", "%%") for part in (text, *rest[1::2]))
    values = ", ".join(f"dyn({expression})" for expression in rest[::2])
    return {
        "rule": form.expression,
        "messageExpression": f"{json.dumps(template, ensure_ascii=False)}.format([{values}])",
    }


def _immutability(model: type[BaseModel]) -> list[dict[str, Any]]:
    """Write one rule a field, at the model that holds it.

    A rule at the field is not asked when the field comes or goes.
    """
    found = []
    for name, field in model.model_fields.items():
        if Change.IMMUTABLE not in field.metadata:
            continue
        alias = field.alias or name
        here, before = f"self.{alias}", f"oldSelf.{alias}"
        same = f"{here} == {before}"
        if not field.is_required() and field.default is None:
            same = f"has({here}) == has({before}) && (!has({here}) || {same})"
        remedy = getattr(model, "immutable_remedy", "create another object")
        message = f"`{alias}` cannot be changed; put it back, or {remedy}"
        found.append({"rule": same, "fieldPath": f".{alias}", "message": message})
    return found
