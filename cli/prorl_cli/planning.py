"""`prorl plan`: reads the manifest and what is known of model and machine, and prints the forecast."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from prorl_api.errors import Fault
from prorl_api.manifest import read_job
from prorl_api.model.folder import CONFIG, read_config
from prorl_api.model.weight_files import num_parameters
from prorl_api.run_folder import RunFolder
from prorl_api.spec.job import ProRLJob, ProRLJobSpec
from prorl_api.spec.merge import on_one_machine
from prorl_cli.durations import duration
from prorl_cli.local.folder import with_model
from prorl_cli.local.gpus import find_gpus, gpu_bytes
from prorl_cli.local.job import load_cluster_job, model_argument
from prorl_cli.local.machine import with_absolute_paths
from prorl_cli.measured import Measured, measured
from prorl_control.estimate import estimate
from prorl_control.forecast.batches import Lengths, StageBatch, stage_batches
from prorl_control.forecast.fitting import Devices, cache_bytes, misfits, size_text, wastes
from prorl_control.forecast.memory import (
    ModelSize,
    RankMemory,
    ServerMemory,
    num_ranks,
    published_bytes,
    rank_memory,
    sandbox_memory,
    server_memory,
)
from prorl_control.forecast.times import StepTime, Throughput, step_time
from prorl_control.plan import plan

Rows = Iterator[tuple[str, str]]
"""What a line is about, empty where the one above says it; and the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """What was asked for."""

    manifest: Path
    model: str | None
    assignments: tuple[str, ...]
    in_cluster: bool
    parameters: int | None
    gpu_bytes: int | None
    lengths: Lengths
    throughput: Throughput
    run_dir: Path | None = None
    """Of a run that has shown how fast it goes; None: where `prorl run` puts it."""


def describe_plan(request: PlanRequest) -> tuple[str, bool]:
    """Return the forecast of a job, and whether all of it fits.

    Raises:
        SpecError: The manifest is not valid.
    """
    job = _job(request)
    spec, size = job.spec, _size(job.spec, request.parameters)
    devices = _devices(spec, request)
    stages = stage_batches(spec, request.lengths)
    longest = max((stage.pack_positions for stage in stages), default=0)
    rank = rank_memory(spec, size, longest, on_gpu=devices.on_gpu) if size is not None else None
    server = server_memory(spec, size) if size is not None else None
    published = published_bytes(spec, size) if size is not None else None
    run = RunFolder(request.run_dir or Path("runs") / job.metadata.name)
    shown = None if request.in_cluster else measured(run, spec.model.path, published)
    throughput = request.throughput if shown is None else shown.beside(request.throughput)
    faults = misfits(spec, size, rank, server, devices)
    where = "in a cluster" if request.in_cluster else "on this machine"
    rows = [
        *_stage_rows(stages),
        *_memory_rows(spec, size, rank, server, devices),
        _sandbox_row(job),
        *_weight_rows(spec, size, published),
        *_time_rows(stages, [step_time(spec, stage, throughput, published) for stage in stages], shown),
        *(("wasted" if not number else "", text) for number, text in enumerate(wastes(spec, stages))),
        *_verdict(faults, size, devices),
    ]
    return "\n".join([f"{job.metadata.name} {where}:", *(f"  {name:<11} {text}" for name, text in rows)]), not faults


def _job(request: PlanRequest) -> ProRLJob:
    model = model_argument(request.model)
    if request.in_cluster:
        return load_cluster_job(request.manifest, model, request.assignments)
    job = read_job(request.manifest, request.assignments)
    if model is not None:
        job = with_model(job, model)
    return with_absolute_paths(on_one_machine(job), request.manifest.resolve().parent)


def _size(spec: ProRLJobSpec, parameters: int | None) -> ModelSize | None:
    """Return what is known of the model: from its folder, if it is here, or what was said."""
    folder = Path(spec.model.path)
    try:
        config = read_config(folder / CONFIG)
    except (OSError, ValueError):
        config = None
    count = parameters or num_parameters(folder) or (config.counted_parameters if config is not None else None)
    return ModelSize(parameters=count, config=config) if count else None


def _devices(spec: ProRLJobSpec, request: PlanRequest) -> Devices:
    if request.in_cluster:
        resources = spec.learner.resources
        return Devices(memory=request.gpu_bytes, on_gpu=bool(resources and resources.gpus))
    gpus = find_gpus(os.environ)
    if gpus or request.gpu_bytes is not None:
        needed = num_ranks(spec) + spec.rollout.replicas * spec.rollout.tensor_parallel_size
        memory = request.gpu_bytes or gpu_bytes(gpus[0])
        return Devices(memory=memory, on_gpu=True, shares=needed > max(1, len(gpus)))
    return Devices(memory=psutil.virtual_memory().total, on_gpu=False)


def _stage_rows(stages: Sequence[StageBatch]) -> Rows:
    before = None
    for number, stage in enumerate(stages):
        name = f"{stage.name}, " if stage.name else ""
        yield (
            "stages" if number == 0 else "",
            f"{name}steps {stage.first_step}-{stage.last_step}: {stage.prompts} prompts x {stage.group_size} = "
            f"{stage.completions:,} completions, {stage.optimizer_steps} optimizer step(s) a step, "
            f"{stage.steps * stage.optimizer_steps:,} in all",
        )
        work = replace(stage, name="", first_step=1, last_step=1)
        if work == before:
            yield "", "  the same work a step"
            continue
        before = work
        yield (
            "",
            f"  {stage.prompt_tokens:,} + {stage.completion_tokens:,} tokens: {stage.sampled_tokens:,} sampled a step, "
            f"{stage.trained_positions:,} positions trained, {stage.packs} packs of up to {stage.pack_positions:,} in "
            f"an optimizer step" + ("" if stage.measures_kl else "; no reference"),
        )
        if stage.most_prompts > stage.prompts:
            yield "", f"  dynamic sampling may sample up to {stage.most_prompts:,} prompts for them"


def _memory_rows(
    spec: ProRLJobSpec, size: ModelSize | None, rank: RankMemory | None, server: ServerMemory | None, devices: Devices
) -> Rows:
    if size is None or rank is None or server is None:
        yield "memory", "unknown: the model is not here; name a folder with --model, or its size with --parameters"
        return
    where = "GPU memory" if devices.on_gpu else "memory"
    yield "model", f"{size.parameters:,} parameters"
    rough = "unknown" if rank.activations is None else f"about {size_text(rank.activations)}"
    yield (
        "learner",
        f"{num_ranks(spec)} rank(s), each {size_text(rank.device)} of {where}: weights {size_text(rank.weights)}, "
        f"gradients {size_text(rank.gradients)}, optimizer {size_text(rank.optimizer)}, reference "
        f"{size_text(rank.reference)}, activations {rough}, buffers {size_text(rank.buffers)}",
    )
    if rank.on_host:
        yield "", f"beside it {size_text(rank.on_host)} of host memory a rank"
    yield "", f"and {size_text(rank.checkpoint)} of host memory a rank while a checkpoint is written"
    cache = cache_bytes(spec, server, devices)
    room = "unknown" if cache is None else size_text(max(0, cache))
    text = f"{spec.rollout.replicas} server(s), each {size_text(server.weights)} of {where} for weights, cache {room}"
    if cache is not None and server.token:
        sequences = max(0, cache) // (server.token * spec.max_sequence_tokens)
        text += f": {sequences} longest sequences at once ({size_text(server.token)} a token)"
    yield "rollout", text + (f", on each of {spec.rollout.tensor_parallel_size} GPUs" if devices.on_gpu else "")


def _sandbox_row(job: ProRLJob) -> tuple[str, str]:
    sandbox, most = job.spec.sandbox, sandbox_memory(plan(job).sandbox_settings)
    return (
        "sandbox",
        f"{sandbox.replicas} with {sandbox.workers} worker(s) each: {size_text(most)} of host memory where all "
        "verifiers and programs are at their limits",
    )


def _weight_rows(spec: ProRLJobSpec, size: ModelSize | None, published: int | None) -> Rows:
    if size is None or published is None:
        return
    total = published * spec.rollout.replicas
    yield "publish", f"{size_text(published)} to each of {spec.rollout.replicas} server(s), {size_text(total)} a step"
    disk = estimate(spec, size.parameters)
    yield (
        "disk",
        f"up to {size_text(disk.disk)}: {spec.checkpoint.keep + 1} checkpoints of {size_text(disk.checkpoint)}, "
        f"references {size_text(disk.references)} and {size_text(disk.one_reference)} more each reset",
    )


def _time_rows(stages: Sequence[StageBatch], times: Sequence[StepTime], shown: Measured | None) -> Rows:
    if not any(time.known for time in times):
        yield (
            "time",
            "unknown: give throughputs with --server-tokens, --rank-positions, --link-bytes; or let `prorl run` do a "
            "step, and plan again: what its folder has measured (--run-dir) is taken",
        )
        return
    for number, (stage, time) in enumerate(zip(stages, times, strict=True)):
        parts = {
            "sampling": time.sampling,
            "reference and old log-probabilities": time.scoring,
            "updating": time.updating,
            "publishing": time.publishing,
        }
        said = ", ".join(f"{name} {'unknown' if part is None else duration(part)}" for name, part in parts.items())
        name = stage.name or f"steps {stage.first_step}-{stage.last_step}"
        yield "time" if number == 0 else "", f"{name}: {duration(time.known)} a step ({said})"
    total = sum(stage.steps * time.known for stage, time in zip(stages, times, strict=True))
    yield "", f"{duration(total)} in all, without validation, restarts and what dynamic sampling drops"
    if shown is not None:
        yield "", shown.said


def _verdict(faults: Sequence[Fault], size: ModelSize | None, devices: Devices) -> Rows:
    for number, fault in enumerate(faults):
        yield "does not fit" if number == 0 else "", str(fault)
    if size is None:
        yield "not judged", "whether it fits: the size of the model is not known"
    elif devices.memory is None:
        yield "not judged", "whether it fits into the GPUs: give the memory of one with --gpu-memory"
    elif not faults:
        yield "fits", f"into {size_text(devices.memory)} of {'a GPU' if devices.on_gpu else 'memory'} each, as forecast"
