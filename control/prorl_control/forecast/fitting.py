"""What of a job does not fit, and what is wasted: lines with path, what there is, and what would help."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prorl_api.errors import Fault
from prorl_api.model.config import length_faults
from prorl_api.spec.job import ProRLJobSpec
from prorl_api.spec.values import EngineKind, RecomputeGranularity, ReferencePlace
from prorl_control.forecast.batches import StageBatch
from prorl_control.forecast.memory import ModelSize, RankMemory, ServerMemory, num_ranks

SPARE = 0.9
"""Share of a device's memory that may be planned: allocators leave gaps, and libraries take some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """Where members run."""

    memory: int | None
    """Bytes of one GPU, or of the machine where there is none; None: not known, and nothing is judged by it."""
    on_gpu: bool
    shares: bool = False
    """Whether learner and rollout servers are on the same device."""


def misfits(
    spec: ProRLJobSpec, size: ModelSize | None, rank: RankMemory | None, server: ServerMemory | None, devices: Devices
) -> list[Fault]:
    """Return what cannot work."""
    faults: list[Fault] = []
    if size is None:
        return faults
    if size.config is not None:
        faults += length_faults(size.config, spec.model.path, spec.max_sequence_tokens, spec.rollout.max_prompt_tokens)
        heads, width = size.config.heads, spec.rollout.tensor_parallel_size
        if heads is not None and heads % width:
            want = f"a divisor of the model's {heads} attention heads"
            faults.append(Fault(path="spec.rollout.tensorParallelSize", got=str(width), want=want))
    if rank is not None and server is not None:
        faults += _memory_faults(spec, rank, server, devices)
    return faults


def _memory_faults(spec: ProRLJobSpec, rank: RankMemory, server: ServerMemory, devices: Devices) -> Iterator[Fault]:
    longest = spec.max_sequence_tokens
    cache = cache_bytes(spec, server, devices)
    if cache is not None and server.token is not None and cache < longest * server.token:
        path = "spec.rollout.gpuMemoryUtilization" if devices.on_gpu else "spec.rollout.cpuKvCacheBytes"
        got = f"room for {max(0, cache // server.token)} tokens beside the weights"
        want = f"at least the longest sequence, {longest} tokens ({size_text(longest * server.token)} of cache)"
        yield Fault(path=path, got=got, want=f"{want}: raise it, spread a server over more GPUs, or shorten sequences")
    if devices.memory is None:
        return
    taken = 0
    if not devices.on_gpu:
        taken = (server.weights + (cache or 0)) * spec.rollout.replicas
    elif devices.shares:
        taken = int(devices.memory * spec.rollout.gpu_memory_utilization)
    wanted = rank.device * (1 if devices.on_gpu else num_ranks(spec))
    room = max(0, int((devices.memory - taken) * SPARE))
    if wanted > room:
        got = f"{size_text(wanted)} of the learner" + (
            f" beside {size_text(taken)} of rollout servers" if taken else ""
        )
        want = f"at most {size_text(room)}, nine tenths of what is left of {size_text(devices.memory)}"
        yield Fault(path="spec.learner", got=got, want=f"{want}: {_remedies(spec, rank, devices)}")


def cache_bytes(spec: ProRLJobSpec, server: ServerMemory, devices: Devices) -> int | None:
    """Return the key-value cache that a server has on each GPU; None: not known."""
    if not devices.on_gpu:
        return spec.rollout.cpu_kv_cache_bytes
    if devices.memory is None:
        return None
    return int(devices.memory * spec.rollout.gpu_memory_utilization) - server.weights


def _remedies(spec: ProRLJobSpec, rank: RankMemory, devices: Devices) -> str:
    learner = spec.learner
    found = []
    if not learner.gradient_checkpointing:
        found.append("gradientCheckpointing")
    elif devices.on_gpu and not learner.offload_activations:
        found.append("offloadActivations")
    if learner.recompute_granularity is RecomputeGranularity.SELECTIVE:
        found.append("recomputeGranularity: full")
    if learner.deepspeed.zero_stage < 3 and num_ranks(spec) > 1:
        found.append("a higher deepspeed.zeroStage")
    if devices.on_gpu and not learner.deepspeed.offload_optimizer:
        found.append("deepspeed.offloadOptimizer")
    if rank.reference and learner.reference is ReferencePlace.RESIDENT:
        shards = learner.deepspeed.zero_stage == 3 and num_ranks(spec) > 1
        found.append("reference: sharded or offloaded" if shards else "reference: offloaded")
    if devices.shares:
        found.append("a lower rollout.gpuMemoryUtilization")
    found += ["fewer microbatchTokens", "more ranks"]
    return ", ".join(found)


def wastes(spec: ProRLJobSpec, stages: Sequence[StageBatch]) -> Iterator[str]:
    """Say what would run and do nothing, or do the same for less."""
    ranks, stage_of_zero = num_ranks(spec), spec.learner.deepspeed.zero_stage
    shares = spec.learner.engine is EngineKind.DEEPSPEED and stage_of_zero > 0
    if shares and ranks == 1 and not spec.learner.deepspeed.offload_optimizer:
        yield (
            f"learner: one rank has nobody to share with by deepspeed.zeroStage {stage_of_zero}; with 0 it computes "
            "the same faster without DeepSpeed, and in float32 without a second copy of the weights"
        )
    if spec.algorithm.kl.correct_stale and all(stage.optimizer_steps == 1 for stage in stages):
        yield (
            "algorithm.kl.correctStale has nothing to correct: the one optimizer step of a batch trains on samples of "
            "the very policy; make minibatchPrompts smaller than promptsPerStep, or leave it out"
        )
    for stage in stages:
        name = f"stage {stage.name}" if stage.name else "the first steps"
        if stage.idle_ranks and stage.packs >= ranks:
            yield (
                f"{name}: {stage.idle_ranks} of {ranks} ranks compute nothing in an optimizer step, since a group lies "
                "on one rank where its packs continue one prefix; raise minibatchPrompts"
            )
        elif stage.idle_ranks:
            yield (
                f"{name}: an optimizer step has {stage.packs} packs for {ranks} ranks, so that {stage.idle_ranks} "
                "compute nothing; lower microbatchTokens, or raise minibatchPrompts"
            )


def size_text(num_bytes: int) -> str:
    """Write bytes for people."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if num_bytes >= size:
            return f"{num_bytes / size:.1f} {unit}"
    return f"{num_bytes / 1e3:.1f} kB"
