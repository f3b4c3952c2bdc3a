"""What the zygote rehearses leaves no trace."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import os, sys
from prorl_reward_sandbox.execution.jail.rehearsal import rehearse

def descriptors():
    return sorted(os.listdir("/proc/self/fd"))

print("before")
before = descriptors(), set(sys.modules), sys.stdout, hasattr(sys, "last_value")
rehearse()
after = descriptors(), set(sys.modules), sys.stdout, hasattr(sys, "last_value")
assert before == after, (before, after)
print("after")
"""


def test_a_rehearsal_leaves_no_descriptor_no_module_and_no_output() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "before\nafter\n", "")
