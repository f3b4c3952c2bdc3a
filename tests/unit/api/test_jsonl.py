"""JSON Lines: what a line is, what is refused, and where it stood."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prorl_api import jsonl
from prorl_api.jsonl import LineError, line_at, parse_object, raw_lines

"""Other work on the machine, and tables of characters made at first use, say nothing about the code."""


def write(folder: Path, content: bytes) -> Path:
    path = folder / "rows.jsonl"
    path.write_bytes(content)
    return path


def test_lines_end_with_lf_or_crlf_and_the_last_may_lack_its_end(tmp_path: Path) -> None:
    path = write(tmp_path, b'{"a":1}\r\n{"a":2}\n{"a":3}')
    assert [line.content for line in raw_lines(path)] == [b'{"a":1}', b'{"a":2}', b'{"a":3}']


def test_blank_lines_are_skipped_but_counted(tmp_path: Path) -> None:
    path = write(tmp_path, b"\n{}\n \t\r\n\n{}\n\n")
    assert [line.number for line in raw_lines(path)] == [2, 5]


def test_a_byte_order_mark_at_the_start_is_skipped(tmp_path: Path) -> None:
    path = write(tmp_path, b"\xef\xbb\xbf{}\n{}")
    assert [(line.offset, line.content) for line in raw_lines(path)] == [(3, b"{}"), (6, b"{}")]


def test_a_byte_order_mark_elsewhere_is_an_error() -> None:
    with pytest.raises(LineError, match="one JSON object a line"):
        parse_object(b"\xef\xbb\xbf{}")


@given(lines=st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3), max_size=8))
def test_offsets_lead_back_to_their_lines(
    lines: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write(
        tmp_path_factory.mktemp("lines"),
        "".join(json.dumps(line, ensure_ascii=False) + "\n\n" for line in lines).encode(),
    )
    found = list(raw_lines(path))
    assert [line_at(path, line.offset) for line in found] == [line.content for line in found]
    assert [parse_object(line.content) for line in found] == lines
    assert [line.number for line in found] == [2 * index + 1 for index in range(len(lines))]


def test_a_line_that_is_too_long_is_refused_and_the_next_one_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", 20)
    path = write(tmp_path, b'{"a":"' + b"x" * 3_000_000 + b'"}\n' + b'{"b":"12345678901"}\r\n{"c":1}\n')
    found = list(raw_lines(path))
    assert [line.number for line in found] == [1, 2, 3]
    assert len(found[0].content) < 30
    with pytest.raises(LineError, match="a longer line"):
        parse_object(found[0].content)
    assert [parse_object(line.content) for line in found[1:]] == [{"b": "12345678901"}, {"c": 1}]
    assert line_at(path, found[2].offset) == b'{"c":1}'


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"\xff{}", "byte 0xff at column 1"),
        (b'{"a": 1, "a": 2}', "key 'a' more than once in one object"),
        (b'{"x": {"a": 1, "b": 2, "a": 1}}', "key 'a' more than once in one object"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b'{"a": 1e999}', "1e999"),
        (b'{"a": "\\ud800"}', "a lone surrogate '\\ud800'"),
        (b'{"\\uDFFF": 1}', "a lone surrogate '\\udfff'"),
        (b"[1]", "list '[1]'"),
        (b'"text"', "str"),
        (b"null", "NoneType"),
        (b'{"a": 1} {"b": 2}', "no JSON from column 10 on"),
        (b'{"a": 1', "no JSON from column 8 on"),
        (b'{"a": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deep"),
    ],
)
def test_what_is_refused(content: bytes, got: str) -> None:
    with pytest.raises(LineError) as caught:
        parse_object(content)
    assert got in caught.value.got


def test_a_hundred_levels_are_accepted_and_one_more_is_not() -> None:
    assert parse_object(b'{"a": ' + b"[" * 99 + b"]" * 99 + b"}")
    with pytest.raises(LineError, match="nested too deep"):
        parse_object(b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}")


def test_many_containers_beside_each_other_are_not_deep() -> None:
    assert parse_object(b'{"a": [' + b"[]," * 500 + b"{}]}")


@given(content=st.binary(max_size=60) | st.text(alphabet='{}[]":,\\ud8e1NaI ', max_size=40).map(str.encode))
def test_no_bytes_raise_anything_else(content: bytes) -> None:
    with contextlib.suppress(LineError):
        assert isinstance(parse_object(content), dict)


def test_a_surrogate_pair_is_a_character() -> None:
    assert parse_object(b'{"a": "\\ud83d\\ude00"}') == {"a": "\U0001f600"}
