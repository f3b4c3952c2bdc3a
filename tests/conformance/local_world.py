"""A run driven by `prorl run` with stand-in components: processes, HTTP and files, no model."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import yaml

from prorl_api.resets import ResetRecord
from prorl_api.run_folder import RunFolder
from prorl_api.spec.values import Role
from prorl_api.status import JobStatus
from prorl_cli.local.folder import read_status
from prorl_cli.local.leftovers import read_records
from prorl_cli.local.reset_files import ResetFiles
from tests.conformance.jobs import COMPONENT, make_job
from tests.conformance.world import PATIENCE_SECONDS, wait_for
from tests.model_folder import write_model_files

BODY = COMPONENT.with_name("body.py")
_HELPER = "time.sleep(600)"


class LocalWorld:
    """A manifest, a run folder, and bodies that are started on them."""

    def __init__(self, folder: Path) -> None:
        """Write the job; nothing runs yet."""
        self.folder = folder
        self.control = folder / "control"
        self.manifest = folder / "job.yaml"
        self.live_port: int | None = None
        """Of the live page; None: bodies serve none."""
        self.bodies: list[subprocess.Popen[str]] = []
        write_model_files(folder / "model")
        self.control.mkdir()
        self.write_job()

    @property
    def run(self) -> RunFolder:
        """The run folder."""
        return RunFolder(self.folder / "run")

    def write_job(self, **sections: Any) -> None:
        """The manifest, with sections of the spec changed."""
        self.manifest.write_text(yaml.safe_dump(make_job("fake", {"model": {"path": "./model"}}, sections)))

    def start(self) -> None:
        """Start a body."""
        self.begin()

    def begin(self) -> subprocess.Popen[str]:
        """Start a body; its output goes to `output`."""
        live = [] if self.live_port is None else [str(self.live_port)]
        with (self.folder / "output").open("a") as output:
            body = subprocess.Popen(
                [sys.executable, str(BODY), str(self.manifest), str(self.run.path), str(self.control), *live],
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self.bodies.append(body)
        return body

    def finish(self, body: subprocess.Popen[str] | None = None) -> int:
        """The exit code of a body, started here if need be."""
        return (body or self.begin()).wait(PATIENCE_SECONDS)

    def kill_body(self) -> None:
        """SIGKILL to the newest body."""
        self.bodies[-1].kill()
        self.bodies[-1].wait()

    def revive_body(self) -> None:
        """Give the same command again."""
        self.begin()

    def wait_until_over(self) -> JobStatus:
        """The status once the newest body has ended."""
        self.bodies[-1].wait(PATIENCE_SECONDS)
        assert not self.processes()
        return self.status

    @property
    def output(self) -> str:
        """What all bodies have said."""
        return (self.folder / "output").read_text()

    @property
    def status(self) -> JobStatus:
        """`status.json`."""
        return read_status(self.run) or JobStatus()

    @property
    def resets(self) -> tuple[ResetRecord, ...]:
        """All records."""
        return ResetFiles(self.run).read()

    def approve(self, name: str) -> None:
        """By the command."""
        prorl("resets", "approve", str(self.run.path), name)

    def veto(self, name: str) -> None:
        """By the command."""
        prorl("resets", "veto", str(self.run.path), name)

    def request_reset(self) -> str:
        """By the command."""
        return prorl("resets", "request", str(self.run.path), "--optimizer", "keep").split()[0]

    def incarnation(self, role: Role) -> str:
        """The pid as it was last recorded."""
        return str(self._recorded(f"{role.value}-0") or "")

    def pid(self, role: Role) -> int:
        """The member's process."""
        return self.pid_of(f"{role.value}-0")

    def pid_of(self, member: str) -> int:
        """Any member's process, by name."""
        pid = wait_for(lambda: self._recorded(member), f"{member} runs")
        assert pid is not None
        return pid

    def processes(self) -> list[int]:
        """Living processes of this run, the body and helpers of helpers included."""
        found = []
        helpers = self.control / "helper-pids"
        pids = {int(text) for text in helpers.read_text().split()} if helpers.exists() else set()
        for process in psutil.process_iter():
            try:
                line = " ".join(process.cmdline())
                is_ours = str(self.folder) in line or (process.pid in pids and _HELPER in line)
                if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
            except psutil.Error:
                continue
        return found

    def close(self) -> None:
        """End what a failed scenario left, and see that nothing survives it."""
        for body in self.bodies:
            if body.poll() is None:
                body.send_signal(signal.SIGKILL)
                body.wait()
        wait_for(lambda: not self.processes(), "nothing is left running")

    def uid(self) -> str:
        """The run's."""
        found: str = json.loads(self.run.identity.read_text())["uid"]
        return found

    def _recorded(self, member: str) -> int | None:
        return next((record.pid for record in read_records(self.run.processes) if record.name == member), None)


def prorl(*arguments: str) -> str:
    """Run the real command; its output."""
    command = [sys.executable, "-m", "prorl_cli", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE_SECONDS).stdout
