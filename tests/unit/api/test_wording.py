"""Messages speak our words: no library's, and no number of the operating system's."""

from __future__ import annotations

import errno
import importlib
import json
import os
import pkgutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

import prorl_api
from prorl_api import yaml12
from prorl_api.data_lines import data_faults
from prorl_api.errors import SpecError
from prorl_api.manifest import read_job
from prorl_api.model.folder import look_at
from prorl_api.rows import Row
from prorl_api.spec.base import SpecModel
from prorl_api.spec.roles import Quantity
from prorl_api.spec.values import Domain
from prorl_api.wire.base import WireModel
from prorl_api.wording import PATTERNS, reason_of, wanted
from tests.model_folder import write_model_files
from tests.raw_words import RAW

sys.path.insert(0, str(Path(__file__).parent))
from api_builders import faults_of
from bad_manifests import SCHEMA_ROWS, Bad


def schemas(value: Any) -> Iterator[dict[str, Any]]:
    """Every schema within a JSON schema."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from schemas(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from schemas(inner)


for part in pkgutil.walk_packages(prorl_api.__path__, "prorl_api."):
    if "__main__" not in part.name:
        importlib.import_module(part.name)


def models_of(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Every model of ours that derives from one."""
    for model in base.__subclasses__():
        yield from models_of(model)
        if model.__module__.startswith("prorl_api."):
            yield model


@pytest.mark.parametrize("base", [WireModel, SpecModel, Row], ids=lambda base: base.__name__)
def test_every_pattern_of_a_model_has_words(base: type[BaseModel]) -> None:
    quantity = {schema["pattern"] for schema in schemas(TypeAdapter(Quantity).json_schema()) if "pattern" in schema}
    found = {
        schema["pattern"]
        for model in models_of(base)
        for schema in schemas(model.model_json_schema())
        if isinstance(schema.get("pattern"), str)
    }
    assert found
    assert found - quantity <= set(PATTERNS)


@pytest.mark.parametrize("row", SCHEMA_ROWS, ids=lambda row: row.path)
def test_no_fault_of_a_manifest_speaks_a_librarys_words(row: Bad) -> None:
    for fault in faults_of(row.changes):
        assert not RAW.search(fault.want), fault


@pytest.mark.parametrize(
    "text",
    [
        "a: b: c\n", "a:\n  - x\n - y\n", "a:\n\tb: 1\n", "a: 'x\n", "a: {b: 1\n", "a: [1, 2\n", "a\nb: 1\n",
        "a: 1\n b: 2\n", "- a\nb: 1\n", 'a: "\\q"\n', "a: 1\nb\n",
    ],
)  # fmt: skip
def test_no_fault_of_a_text_speaks_the_parsers_words(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        yaml12.load(text)
    (fault,) = caught.value.faults
    assert not RAW.search(str(fault))
    assert fault.path.startswith("line ")


BAD_LINES: list[tuple[Domain, dict[str, Any]]] = [
    (Domain.MATH, {"prompt": "x", "row": {"answer": {}}}),
    (Domain.MATH, {"prompt": 3, "row": {}}),
    (Domain.MATH, {"prompt": [{"role": "me", "content": 1}], "row": {"answer": "1", "extra": 1}}),
    (Domain.STEM, {"prompt": "x", "row": {"answer": "A", "choices": {"a": "1"}}}),
    (Domain.LOGIC, {"prompt": "x", "row": {"task": "Not One", "entry": 3}}),
    (Domain.CODE, {"prompt": "x", "row": {"tests": []}}),
    (Domain.CODE, {"prompt": "x", "row": {"tests": [{"type": "call", "function": "1f"}], "language": "P"}}),
    (Domain.INSTRUCTION_FOLLOWING, {"prompt": "x", "row": {"instructions": [{"id": "NO", "arguments": 3}]}}),
    (
        Domain.INSTRUCTION_FOLLOWING,
        {"prompt": "x", "row": {"instructions": [{"id": "length_constraints:number_words", "arguments": {"n": 1}}]}},
    ),
]


@pytest.mark.parametrize(("domain", "line"), BAD_LINES)
def test_no_fault_of_a_row_speaks_a_librarys_words(domain: Domain, line: dict[str, Any]) -> None:
    faults = data_faults(line, domain)
    assert faults
    assert not [fault for fault in faults if RAW.search(fault.want)]


def missing(path: Path) -> None:
    """Leave nothing there."""


def a_folder(path: Path) -> None:
    path.mkdir()


def no_text(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")


def no_json(path: Path) -> None:
    path.write_text('{"a": }')


def another_json(path: Path) -> None:
    path.write_text("[1]")


@pytest.mark.parametrize("make", [missing, a_folder, no_text, no_json, another_json])
@pytest.mark.parametrize("name", ["job.yaml", "job.json", "config.json", "tokenizer.json"])
def test_no_file_that_cannot_be_read_speaks_the_systems_words(
    tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    if name.startswith("job"):
        make(tmp_path / name)
        with pytest.raises(SpecError) as caught:
            read_job(tmp_path / name)
        text = str(caught.value)
    else:
        folder = write_model_files(tmp_path / "model")
        (folder / name).unlink()
        make(folder / name)
        faults = look_at(folder).faults
        assert faults
        text = "\n".join(map(str, faults))
    assert not RAW.search(text), text


WRONG: tuple[Any, ...] = (None, True, -1, 10**30, 1.5, float("nan"), "", "\0 no", [], [None], [{}] * 100, {}, {"a": {}})
"""At least one of them is wrong for any field."""


@pytest.mark.parametrize("base", [WireModel, SpecModel, Row], ids=lambda base: base.__name__)
def test_no_fault_of_any_field_of_any_model_speaks_the_librarys_words(base: type[BaseModel]) -> None:
    raw, seen = set[tuple[str, str]](), 0
    for model in models_of(base):
        for name, field in model.model_fields.items():
            for value in WRONG:
                try:
                    model.model_validate({field.alias or name: value})
                except ValidationError as error:
                    seen += 1
                    said = [(problem["type"], wanted(problem)) for problem in error.errors()]
                    raw |= {(kind, words) for kind, words in said if RAW.search(words)}
    assert seen > 100
    assert not raw


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EISDIR, errno.EACCES, errno.ENOTDIR, errno.ELOOP, errno.EIO])
def test_an_error_of_the_system_has_a_reason_without_its_number(number: int) -> None:
    assert not RAW.search(reason_of(OSError(number, os.strerror(number), "/some/file")))


def test_a_reason_names_the_place_in_a_damaged_file() -> None:
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads('{"a": 1,\n "b" 2}')
    assert reason_of(caught.value) == "no JSON from line 2, column 6 on"
