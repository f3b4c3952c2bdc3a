"""The quickstart's manifest, shortened, with every real part: vLLM, DeepSpeed, the sandbox, the body, the report.

In the middle every member is killed, then the body with everything; the same command goes on each time.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from prorl_api.metrics import surviving
from prorl_api.run_folder import RunFolder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

REPOSITORY = Path(__file__).resolve().parents[2]
MODEL = REPOSITORY / ".cache" / "models" / "SmolLM2-135M-Instruct"
STEPS = 5
PATIENCE_SECONDS = 400.0


def _shortened(folder: Path) -> Path:
    job = yaml.safe_load((REPOSITORY / "examples" / "quickstart.yaml").read_text())
    spec = job["spec"]
    spec["model"]["path"] = str(MODEL)
    spec["learner"] |= {"promptsPerStep": 4, "groupSize": 4, "minibatchPrompts": 2}
    spec["algorithm"]["dynamicSampling"] = {"enabled": True, "maxRounds": 8}
    spec["schedule"] = {"totalSteps": STEPS}
    spec["validation"] |= {"everySteps": 2, "sources": [{"name": "addition", "size": 16}]}
    spec["referenceReset"] |= {
        "cooldownSteps": 1,
        "triggers": [{"name": "kl-spike", "klSpike": {"metric": "kl", "above": 0.0001, "windowSteps": 1}}],
    }
    spec["checkpoint"] = {"everySteps": 2, "keep": 2}
    manifest = folder / "job.yaml"
    manifest.write_text(yaml.safe_dump(job))
    return manifest


class Body:
    """`prorl run` as a process of its own."""

    def __init__(self, manifest: Path, run: RunFolder) -> None:
        self.run = run
        self._command = [sys.executable, "-m", "prorl_cli", "run", str(manifest), "--run-dir", str(run.path), "--plain"]
        self._log = run.path.with_suffix(".out").open("ab")
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True)

    def again(self) -> None:
        self.process = self._start()

    def output(self) -> str:
        return self.run.path.with_suffix(".out").read_text()

    def member(self, module: str) -> psutil.Process | None:
        """The running member of that module."""
        try:
            children = psutil.Process(self.process.pid).children()
            return next((child for child in children if child.cmdline()[-1:] == [module]), None)
        except psutil.NoSuchProcess:
            return None

    def end(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._log.close()


@pytest.fixture
def body(tmp_path: Path) -> Iterator[Body]:
    if not (MODEL / "config.json").is_file():
        pytest.fail(f"{MODEL} is missing; `make test` unpacks it, or run `make model`")
    started = Body(_shortened(tmp_path), RunFolder(tmp_path / "run"))
    yield started
    started.end()


def _lines(run: RunFolder) -> list[dict[str, Any]]:
    if not run.metrics.exists():
        return []
    return [json.loads(line) for line in run.metrics.read_text().splitlines() if line.endswith("}")]


def _wait(body: Body, what: str, reached: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not reached():
        assert time.monotonic() < deadline, f"waited in vain for {what}\n{body.output()}"
        assert body.process.poll() is None or reached(), f"ended before {what}\n{body.output()}"
        time.sleep(0.2)


def _step(body: Body) -> int:
    return max((line["step"] for line in _lines(body.run)), default=-1)


def _everyone(body: Body) -> list[psutil.Process]:
    return psutil.Process(body.process.pid).children(recursive=True)


def _kill_member(body: Body, module: str) -> None:
    member = body.member(module)
    assert member is not None, body.output()
    member.kill()


def test_a_run_goes_on_whatever_is_killed(body: Body) -> None:
    _wait(body, "the baseline", lambda: _step(body) >= 0)
    _kill_member(body, "prorl_reward_sandbox")
    _wait(body, "step 1", lambda: _step(body) >= 1)
    _kill_member(body, "prorl_rollout_server")
    _wait(body, "step 2", lambda: _step(body) >= 2)
    _kill_member(body, "prorl_trainer")
    _wait(body, "step 3", lambda: _step(body) >= 3)
    everyone = _everyone(body)
    body.process.kill()
    body.process.wait()
    gone, alive = psutil.wait_procs(everyone, timeout=30)
    assert not alive, [process.cmdline() for process in alive]
    assert gone
    body.again()
    assert body.process.wait(timeout=PATIENCE_SECONDS) == 0, body.output()

    steps = surviving(_lines(body.run))
    assert [line["step"] for line in steps] == list(range(STEPS + 1))
    assert all(line["mismatch_logprob"] < 0.05 for line in steps if line["step"] > 0)
    assert json.loads(body.run.current.read_text())["step"] == STEPS
    records = [json.loads(path.read_text()) for path in sorted(body.run.resets.glob("*.json"))]
    applied = [record for record in records if record["condition"] == "applied"]
    assert applied, records
    state = json.loads((body.run.checkpoint(steps[-1]["attempt"], STEPS) / "checkpoint.json").read_text())
    assert sorted(state["applied_resets"]) == sorted(record["uid"] for record in applied)
    assert len(state["lineage"]) == 1 + len(applied)
    assert "Reference resets" in body.output()
    assert body.run.report.stat().st_size > 1_000_000
    assert f" chat {body.run.path} " in body.output()
    ask_the_trained_model(body.run)


def ask_the_trained_model(run: RunFolder) -> None:
    """What the run's last lines offer: the model as a folder that transformers loads, and a sum asked of it."""
    from transformers import AutoModelForCausalLM

    folder = run.path.with_name("the model")
    prorl = [sys.executable, "-m", "prorl_cli"]
    subprocess.run([*prorl, "export", str(run.path), "--output", str(folder)], check=True)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", local_files_only=True)
    assert model.num_parameters() > 100_000_000
    command = [*prorl, "chat", str(folder), "--prompt", "5 + 3 ="]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said.startswith("The answer is")
    assert len(said.strip()) > len("The answer is")
