"""Who gets which GPU on one machine."""

from __future__ import annotations

import sys
import types

import pytest

from prorl_api.errors import SpecError
from prorl_api.settings import RolloutServerSettings, SandboxSettings
from prorl_api.spec.resets import ReferenceResetSpec
from prorl_api.spec.run import RestartSpec
from prorl_cli.local.gpus import assign_gpus, find_gpus, gpu_lines
from prorl_control.plan import RunPlan


def make_plan(*, ranks: int = 1, servers: int = 1, width: int = 1, share: float = 0.3) -> RunPlan:
    return RunPlan(
        job_name="demo",
        total_steps=1,
        num_rollout_servers=servers,
        num_sandboxes=1,
        learner_replicas=1,
        learner_ranks_per_replica=ranks,
        rollout_settings=RolloutServerSettings(tensor_parallel_size=width, gpu_memory_utilization=share),
        sandbox_settings=SandboxSettings(),
        restarts=RestartSpec(),
        reference_reset=ReferenceResetSpec(),
        suspend=False,
    )


def shares(plan: RunPlan, num_gpus: int) -> tuple[dict[str, str], str]:
    """GPUs by member's name, and those shared with the learner; a letter is a GPU."""
    found = assign_gpus(plan, tuple("abcdefgh"[:num_gpus]))
    return {key.name: "".join(gpus) for key, gpus in found.visible.items()}, "".join(found.shared)


@pytest.mark.parametrize(
    ("num_gpus", "plan", "visible", "shared"),
    [
        (1, make_plan(), {"learner-0": "a", "rollout-0": "a"}, "a"),
        (2, make_plan(), {"learner-0": "a", "rollout-0": "b"}, ""),
        (1, make_plan(servers=2), {"learner-0": "a", "rollout-0": "a", "rollout-1": "a"}, "a"),
        (3, make_plan(servers=3), {"learner-0": "a", "rollout-0": "b", "rollout-1": "c", "rollout-2": "b"}, ""),
        (2, make_plan(ranks=2), {"learner-0": "ab", "learner-1": "ab", "rollout-0": "a"}, "a"),
        (4, make_plan(ranks=2, width=2), {"learner-0": "ab", "learner-1": "ab", "rollout-0": "cd"}, ""),
        (3, make_plan(ranks=2, width=2), {"learner-0": "ab", "learner-1": "ab", "rollout-0": "ab"}, "ab"),
        (8, make_plan(ranks=2, servers=3, width=2), None, ""),
    ],
)
def test_ranks_come_first_and_servers_take_what_is_left(
    num_gpus: int, plan: RunPlan, visible: dict[str, str] | None, shared: str
) -> None:
    expected = visible or {
        "learner-0": "ab", "learner-1": "ab", "rollout-0": "cd", "rollout-1": "ef", "rollout-2": "gh",
    }  # fmt: skip
    assert shares(plan, num_gpus) == (expected, shared)


def test_a_person_is_told_who_is_where_and_what_is_shared() -> None:
    plan = make_plan(servers=2)
    assert list(gpu_lines(assign_gpus(plan, ("0",)), plan)) == [
        "GPUs: learner-0 on 0, rollout-0 on 0, rollout-1 on 0",
        "the learner shares GPU 0 with 2 rollout server(s), which take 60% of its memory "
        "(spec.local.rollout.gpuMemoryUtilization)",
    ]
    assert list(gpu_lines(assign_gpus(plan, ("0", "1", "2")), plan)) == [
        "GPUs: learner-0 on 0, rollout-0 on 1, rollout-1 on 2"
    ]


def test_without_gpus_nobody_is_told_anything() -> None:
    assert shares(make_plan(), 0) == ({}, "")


@pytest.mark.parametrize(
    ("num_gpus", "plan", "message"),
    [
        (2, make_plan(ranks=3), "processesPerReplica: got 3; at most 2"),
        (2, make_plan(width=4), "tensorParallelSize: got 4; at most 2"),
        (1, make_plan(servers=2, share=0.6), "gpuMemoryUtilization: got 0.6; at most 0.5"),
        (1, make_plan(servers=6, share=0.2), "gpuMemoryUtilization: got 0.2; at most 0.16"),
        (3, make_plan(servers=3, share=0.9), "gpuMemoryUtilization: got 0.9; at most 0.5"),
    ],
)
def test_more_than_there_is_is_refused_with_the_number(num_gpus: int, plan: RunPlan, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        assign_gpus(plan, tuple("abcdefgh"[:num_gpus]))


def test_every_fault_is_named() -> None:
    with pytest.raises(SpecError, match="2 faults"):
        assign_gpus(make_plan(ranks=3, width=4), ("0", "1"))


class _FakeNvml(types.ModuleType):
    """NVIDIA's library as the driver answers it, with two GPUs or without a driver."""

    class NVMLError(Exception):
        pass

    def __init__(self, *, has_driver: bool) -> None:
        super().__init__("pynvml")
        self._has_driver = has_driver

    def nvmlInit(self) -> None:
        if not self._has_driver:
            raise self.NVMLError

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlShutdown(self) -> None:
        pass


@pytest.mark.parametrize(("module", "expected"), [(None, ()), (False, ()), (True, ("0", "1"))])
def test_else_the_driver_is_asked(
    monkeypatch: pytest.MonkeyPatch, module: bool | None, expected: tuple[str, ...]
) -> None:
    fake = None if module is None else _FakeNvml(has_driver=module)
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    assert find_gpus({}) == expected


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [("2, 3", ("2", "3")), ("", ()), ("-1", ()), ("1,-1,2", ("1",)), ("GPU-60e1a46c", ("GPU-60e1a46c",))],
)
def test_what_the_user_made_visible_is_taken(
    monkeypatch: pytest.MonkeyPatch, chosen: str, expected: tuple[str, ...]
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", _FakeNvml(has_driver=True))
    assert find_gpus({"CUDA_VISIBLE_DEVICES": chosen}) == expected
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert find_gpus({"CUDA_VISIBLE_DEVICES": chosen}) == (), "vLLM's CPU build uses none"
