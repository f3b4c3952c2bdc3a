"""`prorl evaluate`: a model's samples of held-out items, judged, in one results file; again to go on after a kill."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from prorl_analysis.results import Item, Sample, read_results, write_results
from prorl_api.errors import ExitCode
from prorl_api.run_folder import RunFolder
from prorl_api.spec.job import ProRLJob
from prorl_api.status import JobStatus
from prorl_cli.durations import duration
from prorl_cli.errors import storage_error
from prorl_cli.evaluation.answers import answer_of
from prorl_cli.evaluation.figures import summary
from prorl_cli.evaluation.job import EvaluationRequest, evaluation_job, settings_of
from prorl_cli.evaluation.overlap import contamination
from prorl_cli.inspection import lines_of
from prorl_cli.local.job import load_local_job
from prorl_cli.local.run import RunRequest, run_job

RESULTS = "results.jsonl"
_MANIFEST, _RUN = "evaluation.json", "run"


def evaluate(manifest: Path, output: Path, request: EvaluationRequest, *, is_plain: bool, console: Console) -> int:
    """Evaluate a model on a job's held-out items; the process exit code.

    What was sampled before a kill is in the run's journal: the same command goes on there.

    Raises:
        ProRLError: The evaluation cannot start here, or the folder holds another one.
    """
    started, begun = time.time(), time.monotonic()
    document = evaluation_job(load_local_job(manifest, request.model).effective, request)
    path, run = output / _MANIFEST, RunFolder((output / _RUN).absolute())
    try:
        output.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False), encoding="utf-8")
    except OSError as error:
        raise storage_error(error, output, "--output") from error
    again = (
        f"prorl evaluate {shlex.quote(str(manifest))} --output {shlex.quote(str(output))} ..., with the same options"
    )
    asked = RunRequest(manifest=path, run_dir=run.path, is_plain=is_plain, has_report=False, resumed_by=again)
    code = run_job(asked, console)
    if code != ExitCode.OK:
        return code
    job = load_local_job(path, None).effective
    evaluated = set(settings_of(job).sources)
    settings = settings_of(job, weights=weights_of(run), contaminated=contamination(job, evaluated))
    write_results(output / RESULTS, settings, samples_of(run, job))
    console.print(summary(read_results(output / RESULTS)))
    console.print(spent(run, started, time.monotonic() - begun), markup=False, highlight=False)
    console.print(f"results: {output / RESULTS}", markup=False, highlight=False, soft_wrap=True)
    return code


def spent(run: RunFolder, started: float, seconds: float) -> str:
    """Say what this start took, and for how much of that completions were sampled and judged.

    Args:
        run: The evaluation's.
        started: Unix time of this start: what one before it sampled is not in it.
        seconds: That this start took.
    """
    lines = [line for line in lines_of(run) if line["time"] >= started]
    sampling = sum(float(line.get("seconds_validating") or 0.0) for line in lines)
    return f"took {duration(seconds)}: {sampling / seconds:.0%} sampling and judging, the rest starting and writing"


def weights_of(run: RunFolder) -> str:
    """Return the id of the weights that an evaluation's run published; empty if nobody says."""
    return JobStatus.model_validate_json(run.status.read_bytes()).weights_id if run.status.exists() else ""


def samples_of(run: RunFolder, job: ProRLJob) -> Iterator[Sample]:
    """Yield the samples of an evaluation's run, with what they answer."""
    sources = {source.name: source for source in job.spec.data.sources}
    tasks = _tasks(run)
    for values in _lines(run.samples / "validation-0.jsonl"):
        item = (values["source"], values["index"])
        yield Sample(
            item=item,
            number=values["sample"],
            reward=values["reward"],
            verdict=values["verdict"],
            num_tokens=values["num_tokens"],
            is_truncated=values["finish_reason"] == "length",
            completion=values["completion"],
            answer=answer_of(sources[item[0]], values["completion"]),
            task=tasks.get(item, ""),
        )


def _tasks(run: RunFolder) -> dict[Item, str]:
    """Return the tasks of generated items, from where the learner wrote them down."""
    if not run.prompts.exists():
        return {}
    found = {}
    for values in _lines(run.prompts):
        purpose, _, place = str(values.get("key", "")).partition("/")
        source, _, index = place.rpartition("/")
        if purpose == "validation" and index.isdecimal():
            found[(source, int(index))] = str(values["row"].get("task", ""))
    return found


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    yield from map(json.loads, path.read_text(encoding="utf-8").removesuffix("\n").split("\n"))
