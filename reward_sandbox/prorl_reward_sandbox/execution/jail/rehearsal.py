"""What every clone will do is done by the zygote first, as far as it leaves no trace.

Python remembers where it found a name, and rewrites code that it has run a few times. Both write on pages, and a clone
that writes on a page of the zygote's pays for the copy; the zygote pays once for all.
"""

from __future__ import annotations

import os

from prorl_reward_sandbox.execution.jail.jobs import Job, encode_job, read_job
from prorl_reward_sandbox.execution.jail.root import WORK
from prorl_reward_sandbox.execution.jail.script import Script

_TIMES = 20
"""Enough for Python 3.11 and later to rewrite all that is run."""
_NAME = "main.py"
_PROGRAM = b"""
def count(words):
    found = {}
    for word in sorted(words):
        found[word] = found.get(word, 0) + 1
    return [f"{word}: {number}" for word, number in found.items()]

print(*count(int(word) for word in "3 1 2 3".split()))
"""
_STDOUT = 1


def rehearse() -> None:
    """Be told a job and run a program, some times. What the program prints goes nowhere."""
    limits = tuple((kind, 10, 11) for kind in range(5))
    job = Job(
        folder=WORK,
        box=b"size=64m",
        files=((_NAME, _PROGRAM, 0o600),),
        argv=(_NAME,),
        source=_PROGRAM,
        hands_over=False,
        limits=limits,
    )
    data = encode_job(job)
    far, near = os.pipe()
    stdout = os.dup(_STDOUT)
    os.dup2(near, _STDOUT)
    try:
        for _ in range(_TIMES):
            os.write(near, data)
            fields = read_job(far)
            assert fields == job
            Script().run(WORK, job.argv, _PROGRAM)
            os.read(far, len(_PROGRAM))
    finally:
        os.dup2(stdout, _STDOUT)
        for descriptor in (far, near, stdout):
            os.close(descriptor)
