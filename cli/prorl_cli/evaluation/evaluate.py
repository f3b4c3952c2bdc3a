"""`prorl evaluate`: a model's samples of held-out items, judged, in one results file; again to go on after a kill."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from prorl_analysis.results import Sample, read_results, write_results
from prorl_api.errors import ExitCode
from prorl_api.run_folder import RunFolder
from prorl_cli.errors import storage_error
from prorl_cli.evaluation.figures import summary
from prorl_cli.evaluation.job import EvaluationRequest, evaluation_job, settings_of
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
    document = evaluation_job(load_local_job(manifest, request.model).effective, request)
    path, run = output / _MANIFEST, RunFolder((output / _RUN).absolute())
    try:
        output.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False), encoding="utf-8")
    except OSError as error:
        raise storage_error(error, output, "--output") from error
    asked = RunRequest(manifest=path, run_dir=run.path, is_plain=is_plain, has_report=False)
    code = run_job(asked, console)
    if code != ExitCode.OK:
        return code
    settings = settings_of(load_local_job(path, None).effective)
    write_results(output / RESULTS, settings, _samples(run))
    console.print(summary(read_results(output / RESULTS)))
    console.print(f"results: {output / RESULTS}", markup=False, highlight=False, soft_wrap=True)
    return code


def _samples(run: RunFolder) -> Iterator[Sample]:
    for line in (run.samples / "validation-0.jsonl").read_text(encoding="utf-8").removesuffix("\n").split("\n"):
        values = json.loads(line)
        yield Sample(
            item=(values["source"], values["index"]),
            number=values["sample"],
            reward=values["reward"],
            verdict=values["verdict"],
            num_tokens=values["num_tokens"],
            is_truncated=values["finish_reason"] == "length",
            completion=values["completion"],
        )
