"""A learner that counts steps, keeps checkpoints and applies resets by the real protocol, without a model.

What keeps runs and attempts apart is the real learner's own: the identity of the run folder, the fence, the manifest
that is read again between steps.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI, Response

from prorl_api.errors import ExitCode, StaleAttemptError
from prorl_api.limits import Limits
from prorl_api.metrics import surviving
from prorl_api.names import (
    ENV_ADOPT_RUN,
    ENV_ATTEMPT,
    ENV_JOB_NAME,
    ENV_MANIFEST,
    ENV_RUN_DIR,
    ENV_RUN_UID,
    ENV_SANDBOX_URLS,
    ENV_SHARED_MEMORY_DIR,
)
from prorl_api.process.termination_message import tell_completed
from prorl_api.process.tokens import bearer_headers
from prorl_api.run_folder import RunFolder
from prorl_api.spec.roles import OptimizerSpec
from prorl_api.wire.base import ATTEMPT_HEADER
from prorl_api.wire.learner import (
    LearnerPhase,
    LearnerReport,
    LearnerStatus,
    MemberAnswer,
    MemberHeartbeat,
    MetricsSeries,
    ResetCommand,
    ResetOutcome,
    ResetOutcomes,
    ResetState,
    StopAnswer,
    StopRequest,
)
from prorl_trainer.live_spec import LiveSpec
from prorl_trainer.service.metrics_export import exposition
from prorl_trainer.storage.fence import Fence
from prorl_trainer.storage.identity import claim_run

USUAL_LEARNING_RATE = OptimizerSpec().learning_rate
"""With it the KL rises by 0.001 a step; with another one in proportion."""


def digest_of(text: str) -> str:
    """A digest, as of a reference."""
    return hashlib.sha256(text.encode()).hexdigest()


def wait_for_rank_zero() -> None:
    """Another rank: ends when rank 0 says that it is done."""
    done = RunFolder(Path(os.environ[ENV_RUN_DIR])).attempt(int(os.environ[ENV_ATTEMPT])) / "done"
    while not done.exists():
        time.sleep(0.02)


class FakeLearner:
    """State, loop and persistence."""

    def __init__(self, control: Path) -> None:
        self.control = control
        self.run_folder = RunFolder(Path(os.environ[ENV_RUN_DIR]))
        self.attempt = int(os.environ[ENV_ATTEMPT])
        self.live = LiveSpec(Path(os.environ[ENV_MANIFEST]))
        if ENV_SHARED_MEMORY_DIR in os.environ:
            assert Path(os.environ[ENV_SHARED_MEMORY_DIR]).is_dir()
        self.phase = LearnerPhase.STARTING
        self.phase_since = time.time()
        self.members: set[str] = set()
        self.pending: dict[str, ResetCommand] = {}
        self.outcomes: dict[str, ResetOutcome] = {}
        self.lock = threading.Lock()
        self.must_stop = False
        self.exit_code = 0
        self.server: Any = None
        claim_run(self.run_folder, os.environ.get(ENV_RUN_UID, ""), adopt=os.environ.get(ENV_ADOPT_RUN, ""))
        self.fence = Fence(self.run_folder, self.attempt)
        self.fence.enter()
        saved = self._load()
        self.step: int = saved["step"]
        self.resumed_from = self.step if saved["step"] else None
        self.checkpointed: int | None = self.resumed_from
        self.applied: dict[str, int] = saved["applied"]
        self.lineage: list[str] = saved.get("lineage", [digest_of("base")])
        """Digests of the references so far."""
        self.newest_line: dict[str, Any] | None = None
        for place, (uid, step) in enumerate(self.applied.items()):
            self.outcomes[uid] = self._applied(uid, uid, step, place)

    def _load(self) -> dict[str, Any]:
        try:
            saved: dict[str, Any] = json.loads(self.run_folder.current.read_text())
        except FileNotFoundError:
            return {"step": 0, "applied": {}}
        return saved

    def run(self) -> None:
        """The loop; an attempt that was overtaken ends as the real one does."""
        try:
            self._train()
        except StaleAttemptError as error:
            logging.getLogger("learner").error("%s", error)
            self.exit_code = ExitCode.STALE_ATTEMPT
        self.server.should_exit = True

    def _train(self) -> None:
        self._enter(LearnerPhase.WAITING_FOR_ROLLOUT)
        while not (self.members and self._sandbox_answers()) and not self.must_stop:
            time.sleep(0.02)
        self._enter(LearnerPhase.SAMPLING)
        while self.step < self.live.spec.schedule.total_steps and not self.must_stop:
            self.live.refresh()
            time.sleep(self._step_seconds())
            self._publish()
            self.fence.check()
            self.step += 1
            self._append_metrics()
            self._apply_resets()
            if self.step % self.live.spec.checkpoint.every_steps == 0:
                self._checkpoint()
        self._enter(LearnerPhase.STOPPING if self.must_stop else LearnerPhase.DONE)
        self._checkpoint()
        (self.run_folder.attempt(self.attempt) / "done").touch()
        tell_completed(self.step, self.live.spec.schedule.total_steps)

    def _publish(self) -> None:
        """Weights to every rollout server; one that does not take them is forgotten until it registers again."""
        headers = {**bearer_headers("rollout"), ATTEMPT_HEADER: str(self.attempt)}
        for address in sorted(self.members):
            try:
                answer = httpx.post(f"{address}/v1/weights", json={"step": self.step}, headers=headers, timeout=0.5)
            except httpx.HTTPError:
                self.members.discard(address)
                continue
            if answer.status_code == httpx.codes.CONFLICT:
                raise StaleAttemptError(f"attempt {self.attempt} is over: {answer.text}")

    def _enter(self, phase: LearnerPhase) -> None:
        self.phase, self.phase_since = phase, time.time()

    def _step_seconds(self) -> float:
        path = self.control / "step-seconds"
        return float(path.read_text()) if path.exists() else 0.05

    def _sandbox_answers(self) -> bool:
        urls = os.environ[ENV_SANDBOX_URLS].split(",")
        try:
            return all(
                httpx.post(f"{url}/v1/score", headers=bearer_headers("sandbox"), timeout=2).is_success for url in urls
            )
        except httpx.HTTPError:
            return False

    def _append_metrics(self) -> None:
        line = {
            "step": self.step,
            "attempt": self.attempt,
            "kl": 0.001 * self.step * self.live.spec.learner.optimizer.learning_rate / USUAL_LEARNING_RATE,
            "reward_mean": min(1.0, 0.01 * self.step),
            "seconds_total": 0.05,
            "tokens_generated": 100,
        }
        if self.step % 5 == 0:
            line["validation_accuracy"] = 0.5
        with self.run_folder.metrics.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.newest_line = line

    def _applied(self, uid: str, name: str, step: int, place: int) -> ResetOutcome:
        before, after = self.lineage[place : place + 2]
        return ResetOutcome(
            uid=uid,
            name=name,
            state=ResetState.APPLIED,
            applied_step=step,
            digest_before=before,
            digest_after=after,
        )

    def _apply_resets(self) -> None:
        with self.lock:
            waiting, self.pending = list(self.pending.values()), {}
        for command in waiting:
            if command.uid in self.applied:
                continue
            with self.run_folder.reset_log.open("a") as file:
                file.write(
                    json.dumps({"event": "intent", "step": self.step, "command": command.model_dump(mode="json")})
                    + "\n"
                )
            self.applied[command.uid] = self.step
            self.lineage.append(digest_of(f"policy of step {self.step}"))
            self._checkpoint()
            self.outcomes[command.uid] = self._applied(command.uid, command.name, self.step, len(self.applied) - 1)

    def _checkpoint(self) -> None:
        self.fence.check()
        temporary = self.run_folder.current.with_suffix(f".{self.attempt}")
        saved = {"step": self.step, "applied": self.applied, "attempt": self.attempt, "lineage": self.lineage}
        temporary.write_text(json.dumps(saved))
        temporary.replace(self.run_folder.current)
        self.checkpointed = self.step

    def ask_to_stop(self) -> None:
        """`POST /v1/stop`, and SIGTERM: after the step in progress, with a checkpoint."""
        self.must_stop = True

    def status(self) -> LearnerStatus:
        """`GET /v1/status`."""
        return LearnerStatus(
            attempt=self.attempt,
            phase=self.phase,
            phase_since=self.phase_since,
            heartbeat=time.time(),
            step=self.step,
            total_steps=self.live.spec.schedule.total_steps,
            ready_rollout_servers=len(self.members),
            last_checkpoint_step=self.checkpointed,
            resumed_from_step=self.resumed_from,
        )

    def take(self, command: ResetCommand) -> ResetOutcome:
        """`POST /v1/resets`."""
        with self.lock:
            if command.uid in self.outcomes:
                return self.outcomes[command.uid]
            self.pending[command.uid] = command
        return ResetOutcome(uid=command.uid, name=command.name, state=ResetState.ACCEPTED)

    def series(self, since_step: int, max_lines: int) -> MetricsSeries:
        """`GET /v1/metrics`."""
        lines = []
        if self.run_folder.metrics.exists():
            for text in self.run_folder.metrics.read_text().splitlines():
                try:
                    lines.append(json.loads(text))
                except ValueError:
                    continue
        resumed = self.resumed_from or 0
        lines = [line for line in surviving(lines) if line["attempt"] == self.attempt or line["step"] <= resumed]
        wanted = [line for line in lines if line["step"] > since_step]
        return MetricsSeries(steps=tuple(wanted[:max_lines]))


def create_learner_app(learner: FakeLearner) -> FastAPI:
    """The learner's API, as far as bodies and rollout servers use it."""
    app = FastAPI()

    @app.put("/v1/members/{incarnation}")
    def member(incarnation: str, body: MemberHeartbeat) -> MemberAnswer:
        learner.members.add(body.address)
        return MemberAnswer(attempt=learner.attempt, weights_id=None)

    @app.get("/metrics")
    def exposed() -> Response:
        spec = learner.live.spec
        text = exposition(os.environ[ENV_JOB_NAME], learner.status(), learner.newest_line, Limits.of(spec))
        return Response(text, media_type="text/plain; version=0.0.4")

    @app.get("/v1/status")
    def status() -> LearnerStatus:
        return learner.status()

    @app.post("/v1/stop")
    def stop(body: StopRequest) -> StopAnswer:
        learner.ask_to_stop()
        return StopAnswer()

    @app.post("/v1/resets")
    def post_reset(body: ResetCommand) -> ResetOutcome:
        return learner.take(body)

    @app.get("/v1/resets")
    def resets() -> ResetOutcomes:
        return ResetOutcomes(resets=tuple(learner.outcomes.values()))

    @app.get("/v1/metrics")
    def metrics(since_step: int = -1, max_lines: int = 1_000_000) -> MetricsSeries:
        return learner.series(since_step, max_lines)

    @app.get("/v1/report")
    def report(since_step: int = -1, max_lines: int = 1_000_000) -> LearnerReport:
        return LearnerReport(status=status(), metrics=metrics(since_step, max_lines), resets=resets())

    return app
