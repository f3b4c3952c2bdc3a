"""Values that cross the border of a jail: exact builtin types as JSON, and nothing else.

Both sides use this module: the service imports it, and its text is part of the scripts that run in the jails (standard
library only). Reading is strict and yields plain data, whoever wrote it; writing looks at exact types only, so that no
method of a program's own class is ever asked what it is. The service does not `decode` what a program wrote: keys
chosen to collide would make it slow.

None, bool, int, finite float, str and list are written as themselves. The others are an object with one member:
`{"t": [...]}` tuple, `{"s": [...]}` set, `{"z": [...]}` frozenset, `{"d": [[key, value], ...]}` dict, `{"b": base64}`
bytes, `{"f": "nan" | "inf" | "-inf"}` the other floats. `collections`' defaultdict, OrderedDict and Counter are written
as dicts, which is what they are used as; every other type is refused by name.
"""

from __future__ import annotations

import binascii
import collections
import json
import math
from collections.abc import Callable
from typing import Any

MAX_DEPTH = 64
MAX_NODES = 1_000_000
_MAX_BITS = 14_000
"""json writes no integer of more than 4300 digits."""
_DICTS = (dict, collections.defaultdict, collections.OrderedDict, collections.Counter)
_SEQUENCES: dict[type, str] = {list: "", tuple: "t", set: "s", frozenset: "z"}
_KINDS: dict[str, Any] = {"t": tuple, "s": set, "z": frozenset}
_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class RefusedError(Exception):
    """A value that cannot cross; the message says which type, or what is malformed.

    Attributes:
        may_be_computed: Too large, or of a type that calculating with values that crossed can lead to.
    """

    def __init__(self, reason: str, *, may_be_computed: bool = False) -> None:
        super().__init__(reason)
        self.may_be_computed = may_be_computed


def encode(value: object) -> object:
    """Return the JSON form of a value.

    Raises:
        RefusedError: It holds something that is no exact builtin type, or too much of it.
    """
    return _encode(value, 0, [MAX_NODES])


def decode(form: object) -> object:
    """Return the value of a JSON form.

    Raises:
        RefusedError: It is no such form, or too large.
    """
    return _decode(form, 0, [MAX_NODES])


def loads(text: bytes) -> object:
    """Parse JSON without its liberties (NaN, repeated names, other encodings).

    Raises:
        RefusedError: It is malformed or nested too deeply.
    """
    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"malformed JSON: {str(error)[:100]}") from None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise RefusedError("malformed JSON: a name is repeated")
    return members


def _constant(name: str) -> object:
    raise RefusedError(f"malformed JSON: {name}")


def _count(depth: int, left: list[int]) -> None:
    left[0] -= 1
    if depth > MAX_DEPTH or left[0] < 0:
        reason = f"a value nested deeper than {MAX_DEPTH} or of more than {MAX_NODES} parts"
        raise RefusedError(reason, may_be_computed=True)


def _encode(value: Any, depth: int, left: list[int]) -> object:
    _count(depth, left)
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind in _DICTS:
        items = dict.items(value)
        return {"d": [[_encode(key, depth + 1, left), _encode(part, depth + 1, left)] for key, part in items]}
    if kind in _SEQUENCES:
        return _encode_sequence(_SEQUENCES[kind], [_encode(part, depth + 1, left) for part in kind.__iter__(value)])
    return _encode_scalar(kind, value)


def _encode_sequence(tag: str, parts: list[object]) -> object:
    if not tag:
        return parts
    return {tag: parts if tag == "t" else sorted(parts, key=json.dumps)}


def _encode_scalar(kind: type, value: Any) -> object:
    if kind is int:
        if value.bit_length() > _MAX_BITS:
            raise RefusedError("an integer of more than 4200 digits", may_be_computed=True)
        return value
    if kind is float:
        return value if math.isfinite(value) else {"f": repr(value)}
    if kind is bytes:
        return {"b": binascii.b2a_base64(value, newline=False).decode("ascii")}
    raise RefusedError(f"a value of type {str(kind.__name__)[:100]}", may_be_computed=kind is complex)


def _decode(form: object, depth: int, left: list[int]) -> object:
    _count(depth, left)
    if isinstance(form, list):
        return [_decode(part, depth + 1, left) for part in form]
    if not isinstance(form, dict):
        return form
    if len(form) != 1:
        raise RefusedError("malformed value: an object that is no single tag")
    ((tag, content),) = form.items()
    if tag in _KINDS and isinstance(content, list):
        return _hashing(lambda: _KINDS[tag](_decode(part, depth + 1, left) for part in content))
    if tag == "d" and isinstance(content, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in content):
        return _hashing(lambda: {_decode(k, depth + 1, left): _decode(v, depth + 1, left) for k, v in content})
    if tag == "f" and isinstance(content, str) and content in _FLOATS:
        return _FLOATS[content]
    if tag == "b" and isinstance(content, str):
        try:
            return binascii.a2b_base64(content, strict_mode=True)
        except ValueError:
            pass
    raise RefusedError(f"malformed value: tag {tag[:20]!r}")


def _hashing(build: Callable[[], object]) -> object:
    try:
        return build()
    except TypeError:
        raise RefusedError("malformed value: a key or member that cannot be hashed") from None
