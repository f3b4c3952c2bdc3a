"""Whether what is evaluated stands in what is trained on: the contamination check of `prorl data check`, on a job."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path

from prorl_analysis.results import Contamination
from prorl_api.jsonl import LineError, parse_object, raw_lines
from prorl_api.questions import normalised
from prorl_api.spec.data import DataSource
from prorl_api.spec.job import ProRLJob
from prorl_cli.data.contamination import EvaluationIndex, item_text


def contamination(job: ProRLJob, evaluated: set[str]) -> dict[str, Contamination]:
    """Return what the files that a job trains on share with the files that it evaluates on alone.

    Sources that do both are left out: the learner trains on nothing that they hold out. Generated items are not looked
    at; training and validation draw from streams of their own.

    Raises:
        SpecError: A file that cannot be read.
    """
    trained = [source for source in job.spec.data.sources if source.weight > 0 and source.jsonl is not None]
    tested = [source for source in job.spec.data.sources if source.weight == 0 and source.name in evaluated]
    paths = {source.name: files_of(source) for source in tested if source.jsonl is not None}
    if not trained or not paths:
        return {}
    index = EvaluationIndex([path for found in paths.values() for path in found])
    for text in _texts(trained):
        index.hits(normalised(text))
    by_path = {overlap.path: overlap for overlap in index.files}
    return {
        name: Contamination(
            items=sum(by_path[path].items for path in found),
            touched=sum(len(by_path[path].touched) for path in found),
        )
        for name, found in paths.items()
    }


def files_of(source: DataSource) -> list[Path]:
    """Return a source's files, as the learner finds them."""
    return [] if source.jsonl is None else [Path(name) for name in sorted(glob.glob(source.jsonl, recursive=True))]


def _texts(sources: list[DataSource]) -> Iterator[str]:
    for path in (path for source in sources for path in files_of(source)):
        for raw in raw_lines(path):
            try:
                yield item_text(parse_object(raw.content))
            except LineError:
                continue  # the learner has refused such a file; here only what can be read counts
