"""Results on disk, and which of them may be compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from prorl_analysis.results import read_results, require_comparable, write_results
from prorl_api.errors import SpecError
from tests.unit.analysis.builders import SETTINGS, make_results, make_sample


def test_what_was_written_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    samples = [make_sample(("math", 1), 1, None), make_sample(("math", 1), 0, 0.5, completion="a\nb ü \u2028 \ud800")]
    write_results(path, SETTINGS, samples)
    found = read_results(path)
    assert found.settings == SETTINGS
    assert found.samples[("math", 1)] == (samples[1], samples[0])
    assert [file.name for file in tmp_path.iterdir()] == ["results.jsonl"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: got nothing"),
        ('{"format": 2}\n', "line 1"),
        (SETTINGS.model_dump_json() + '\n{"source": "math"}\n', "line 2: got KeyError: 'index'"),
        (SETTINGS.model_dump_json() + "\n{broken\n", "line 2: got JSONDecodeError"),
    ],
)
def test_a_broken_file_names_its_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        read_results(path)
    assert message in str(caught.value)


def test_a_sample_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    write_results(path, SETTINGS, [make_sample(("math", 1), 0, 1.0)] * 2)
    with pytest.raises(SpecError, match="sample 0 twice"):
        read_results(path)


def test_other_settings_or_items_are_not_compared() -> None:
    first = make_results({0: [1.0]})
    require_comparable(first, make_results({0: [0.0]}))
    hotter = replace(first, settings=SETTINGS.model_copy(update={"temperature": 1.0, "samples": 9}))
    with pytest.raises(SpecError, match=r"temperature: got 1\.0.*0\.6"):
        require_comparable(first, hotter)
    with pytest.raises(SpecError, match=r"sources: got math \(bbbbbbbb\)"):
        require_comparable(first, replace(first, settings=SETTINGS.model_copy(update={"sources": {"math": "b" * 64}})))
    with pytest.raises(SpecError, match=r"items: got 1 in one only \(math 1\)"):
        require_comparable(first, make_results({0: [1.0], 1: [1.0]}))
