"""The launcher of a pod's ranks, with real processes and tiny stand-ins for the learner."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from prorl_api.errors import ExitCode, SpecError
from prorl_trainer.launch.launcher import Topology, culprit
from prorl_trainer.launch.rank_process import RankProcess

LAUNCH = (
    "import sys; from prorl_trainer.launch.launcher import main; sys.exit(main([sys.executable, '-c', sys.argv[1]]))"
)
SAY = "import json, os\ndef say(*words): os.write(1, (' '.join(map(str, words)) + '\\n').encode())\n"
"""`print` writes text and line end separately, which mixes lines of several processes."""
NAMES = ["RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"]
SHOW = f"{SAY}say(json.dumps([os.getpid(), *map(os.environ.get, {NAMES})]))"
BOTH = f"{SAY}rank = int(os.environ['RANK'])\n"
KEPT_ALIVE = "from prorl_api.process.lifeline import hold_lifeline; hold_lifeline()\n"
WAIT = "import time; time.sleep(100)\n"


@pytest.fixture(autouse=True)
def of_a_pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The environment of the second of three pods with two ranks each; the place of the termination log."""
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in pod(1, replicas=3, processes=2).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PRORL_TERMINATION_LOG", str(tmp_path / "termination-log"))
    return tmp_path / "termination-log"


def pod(index: int, *, replicas: int, processes: int) -> dict[str, str]:
    return {
        "JOB_COMPLETION_INDEX": str(index),
        "PRORL_LEARNER_REPLICAS": str(replicas),
        "PRORL_PROCESSES_PER_REPLICA": str(processes),
        "PRORL_RENDEZVOUS": "learner-0.ranks:29500",
    }


@contextlib.contextmanager
def start(program: str, launcher: str = LAUNCH, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A launcher with its ranks; it is gone afterwards, and then the kernel has its ranks end too."""
    command = [sys.executable, "-c", launcher, KEPT_ALIVE + program]
    with subprocess.Popen(
        command,
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def launch(program: str, **environment: str) -> tuple[int, str, str]:
    with start(program, **environment) as process:
        stdout, stderr = process.communicate(timeout=60)
        return process.returncode, stdout, stderr


def read_lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(count)]


def test_every_rank_of_a_pod_knows_its_place_among_all() -> None:
    code, stdout, _ = launch(SHOW)
    assert code == 0
    shown = sorted(json.loads(line)[1:] for line in stdout.splitlines())
    assert shown == [
        ["2", "0", "6", "2", "learner-0.ranks", "29500"],
        ["3", "1", "6", "2", "learner-0.ranks", "29500"],
    ]


def test_a_single_rank_replaces_the_launcher_and_is_told_of_no_others() -> None:
    with start(SHOW, **(pod(0, replicas=1, processes=1) | {"PRORL_RENDEZVOUS": ""})) as process:
        stdout, _ = process.communicate(timeout=60)
    assert json.loads(stdout) == [process.pid, None, None, None, None, None, None]
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("end", "code"), [("raise SystemExit(66)", 66), ("os.kill(os.getpid(), 9)", 137), ("os.abort()", 134)]
)
def test_the_pod_ends_with_the_code_of_the_rank_that_failed(end: str, code: int) -> None:
    assert launch(f"{BOTH}if rank == 3: {end}\n{WAIT}")[0] == code


def test_the_termination_log_names_the_rank_and_has_its_end(of_a_pod: Path) -> None:
    words = "print('x' * 9000, 'the loss is not finite', file=__import__('sys').stderr)"
    launch(f"{BOTH}if rank == 3: {words}; raise SystemExit(66)\n{WAIT}")
    first, *_, last = of_a_pod.read_text().splitlines()
    assert first == "rank 3 ended with exit code 66 (NON_FINITE)"
    assert last.endswith("xxx the loss is not finite")
    assert of_a_pod.stat().st_size <= 4096


def test_the_exit_code_stands_without_a_termination_log(tmp_path: Path) -> None:
    code, _, stderr = launch(f"{BOTH}raise SystemExit(64)", PRORL_TERMINATION_LOG=str(tmp_path / "none" / "log"))
    assert code == 64
    assert "cannot write" in stderr


def test_a_pod_whose_ranks_all_end_well_leaves_no_termination_log(of_a_pod: Path) -> None:
    assert launch("pass")[0] == 0
    assert not of_a_pod.exists()


def test_every_line_of_standard_error_says_whose_it_is() -> None:
    _, _, stderr = launch(f"{BOTH}import sys; sys.stderr.write(f'one {{rank}}\\ntwo {{rank}}')")
    assert sorted(stderr.splitlines()) == ["[rank 2] one 2", "[rank 2] two 2", "[rank 3] one 3", "[rank 3] two 3"]


def test_a_line_without_an_end_is_passed_on_and_blocks_nobody() -> None:
    code, _, stderr = launch(f"{BOTH}import sys; sys.stderr.write('y' * 300_000)")
    assert code == 0
    assert stderr.count("y") == 600_000


STOPPABLE = f"""{BOTH}
import signal, sys, time
def stop(*_):
    say(rank, 'stops')
    open(os.environ['LETGO'], 'w').close()
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
say(rank, 'runs')
while not os.path.exists(os.environ['LETGO']): time.sleep(0.01)
"""


def test_a_stop_reaches_rank_0_alone_which_lets_the_others_go(tmp_path: Path) -> None:
    environment = pod(0, replicas=1, processes=3) | {"LETGO": str(tmp_path / "letgo")}
    with start(STOPPABLE, **environment) as process:
        assert sorted(read_lines(process, 3)) == ["0 runs", "1 runs", "2 runs"]
        process.send_signal(signal.SIGTERM)
        stdout, _ = process.communicate(timeout=60)
    assert stdout.splitlines() == ["0 stops"]
    assert process.returncode == 0


def test_a_pod_without_rank_0_outlives_a_stop_until_it_is_let_go(tmp_path: Path) -> None:
    with start(STOPPABLE, LETGO=str(tmp_path / "letgo")) as process:
        assert sorted(read_lines(process, 2)) == ["2 runs", "3 runs"]
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert "asked to stop" in process.stderr.readline()
        (tmp_path / "letgo").touch()
        stdout, _ = process.communicate(timeout=60)
    assert (stdout, process.returncode) == ("", 0)


def test_ranks_that_ignore_the_end_of_another_are_killed_with_their_helpers() -> None:
    stubborn = (
        f"{BOTH}import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "helper = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(100)'], stderr=subprocess.DEVNULL)\n"
        "say(os.getpid(), helper.pid)\n"
        "if rank == 2: sys.stdin.readline(); os._exit(66)\n"
        "time.sleep(100)"
    )
    impatient = LAUNCH.replace("sys.exit", "import prorl_trainer.launch.launcher as l; l.GRACE_SECONDS = 0.2; sys.exit")
    with start(stubborn, impatient) as process:
        assert len(read_lines(process, 2)) == 2
        # Ends with the pipe: ranks and helpers hold it, and would for 100 seconds.
        process.communicate("go\n", timeout=60)
    assert process.returncode == 66


def test_ranks_end_when_the_launcher_is_killed() -> None:
    with start(f"{SHOW}\n{WAIT}") as process:
        assert len(read_lines(process, 2)) == 2
        process.kill()
        assert process.stdout is not None
        assert process.stdout.read() == ""  # the end of the pipe: no process holds it any more


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JOB_COMPLETION_INDEX", ""),
        ("JOB_COMPLETION_INDEX", "3"),
        ("PRORL_LEARNER_REPLICAS", "0"),
        ("PRORL_PROCESSES_PER_REPLICA", "two"),
        ("PRORL_RENDEZVOUS", "learner-0.ranks"),
    ],
)
def test_a_variable_that_does_not_fit_is_named(name: str, value: str) -> None:
    with pytest.raises(SpecError) as caught:
        Topology.from_environment(pod(1, replicas=3, processes=2) | {name: value})
    assert [fault.path for fault in caught.value.faults] == [name]


def test_a_launcher_without_its_variables_ends_as_a_bad_spec() -> None:
    code, _, stderr = launch("pass", JOB_COMPLETION_INDEX="", PRORL_RENDEZVOUS="")
    assert code == ExitCode.BAD_SPEC
    assert "JOB_COMPLETION_INDEX" in stderr
    assert "PRORL_RENDEZVOUS" in stderr


async def test_of_ranks_that_ended_together_the_one_that_names_its_cause_is_to_blame() -> None:
    ranks = []
    for number, code in enumerate((0, 1, 67)):
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", f"raise SystemExit({code})")
        await process.wait()
        ranks.append(RankProcess(number=number, process=process))
    assert culprit(ranks) is ranks[2]
    assert culprit(ranks[:2]) is ranks[1]
    assert culprit(ranks[:1]) is None
