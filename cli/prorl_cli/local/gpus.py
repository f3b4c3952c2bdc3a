"""Which of this machine's GPUs each member sees. `assign_gpus` decides and is pure, `find_gpus` looks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prorl_api.errors import Fault, SpecError
from prorl_api.spec.values import Role
from prorl_control.members import MemberKey
from prorl_control.plan import RunPlan

VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuShares:
    """GPUs by member; without GPUs, nothing."""

    visible: Mapping[MemberKey, tuple[str, ...]]
    """Names as `CUDA_VISIBLE_DEVICES` takes them. All ranks of the learner see all of its GPUs: each takes its own."""
    shared: tuple[str, ...] = ()
    """GPUs on which rollout servers and the learner are together."""
    servers_on_one: int = 1
    """The most servers that are on one GPU."""


def find_gpus(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the GPUs that may be used: those that the user made visible, else all that NVIDIA's driver knows."""
    try:
        import pynvml  # comes with vLLM's CUDA build; beside the CPU build the learner finds GPUs by itself
    except ImportError:
        return ()
    chosen = environment.get(VISIBLE)
    if chosen is not None:
        names = [name.strip() for name in chosen.split(",")]
        return tuple(names[: names.index("-1")] if "-1" in names else [name for name in names if name])
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no driver, or no GPU
        return ()
    try:
        return tuple(str(index) for index in range(pynvml.nvmlDeviceGetCount()))
    finally:
        pynvml.nvmlShutdown()


def gpu_bytes(name: str) -> int | None:
    """Return the memory of a GPU by the name that `find_gpus` gave; None where the driver does not tell."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        by_index = name.isdecimal()
        handle = pynvml.nvmlDeviceGetHandleByIndex(int(name)) if by_index else pynvml.nvmlDeviceGetHandleByUUID(name)
        return int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def assign_gpus(run_plan: RunPlan, gpus: tuple[str, ...]) -> GpuShares:
    """Give each rank of the learner one GPU first, and the servers what is left, or the same if too little.

    Args:
        run_plan: Of a job on one machine.
        gpus: From `find_gpus`; may be empty.

    Raises:
        SpecError: A rank or a shard of a server would have no GPU, or servers want more of one than there is.
    """
    if not gpus:
        return GpuShares(visible={})
    faults = list(_faults(run_plan, gpus))
    if faults:
        raise SpecError(faults, source=f"job {run_plan.job_name} on this machine")
    learners, slots = gpus[: run_plan.learner_ranks], _slots(run_plan, gpus)
    servers = [slots[index % len(slots)] for index in range(run_plan.num_rollout_servers)]
    visible = {
        key: learners if key.role is Role.LEARNER else servers[key.index]
        for key in run_plan.members
        if key.role is not Role.SANDBOX
    }
    served = {gpu for slot in servers for gpu in slot}
    return GpuShares(
        visible=visible,
        shared=tuple(gpu for gpu in learners if gpu in served),
        servers_on_one=-(-len(servers) // len(slots)),
    )


def gpu_lines(gpus: GpuShares, run_plan: RunPlan) -> Iterator[str]:
    """Return what a person is told at the start."""
    if not gpus.visible:
        return
    where = ", ".join(f"{key.name} on {'+'.join(names)}" for key, names in gpus.visible.items())
    yield f"GPUs: {where}"
    if gpus.shared:
        taken = gpus.servers_on_one * run_plan.rollout_settings.gpu_memory_utilization
        yield (
            f"the learner shares GPU {', '.join(gpus.shared)} with {gpus.servers_on_one} rollout server(s), which take "
            f"{taken:.0%} of its memory (spec.local.rollout.gpuMemoryUtilization)"
        )


def _slots(run_plan: RunPlan, gpus: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return where a rollout server can be: on GPUs that the learner leaves, or on any if it leaves too few."""
    width, rest = run_plan.rollout_settings.tensor_parallel_size, gpus[run_plan.learner_ranks :]
    pool = rest if len(rest) >= width else gpus
    return [pool[start : start + width] for start in range(0, len(pool) - width + 1, width)]


def _faults(run_plan: RunPlan, gpus: tuple[str, ...]) -> Iterator[Fault]:
    num_gpus = len(gpus)
    ranks, width = run_plan.learner_ranks, run_plan.rollout_settings.tensor_parallel_size
    if ranks > num_gpus:
        want = f"at most {num_gpus}, the GPUs here: each rank needs one of its own"
        yield Fault(path="spec.local.learner.processesPerReplica", got=str(ranks), want=want)
    if width > num_gpus:
        want = f"at most {num_gpus}, the GPUs here"
        yield Fault(path="spec.local.rollout.tensorParallelSize", got=str(width), want=want)
        return
    crowd = -(-run_plan.num_rollout_servers // len(_slots(run_plan, gpus)))
    share = run_plan.rollout_settings.gpu_memory_utilization
    if crowd * share > 1:
        want = f"at most {math.floor(100 / crowd) / 100:g}, since {crowd} servers share a GPU; or fewer replicas"
        yield Fault(path="spec.local.rollout.gpuMemoryUtilization", got=f"{share:g}", want=want)
