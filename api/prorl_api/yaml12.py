"""Reading YAML so that kubectl and we see the same document.

kubectl resolves plain scalars by the YAML 1.1 habits of its Go library; YAML 1.2 resolves some of them otherwise:
`no` is false to the one and a string to the other, `014` is twelve or fourteen. Guessing either way would make one
manifest mean two things, so a plain scalar on which the two disagree is refused with its line and the remedy. What
both read alike is read by YAML 1.2's core schema: `1e-4` is a number, a date is a string. Tags, anchors and aliases
are refused too: nothing is constructed from a tag, and no alias can make a small text a large document.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any, NoReturn

import yaml

from prorl_api.errors import Fault, SpecError

MAX_DEPTH = 64
"""Nested lists and objects; a pod template has about fifteen."""

_TAG_TEXT = "tag:yaml.org,2002:str"
_TAG_PLAIN = "tag:prorl.dev,2026:plain"
"""Given to scalars without quotes and without a tag, which have to be resolved."""

_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_DISAGREEMENTS = (
    (re.compile(r"y|Y|yes|Yes|YES|n|N|no|No|NO|on|On|ON|off|Off|OFF"), "write true or false, or quote it"),
    (re.compile(r"[-+]?0[0-9]+"), "a leading zero means octal to kubectl; write the decimal number, or quote it"),
    (re.compile(r"[-+]?0[oO][0-7]+"), "octal is not read alike everywhere; write the decimal number, or quote it"),
    (re.compile(r"[-+]?0[bB][01]+"), "binary is a number to kubectl only; write the decimal number, or quote it"),
    (
        re.compile(r"(?:[-+]0[xX]|0X)[0-9a-fA-F]+"),
        "hexadecimal with a sign or a capital X is a number to kubectl only; write it in decimal, or quote it",
    ),
    (re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"), "sexagesimal in YAML 1.1; quote it"),
    (re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"), "JSON has no such number; write a finite one"),
    (re.compile(r"<<|="), "merge keys are YAML 1.1; repeat the fields"),
)
_NUMBERS = (_INTEGER, _HEXADECIMAL, _FLOAT, *(pattern for pattern, _ in _DISAGREEMENTS[1:5]))


def _refuse(mark: yaml.Mark, got: str, want: str) -> NoReturn:
    raise SpecError([Fault(path=f"line {mark.line + 1}", got=got, want=want)])


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, bounded, that leaves the resolution of plain scalars to us."""

    ESCAPE_REPLACEMENTS = {  # type: ignore[misc]
        key: value for key, value in yaml.SafeLoader.ESCAPE_REPLACEMENTS.items() if key != "/"
    }
    """Without the escaped slash of YAML 1.2, which kubectl does not know."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse what must not be composed, before any of it is."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            got = f"the {'alias *' if isinstance(event, yaml.AliasEvent) else 'anchor &'}{event.anchor}"
            _refuse(event.start_mark, got, "anchors and aliases are not read; repeat the value")
        if event.tag is not None and not (isinstance(event, yaml.ScalarEvent) and event.tag == _TAG_TEXT):
            _refuse(event.start_mark, f"the tag {event.tag}", "tags are not read; remove it, or quote the value")
        if self._depth >= MAX_DEPTH:
            _refuse(event.start_mark, f"more than {MAX_DEPTH} nested lists or objects", "a flatter document")
        self._depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> Any:
        """Return the tag of a node that carries none."""
        if kind is yaml.ScalarNode and implicit[0]:
            return _TAG_PLAIN
        return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]


_Loader.yaml_implicit_resolvers = {}


def _construct_plain(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
    """Resolve one scalar without quotes and tag."""
    text: str = node.value
    remedy = _disagreement(text)
    if remedy is not None:
        _refuse(node.start_mark, f"the plain word {text}", remedy)
    if text in _WORDS:
        return _WORDS[text]
    if _HEXADECIMAL.fullmatch(text):
        return _within_64_bits(node, int(text, 16))
    if _INTEGER.fullmatch(text):
        return _within_64_bits(node, int(text) if len(text) <= 20 else 2**64)
    if _FLOAT.fullmatch(text):
        return _finite(node, float(text))
    return _construct_text(loader, node)


def _disagreement(text: str) -> str | None:
    """Return what to write instead of a plain scalar that kubectl and YAML 1.2 read differently; None if they agree."""
    for pattern, remedy in _DISAGREEMENTS:
        if pattern.fullmatch(text):
            return remedy
    bare = text.replace("_", "")
    if "_" in text[1:] and text[0] != "_" and any(pattern.fullmatch(bare) for pattern in _NUMBERS):
        return "underscores are dropped by kubectl only; write the number without them, or quote it"
    return None


def _within_64_bits(node: yaml.ScalarNode, number: int) -> int:
    if not -(2**63) <= number < 2**63:
        _refuse(node.start_mark, f"the number {node.value[:40]}", "kubectl would round it; write one that fits 64 bits")
    return number


def _finite(node: yaml.ScalarNode, number: float) -> int | float:
    if math.isinf(number):
        _refuse(node.start_mark, f"the number {node.value[:40]}", "no 64-bit number is so large; write a smaller one")
    # kubectl turns YAML into JSON, where 4.0 and 1e3 become 4 and 1000: whole numbers for integer fields. Large ones
    # are written with the fewest digits that tell the float, which `repr` has as well.
    return int(Decimal(repr(number))) if number.is_integer() and abs(number) < 2**63 else number


def _construct_text(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    text: str = node.value
    if any("\ud800" <= character <= "\udfff" for character in text):
        _refuse(node.start_mark, "half a surrogate pair", "write the character itself, or its code as \\U0001F600")
    return text


def _construct_mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    """Return a mapping whose keys are strings and occur once."""
    mapping: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            _refuse(key_node.start_mark, f"the key {key!r}", "keys are strings; quote it")
        if key in mapping:
            _refuse(key_node.start_mark, f"the key {key} a second time", "every key occurs once; remove one of them")
        mapping[key] = loader.construct_object(value_node, deep=True)
    return mapping


_Loader.add_constructor(_TAG_PLAIN, _construct_plain)
_Loader.add_constructor(_TAG_TEXT, _construct_text)
_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)


_PLAIN_WORDS = (
    ("'\\t'", "a tab", "indent with spaces"),
    ("mapping values are not allowed", "a second `: ` in one value, or a line indented too far", "quote the value"),
    ("<block end>", "a line that begins at no column of a line above", "equal indentation within a list or an object"),
    ("could not find expected ':'", "a line that is neither `name: value` nor an item `- value`", "one of the two"),
    ("escape", "a backslash in double quotes with what is no escape", "single quotes, or two backslashes"),
    ("quoted scalar", "a quote that is not closed", "the closing quote"),
    ("flow mapping", "a `{` that is not closed", "`{name: value, name: value}`"),
    ("flow sequence", "a `[` that is not closed", "`[value, value]`"),
    ("<document start>", "more text after the end of the document", "one object, its lines indented alike"),
)
"""Of what PyYAML says: a part that tells it, what it means, and what is wanted."""


def _plainly(said: str) -> tuple[str, str]:
    """Return what was got and what is wanted, for what PyYAML said."""
    return next(((got, want) for part, got, want in _PLAIN_WORDS if part in said), (said, "well-formed YAML"))


def load(text: str, *, source: str = "the manifest") -> list[Any]:
    """Return all documents of a YAML text, empty ones left out.

    Raises:
        SpecError: Not YAML, or something that kubectl would read otherwise or that we do not read, with its line.
    """
    loader: yaml.SafeLoader | None = None
    documents = []
    try:
        loader = _Loader(text)
        while loader.check_data():  # type: ignore[no-untyped-call]
            documents.append(loader.get_data())
        return [document for document in documents if document is not None]
    except SpecError as error:
        raise SpecError(error.faults, source=source) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "the text"
        got, want = _plainly(" ".join(filter(None, (error.context, error.problem))))
        raise SpecError([Fault(path=where, got=got, want=want)], source=source) from error
    except yaml.reader.ReaderError as error:
        where = f"line {text.count(chr(10), 0, error.position) + 1}"
        got = f"the character U+{error.character:04X}"
        want = "printable text; in double quotes it may be written as an escape"
        raise SpecError([Fault(path=where, got=got, want=want)], source=source) from error
    except (ValueError, OverflowError) as error:  # of PyYAML's scanner: an escape that is no character
        where = f"line {loader.line + 1}" if loader else "the text"
        raise SpecError([Fault(path=where, got=str(error), want="well-formed YAML")], source=source) from error
