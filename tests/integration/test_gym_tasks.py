"""All tasks of reasoning-gym as sources: built and used within limits of time and memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
REPOSITORY = Path(__file__).parents[2]
ALL_TASKS = """
import json, resource, signal, sys, time
resource.setrlimit(resource.RLIMIT_AS, (2 * 2**30, 2 * 2**30))
import reasoning_gym
from reasoning_gym.factory import DATASETS
from tests.unit.trainer.test_gym_items import items

def late(*_):
    raise TimeoutError

signal.signal(signal.SIGALRM, late)
results = {}
for task in sorted(set(DATASETS) - {"composite"}):
    signal.alarm(20)
    started = time.monotonic()
    try:
        made = items(task)
        questions = [made.train(index)[0] for index in (0, 1, 999, 1000, 1_234_567, 2**31)]
        held = [question for question, _ in made.held_out(3, lambda _: True)]
        results[task] = [len(questions), len(held), time.monotonic() - started]
    except (Exception, MemoryError) as error:
        results[task] = repr(error)
    signal.alarm(0)
# Not `ru_maxrss`, which begins with what the parent had when it forked.
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) * 1024
json.dump({"tasks": results, "peak": peak}, sys.stdout)
"""


@pytest.mark.thorough
def test_every_task_is_built_and_reaches_far_within_limits_of_time_and_memory() -> None:
    """One process of 2 GiB of address space, 20 s a task; the first, a later and a very late chunk of each."""
    command = [sys.executable, "-W", "ignore", "-c", ALL_TASKS]
    child = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=170, check=True)
    result = json.loads(child.stdout.lstrip(".\n"))
    assert len(result["tasks"]) == 105
    failed = {task: got for task, got in result["tasks"].items() if not isinstance(got, list) or got[:2] != [6, 3]}
    assert failed == {}
    assert result["peak"] < 600 * 2**20
