"""An evaluation is a job of no steps: the validation before the first one, with more samples. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prorl_analysis.results import Contamination, EvaluationSettings
from prorl_api.errors import Fault, SpecError
from prorl_api.spec.data import DataSource
from prorl_api.spec.job import ProRLJob
from prorl_cli.evaluation.overlap import files_of


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRequest:
    """What `prorl evaluate` was asked for, beside the manifest."""

    model: str | None
    """Folder or hub name; None: the manifest's base model."""
    samples: int
    """Completions of each item."""
    temperature: float
    top_p: float
    sizes: Mapping[str, int | None]
    """Source to the number of its held-out items; None: the source's own. Empty: every source that has some."""
    max_completion_tokens: int | None = None
    """None: as the manifest trains."""
    files: Sequence[dict[str, Any]] = ()
    """Sources beside the manifest's, whole files: see `presets.sources_of`. With them and no sizes, they alone."""


def evaluation_job(job: ProRLJob, request: EvaluationRequest) -> dict[str, Any]:
    """Return the manifest of the evaluation of a job's held-out items.

    The reference and the optimizer are left out: nothing is trained, and the learner is there to publish the model, to
    sample and to have the samples judged, as it does in training.

    Args:
        job: As it runs on this machine: overlaid, paths absolute.
        request: How to evaluate.

    Raises:
        SpecError: A source that the job does not have, or a file under the name of one that it has.
    """
    known = {source.name for source in job.spec.data.sources}
    taken = [source["name"] for source in request.files if source["name"] in known]
    if taken:
        want = "a set whose name no source of the manifest has"
        raise SpecError([Fault(path="--file", got=name, want=want) for name in taken], source="the command line")
    unknown = sorted(request.sizes.keys() - known)
    if unknown:
        want = f"one of {', '.join(sorted(known))}"
        raise SpecError([Fault(path="--source", got=name, want=want) for name in unknown], source="the command line")
    document: dict[str, Any] = job.model_dump(mode="json", by_alias=True, exclude_none=True)
    spec = document["spec"]
    spec.pop("initFrom", None)
    if request.model is not None:
        spec["model"]["path"] = request.model
    for source, entry in zip(job.spec.data.sources, spec["data"]["sources"], strict=True):
        entry["weight"] = job.spec.greatest_weight(source)  # reports tell apart what any stage trains on
    spec["schedule"] = {"totalSteps": 0}
    spec["referenceReset"] = {"mode": "disabled"}
    spec["algorithm"] = {"kl": {"coefficient": 0}}
    spec["learner"] |= {"engine": "plain", "replicas": 1, "processesPerReplica": 1, "deepspeed": {}}
    if request.max_completion_tokens is not None:
        spec["rollout"]["maxCompletionTokens"] = request.max_completion_tokens
    spec["data"]["sources"] += request.files
    sizes = {**request.sizes, **{source["name"]: source["heldOut"] for source in request.files}}
    if sizes:  # else all that hold something out are evaluated
        spec["data"]["sources"] = [
            source for source in spec["data"]["sources"] if source["name"] in sizes or source["weight"] > 0
        ]
    spec["validation"] = {
        "samplesPerPrompt": request.samples,
        "temperature": request.temperature,
        "topP": request.top_p,
        "sources": [{"name": name} | ({} if size is None else {"size": size}) for name, size in sorted(sizes.items())],
    }
    return document


def read_sizes(texts: Sequence[str]) -> dict[str, int | None]:
    """Read `NAME` and `NAME=ITEMS`.

    Raises:
        SpecError: Something else.
    """
    sizes: dict[str, int | None] = {}
    for text in texts:
        name, sign, size = text.partition("=")
        if not name or (sign and not (size.isdecimal() and int(size) > 0)):
            fault = Fault(path="--source", got=text, want="NAME or NAME=ITEMS, such as math=200")
            raise SpecError([fault], source="the command line")
        sizes[name] = int(size) if sign else None
    return sizes


def settings_of(
    job: ProRLJob, *, weights: str = "", contaminated: Mapping[str, Contamination] | None = None
) -> EvaluationSettings:
    """Return the first line of the results of an evaluation's job."""
    spec, validation = job.spec, job.spec.validation
    wanted = {source.name for source in validation.sources}
    trained = {source.name for source in spec.data.sources if source.weight > 0}
    return EvaluationSettings(
        model=str(spec.model.path),
        samples=validation.samples_per_prompt,
        temperature=validation.temperature,
        top_p=validation.top_p,
        max_completion_tokens=spec.rollout.max_completion_tokens,
        seed=spec.seed,
        sources={
            source.name: _digest(source, spec.seed)
            for source in spec.data.sources
            if not wanted or source.name in wanted
        },
        trained=tuple(sorted(trained)),
        contamination=contaminated or {},
        weights=weights,
    )


def _digest(source: DataSource, seed: int) -> str:
    """Of what decides a source's held-out items and how they are asked; a file counts by its content."""
    settings = source.model_dump(mode="json", exclude={"weight"}) | {"jsonl": None}
    hashed = hashlib.sha256(json.dumps([settings, seed], sort_keys=True).encode())
    for path in files_of(source):
        hashed.update(hashlib.sha256(path.read_bytes()).digest())
    return hashed.hexdigest()
