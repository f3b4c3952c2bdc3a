"""The instruction-following part of the Llama-Nemotron post-training set (nvidia), and sets in IFEval's own form.

Fields: `input` (messages), `args` with `instruction_id_list` and `instruction_kwargs`, and metadata; `system_prompt`
switches that model's thinking on or off and is left out. IFEval's own form (google): `prompt`, `instruction_id_list`,
`kwargs`. Arguments that are null, or NaN as pandas writes nulls, are those that the instruction does not have. Whole
numbers may have become floats on the way (20.0), and a language may name a region (zh-CN): both are written as the
instruction means them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from prorl_api.spec.values import Domain
from prorl_cli.data.importers.base import Imported, Importer, Skipped, conversation, text_of


def convert(record: Mapping[str, Any]) -> Imported | Skipped:
    """Return a prompt with its verifiable instructions."""
    arguments = record.get("args")
    if isinstance(arguments, dict):
        instructions = _instructions(arguments.get("instruction_id_list"), arguments.get("instruction_kwargs"))
    else:
        instructions = _instructions(record.get("instruction_id_list"), record.get("kwargs"))
    if isinstance(instructions, Skipped):
        return instructions
    messages = conversation(record.get("input"))
    asked = [message for message in messages if message["role"] != "system"]
    left_out = len(asked) < len(messages) or bool(text_of(record, "system_prompt"))
    notes = ("system message left out",) if left_out else ()
    prompt = text_of(record, "prompt")
    if len(asked) == 1 and asked[0]["role"] == "user" and asked[0]["content"].strip():
        return Imported(asked[0]["content"], {"instructions": instructions}, notes)
    if len(asked) > 1 and asked[-1]["role"] == "user":
        return Imported(asked, {"instructions": instructions}, notes)
    if not messages and prompt:
        return Imported(prompt, {"instructions": instructions}, notes)
    return Skipped("no prompt that ends with a user's message")


def _instructions(ids: Any, arguments: Any) -> list[dict[str, Any]] | Skipped:
    if not isinstance(ids, list) or not ids or not all(isinstance(name, str) for name in ids):
        return Skipped("no instructions")
    if not isinstance(arguments, list) or len(arguments) != len(ids):
        return Skipped("not one set of arguments for every instruction")
    if not all(_is_null(given) or isinstance(given, dict) for given in arguments):
        return Skipped("arguments of an instruction are not an object")
    return [
        {"id": name, "arguments": {} if _is_null(given) else _meant(given)}
        for name, given in zip(ids, arguments, strict=True)
    ]


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _meant(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _meant_value(name, value) for name, value in arguments.items() if not _is_null(value)}


def _meant_value(name: str, value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if name == "language" and isinstance(value, str):
        return re.split("[-_]", value)[0].lower()
    return value


LLAMA_NEMOTRON = Importer(
    name="llama-nemotron-if",
    domain=Domain.INSTRUCTION_FOLLOWING,
    description="Llama-Nemotron RL/instruction_following, or IFEval's own form",
    convert=convert,
)
