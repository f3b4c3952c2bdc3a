"""Reading YAML: what kubectl reads, or a refusal with line and remedy."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from prorl_api import yaml12
from prorl_api.errors import Fault, SpecError
from prorl_api.manifest import parse_job, read_job

# What kubectl's library reads, made by kubectl_scalars.go beside it.
KUBECTL: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent / "data/kubectl_scalars.json").read_text("utf-8")
)

WORDS = [
    *("yes", "Yes", "YES", "no", "No", "NO", "on", "On", "ON", "off", "Off", "OFF", "y", "Y", "n", "N"),
    *("true", "True", "TRUE", "false", "False", "FALSE", "~", "null", "Null", "NULL", ""),
]


def read(scalar: str) -> Any:
    return yaml12.load(f"v: {scalar}\n")[0]["v"]


def fault_of(text: str) -> Fault:
    with pytest.raises(SpecError) as caught:
        yaml12.load(text)
    (fault,) = caught.value.faults
    return fault


def as_the_api_server_reads(value: Any) -> Any:
    """JSON numbers as the API server holds them: whole ones that fit 64 bits as integers, others as doubles."""
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return float(value)
    return value


@pytest.mark.parametrize("scalar", KUBECTL)
def test_every_scalar_is_refused_or_read_as_kubectl_reads_it(scalar: str) -> None:
    try:
        ours = read(scalar)
    except SpecError:
        return
    theirs = KUBECTL[scalar]
    assert "value" in theirs, f"kubectl refuses this: {theirs['error']}"
    wanted = as_the_api_server_reads(theirs["value"])
    assert (type(ours), ours) == (type(wanted), wanted)


@pytest.mark.parametrize("word", WORDS)
def test_the_table_holds_every_word_that_was_ever_a_boolean_or_null(word: str) -> None:
    assert word in KUBECTL


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("1e-4", 0.0001), ("1E4", 10000), (".5", 0.5), ("5.", 5), ("+1", 1), ("-0", 0), ("0x1F", 31),
        ("-.5e-3", -0.0005), ("4.0", 4), ("1e3", 1000), ("1e15", 10**15), ("1e21", 1e21), ("true", True),
        ("FALSE", False), ("~", None), ("", None), ("NULL", None), ("2020-01-01", "2020-01-01"), ("0.1e", "0.1e"),
        ("1e", "1e"), ("0x", "0x"), (".", "."), ("...", "..."), ('"no"', "no"), ("!!str", ""), ("!!str 014", "014"),
        ("inf", "inf"), ("10Gi", "10Gi"), ("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00"),
        ("9223372036854775807", 2**63 - 1),
    ],
)  # fmt: skip
def test_what_all_read_alike_is_read(scalar: str, value: Any) -> None:
    assert (type(read(scalar)), read(scalar)) == (type(value), value)


@pytest.mark.parametrize(
    ("scalar", "remedy"),
    [
        ("no", "true or false"), ("Off", "true or false"), ("y", "true or false"), ("014", "leading zero"),
        ("08", "leading zero"), ("0o14", "octal"), ("0b11", "binary"), ("0X1F", "hexadecimal"),
        ("-0x1F", "hexadecimal"), ("1_000", "underscores"), (".5_0", "underscores"), ("1:30", "sexagesimal"),
        ("190:20:30", "sexagesimal"), (".inf", "finite"), ("-.INF", "finite"), (".nan", "finite"), ("1e400", "smaller"),
        ("-1e400", "smaller"), ("123456789012345678901234567890", "64 bits"), ("9223372036854775808", "64 bits"),
        ("9" * 5000, "64 bits"), ("0xFFFFFFFFFFFFFFFF", "64 bits"), ("<<", "merge keys"), ("=", "merge keys"),
        ("!!int 12", "tags are not read"), ('"\\ud83d"', "the character itself"),
    ],
)  # fmt: skip
def test_what_is_not_read_alike_is_refused_with_its_line_and_remedy(scalar: str, remedy: str) -> None:
    fault = fault_of(f"first: 1\nsecond: {scalar}\n")
    assert fault.path == "line 2"
    assert remedy in fault.want


@pytest.mark.parametrize(
    ("text", "path", "remedy"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3", "every key occurs once"),
        ('{"a": 1, a: 2}', "line 1", "every key occurs once"),
        ("a:\n  1: x\n", "line 2", "keys are strings"),
        ("~: x\n", "line 1", "keys are strings"),
        ("? [a, b]\n: x\n", "line 1", "keys are strings"),
        ("base: &base {a: 1}\nuse: *base\n", "line 1", "anchors and aliases are not read"),
        ("a: 1\nuse: *base\n", "line 2", "anchors and aliases are not read"),
        ("a:\n\tb: 1\n", "line 2, column 1", "indent with spaces"),
        ("a: 1\nb: !!python/object:os.system {}\n", "line 2", "tags are not read"),
        ("a: !!python/object/apply:os.system [id]\n", "line 1", "tags are not read"),
        ("a: !custom 1\n", "line 1", "tags are not read"),
        ("a: !!set {x}\n", "line 1", "tags are not read"),
        ("a: 1\nb: \x07\n", "line 2", "printable"),
        ('a: 1\nb: "\\UFFFFFFFF"\n', "line 2", "well-formed"),
        ('a: "x', "line 1, column 6", "closing quote"),
        ("a: b: c\n", "line 1, column 5", "quote the value"),
    ],
)
def test_every_malformed_text_is_refused_with_its_line_and_remedy(text: str, path: str, remedy: str) -> None:
    fault = fault_of(text)
    assert fault.path == path
    assert remedy in fault.want


@pytest.mark.parametrize("text", ["[" * 20_000, "{a: " * 20_000, "- " * 20_000, "? " * 20_000])
def test_deep_nesting_is_a_fault_and_no_recursion_error(text: str) -> None:
    assert "more than 64 nested" in fault_of(text).got


def test_nesting_up_to_the_limit_is_read() -> None:
    depth = yaml12.MAX_DEPTH - 1
    (document,) = yaml12.load("[" * depth + "1" + "]" * depth)
    while isinstance(document, list):
        (document,) = document
    assert document == 1


def test_an_alias_bomb_costs_no_memory() -> None:
    levels = [f"l{level}: &l{level} [{', '.join([f'*l{level - 1}'] * 9)}]" for level in range(1, 12)]
    bomb = "\n".join(["l0: &l0 [lol]", *levels])
    tracemalloc.start()
    assert fault_of(bomb).path == "line 1"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"", "0 documents"),
        (b"# only a comment\n---\n", "0 documents"),
        (b"a: 1\n---\nb: 2\n", "2 documents"),
        (b"- a\n", "list"),
        (b"text", "a text"),
        (b"a: \xff\xfe\n", "no UTF-8 text (byte 3)"),
    ],
)
def test_a_file_without_exactly_one_object_is_refused(tmp_path: Path, content: bytes, got: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError, match="ProRLJob") as caught:
        read_job(path)
    assert got in caught.value.faults[0].got
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_a_spec_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such file"):
        read_job(tmp_path / "absent.yaml")


def test_yaml_writes_a_whole_number_as_a_float_and_an_integer_field_takes_it() -> None:
    text = (
        "apiVersion: prorl.dev/v1alpha1\nkind: ProRLJob\nmetadata: {name: demo}\nspec:\n  model: {path: ./model}\n"
        "  data: {sources: [{name: a, domain: math, jsonl: a.jsonl, heldOut: 9}]}\n  rollout: {replicas: 4.0}\n"
    )
    assert parse_job(text).spec.rollout.replicas == 4
