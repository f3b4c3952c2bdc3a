"""Values that cross the border of a jail: builtin types as JSON, and nothing else.

Both sides use this module: the service imports it, and its text is part of the scripts that run in the jails (standard
library only). Reading is strict and yields plain data, whoever wrote it; writing takes the content that a type of
Python's own keeps, so that no method of a program's own class is ever asked what it is. The service does not `decode`
what a program wrote: keys chosen to collide would make it slow.

None, bool, int, finite float, str and list are written as themselves. The others are an object with one member:
`{"t": [...]}` tuple, `{"s": [...]}` set, `{"z": [...]}` frozenset, `{"d": [[key, value], ...]}` dict, `{"b": base64}`
bytes, `{"f": "nan" | "inf" | "-inf"}` the other floats, `{"q": [...]}` deque, `{"r": [start, stop, step]}` range,
`{"D": text}` Decimal, `{"F": [numerator, denominator]}` Fraction, `{"a": nested lists}` an array of numpy. Scalars of
numpy are written as Python's. `collections`' defaultdict, OrderedDict and Counter are written as dicts, which is what
they are used as. A value of a subclass (a named tuple, a member of an IntEnum) is written by its content, unless it
must arrive as what it is: then it is refused by name, as is every other type.
"""

from __future__ import annotations

import binascii
import collections
import json
import math
import re
import sys
from collections.abc import Callable
from typing import Any

MAX_DEPTH = 64
MAX_NODES = 1_000_000
_MAX_BITS = 14_000
"""json writes no integer of more than 4300 digits."""
_DICTS = (dict, collections.defaultdict, collections.OrderedDict, collections.Counter)
_SEQUENCES: dict[type, str] = {list: "", tuple: "t", set: "s", frozenset: "z", collections.deque: "q"}
_KINDS: dict[str, Any] = {"t": tuple, "s": set, "z": frozenset, "q": collections.deque}
_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_DECIMAL = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:E[+-]?[0-9]{1,6})?", re.ASCII)
_CONTENTS: dict[type, Callable[[Any], object]] = {int: int.__index__, float: float.__float__, str: str.__str__}
"""Of subclasses that hold a scalar: the builtin's own method, which looks at nothing of the subclass's."""


class RefusedError(Exception):
    """A value that cannot cross; the message says which type, or what is malformed.

    Attributes:
        may_be_computed: Too large, or of a type that calculating with values that crossed can lead to.
    """

    def __init__(self, reason: str, *, may_be_computed: bool = False) -> None:
        super().__init__(reason)
        self.may_be_computed = may_be_computed


def encode(value: object, *, is_faithful: bool = False) -> object:
    """Return the JSON form of a value.

    Args:
        value: Anything.
        is_faithful: Refuse what would arrive as another type.

    Raises:
        RefusedError: It holds something that is no builtin type, or too much of it.
    """
    return _Encoder(is_faithful).encode(value, 0)


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


class _Encoder:
    """Writes one value, and counts its parts."""

    def __init__(self, is_faithful: bool) -> None:
        self._is_faithful = is_faithful
        self._left = [MAX_NODES]

    def encode(self, value: Any, depth: int) -> object:
        """Return the form of a value or of a part."""
        _count(depth, self._left)
        kind = type(value)
        if value is None or kind is bool or kind is str:
            return value
        if kind in _DICTS:
            return self._dict(value, depth)
        if kind in _SEQUENCES:
            return self._sequence(kind, value, depth)
        if kind is int or kind is float or kind is bytes:
            return _encode_scalar(kind, value)
        return self._other(kind, value, depth)

    def _dict(self, value: Any, depth: int) -> object:
        items = dict.items(value)
        return {"d": [[self.encode(key, depth + 1), self.encode(part, depth + 1)] for key, part in items]}

    def _sequence(self, kind: Any, value: Any, depth: int) -> object:
        parts = [self.encode(part, depth + 1) for part in kind.__iter__(value)]
        tag = _SEQUENCES[kind]
        if not tag:
            return parts
        return {tag: sorted(parts, key=json.dumps) if tag in "sz" else parts}

    def _other(self, kind: type, value: Any, depth: int) -> object:
        tag, content = _richer(kind, value)
        if tag:
            return {tag: content if tag == "D" else self.encode(content, depth + 1)}
        if not self._is_faithful:
            if (numpy := sys.modules.get("numpy")) is not None and isinstance(value, numpy.generic):
                return self.encode(value.item(), depth + 1)
            for base in kind.__mro__:
                if base in _CONTENTS:
                    return self.encode(_CONTENTS[base](value), depth + 1)
                if base in _SEQUENCES or base is dict:
                    return self._dict(value, depth) if base is dict else self._sequence(base, value, depth)
        raise RefusedError(f"a value of type {str(kind.__name__)[:100]}", may_be_computed=kind is complex)


def _richer(kind: type, value: Any) -> tuple[str, object]:
    """Return the tag and the content of a value of the libraries' exact types; an empty tag for any other."""
    if kind is range:
        return "r", [value.start, value.stop, value.step]
    if _is_of(kind, "decimal", "Decimal") and _DECIMAL.fullmatch(text := str(value)):
        return "D", text
    if _is_of(kind, "fractions", "Fraction"):
        return "F", [value.numerator, value.denominator]
    return ("a", value.tolist()) if _is_of(kind, "numpy", "ndarray") else ("", None)


def _is_of(kind: type, module: str, name: str) -> bool:
    """Tell whether it is a class of a module, if that was imported."""
    return module in sys.modules and kind is getattr(sys.modules[module], name, None)


def _encode_scalar(kind: type, value: Any) -> object:
    if kind is int:
        if value.bit_length() > _MAX_BITS:
            raise RefusedError("an integer of more than 4200 digits", may_be_computed=True)
        return value
    if kind is float:
        return value if math.isfinite(value) else {"f": repr(value)}
    return {"b": binascii.b2a_base64(value, newline=False).decode("ascii")}


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
    if tag in _RICHER:
        return _RICHER[tag](content, depth, left)
    raise RefusedError(f"malformed value: tag {tag[:20]!r}")


def _hashing(build: Callable[[], object]) -> object:
    try:
        return build()
    except TypeError:
        raise RefusedError("malformed value: a key or member that cannot be hashed") from None


def _decode_bytes(content: object, depth: int, left: list[int]) -> object:
    if isinstance(content, str):
        try:
            return binascii.a2b_base64(content, strict_mode=True)
        except ValueError:
            pass
    raise RefusedError("malformed value: bytes")


def _decode_range(content: object, depth: int, left: list[int]) -> object:
    if isinstance(content, list) and [type(part) for part in content] == [int] * 3 and content[2]:
        return range(*content)
    raise RefusedError("malformed value: a range")


def _decode_decimal(content: object, depth: int, left: list[int]) -> object:
    from decimal import Decimal

    if isinstance(content, str) and _DECIMAL.fullmatch(content):
        return Decimal(content)
    raise RefusedError("malformed value: a decimal")


def _decode_fraction(content: object, depth: int, left: list[int]) -> object:
    from fractions import Fraction

    if isinstance(content, list) and [type(part) for part in content] == [int] * 2 and content[1]:
        return Fraction(*content)
    raise RefusedError("malformed value: a fraction")


def _decode_array(content: object, depth: int, left: list[int]) -> object:
    """Return an array where numpy is there, else the lists that it holds."""
    lists = _decode(content, depth + 1, left)
    numpy: Any = sys.modules.get("numpy")
    if numpy is None:
        return lists
    try:
        return numpy.array(lists)
    except (ValueError, OverflowError):
        raise RefusedError("malformed value: an array") from None


_RICHER: dict[str, Callable[[object, int, list[int]], object]] = {
    "b": _decode_bytes,
    "r": _decode_range,
    "D": _decode_decimal,
    "F": _decode_fraction,
    "a": _decode_array,
}
