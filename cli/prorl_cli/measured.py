"""What an earlier run of a job has shown of its speed, for `prorl plan`."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prorl_api.errors import SpecError
from prorl_api.manifest import read_job
from prorl_api.run_folder import RunFolder
from prorl_api.spec.job import ProRLJobSpec
from prorl_cli.inspection import lines_of
from prorl_cli.local.view import STEPS_FOR_PACE
from prorl_cli.speed import sampled_per_second, trained_per_second
from prorl_control.forecast.memory import num_ranks
from prorl_control.forecast.times import Throughput

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Means over a run's newest steps."""

    throughput: Throughput
    said: str
    """Where the figures are from, for people."""

    def beside(self, given: Throughput) -> Throughput:
        """Return what was given, and what was measured where nothing was."""
        found = self.throughput
        return replace(
            given,
            server_tokens=given.server_tokens or found.server_tokens,
            rank_positions=given.rank_positions or found.rank_positions,
            link_bytes=given.link_bytes or found.link_bytes,
        )


def measured(run: RunFolder, model: str, published: int | None) -> Measured | None:
    """Return what a run of the same model has shown; None where there is none, or none with a step.

    Args:
        run: The folder.
        model: Path of the planned job's model, as it runs here.
        published: Bytes of its weights as they are served, if they are known.
    """
    try:
        spec = read_job(run.effective_manifest).spec
    except SpecError:  # there is no run, or one of another version
        return None
    lines = lines_of(run)[-STEPS_FOR_PACE:]
    if not lines or spec.model.path != model:
        return None
    steps = f"step {lines[0]['step']}" if len(lines) == 1 else f"steps {lines[0]['step']} to {lines[-1]['step']}"
    lengths = [float(line["completion_length"]) for line in lines if line.get("completion_length") is not None]
    mean = statistics.fmean(lengths) if lengths else None
    option = "" if mean is None else f"; completions had {mean:,.0f} tokens there (--completion-tokens {mean:.0f})"
    return Measured(throughput=_throughput(spec, lines, published), said=f"measured in {run.path}, {steps}{option}")


def _throughput(spec: ProRLJobSpec, lines: Sequence[Line], published: int | None) -> Throughput:
    tokens, positions = sampled_per_second(lines), trained_per_second(lines)
    publishing = [float(line["seconds_publishing"]) for line in lines if line.get("seconds_publishing")]
    return Throughput(
        server_tokens=None if tokens is None else tokens / spec.rollout.replicas,
        rank_positions=None if positions is None else positions / num_ranks(spec),
        link_bytes=published / statistics.fmean(publishing) if published and publishing else None,
    )
