"""A world for the real learner process: stand-ins for the rollout servers and the judge, over real HTTP.

Completions and rewards depend on prompt and seed alone, so that two runs can be compared number by number.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from fastapi import FastAPI
from fastapi.responses import Response, StreamingResponse

from prorl_api import names
from prorl_api.metrics import surviving
from prorl_api.process.api_error import ApiError
from prorl_api.process.fence import AttemptFence
from prorl_api.process.http_guard import install
from prorl_api.process.listen import LISTEN_FD_VARIABLE, address_of, bind
from prorl_api.process.tokens import AcceptedTokens
from prorl_api.run_folder import RunFolder
from prorl_api.wire.base import ErrorKind, WeightsId
from prorl_api.wire.isolation import IsolationReport
from prorl_api.wire.learner import MemberAnswer, MemberHeartbeat
from prorl_api.wire.rollout import (
    CompletionEvent,
    DoneEvent,
    FinishReason,
    GeneratedSegment,
    GenerateRequest,
    LoadWeightsRequest,
    LoadWeightsResponse,
    RefusedWeights,
)
from prorl_api.wire.sandbox import RewardFunction, ScoreItem, ScoreRequest, Verdict
from prorl_trainer.storage.checkpoints import CheckpointStore, LearnerState
from prorl_trainer.storage.fence import Fence
from tests.unit.trainer.http_apps import served

END_TOKEN = 1
POISON = 120


def manifest(model: Path, **sections: Any) -> dict[str, Any]:
    """A job of eight short steps; keyword arguments are sections of its spec, merged one level deep."""
    spec: dict[str, Any] = {
        "seed": 5,
        "model": {"path": str(model)},
        "data": {"sources": [{"name": "sums", "domain": "logic", "reasoningGym": {"tasks": [{"name": "chain_sum"}]}}]},
        "rollout": {"maxPromptTokens": 200, "maxCompletionTokens": 8, "temperature": 1.0, "dtype": "float32"},
        "learner": {
            **{"engine": "plain", "precision": "float32", "threads": 1, "microbatchTokens": 512},
            **{"promptsPerStep": 4, "groupSize": 4, "minibatchPrompts": 2, "optimizer": {"learningRate": 0.001}},
        },
        # The log-probabilities of the stand-in are invented.
        "algorithm": {"kl": {"coefficient": 0.05}, "engineMismatch": {"maxLogprobDistance": 100}},
        "schedule": {"totalSteps": 8},
        "validation": {"everySteps": 4, "samplesPerPrompt": 1, "sources": [{"name": "sums", "size": 4}]},
        "checkpoint": {"everySteps": 3, "keep": 3},
    }
    for section, values in sections.items():
        merge = isinstance(values, dict) and isinstance(spec.get(section), dict)
        spec[section] = {**spec[section], **values} if merge else values
    return {"apiVersion": "prorl.dev/v1alpha1", "kind": "ProRLJob", "metadata": {"name": "demo"}, "spec": spec}


class World:
    """Rollout server, judge and run folder around learner processes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.run = RunFolder(folder / "run")
        self.run.path.mkdir(exist_ok=True)
        self.requests: list[str] = []
        self.on_generate: Callable[[str], object] = lambda _: None
        self.hold: Callable[[str], bool] = lambda _: False
        self.refusal: str | None = None
        """Why the rollout server does not serve the learner's weights."""
        self.reward: Callable[[str], float | None] = lambda text: float(zlib.crc32(text.encode()) % 2)
        self.judge: Callable[[ScoreItem], float | None] = lambda item: self.reward(
            f"{item.row['entry']['question']}/{item.completion}"
        )
        self.functions: dict[str, RewardFunction] = {}
        """Those that came with score requests."""
        self.poison: Callable[[str], bool] = lambda _: False
        """Whose completions hold the token that a model with `write_poisoned` cannot read."""
        self.app = self._build()
        self.url = ""
        self._listening = bind("127.0.0.1", 0)
        self.learner_url = f"http://{address_of(self._listening)}"
        self.processes: list[subprocess.Popen[str]] = []
        self._held: WeightsId | None = None
        self._asked: WeightsId | None = None
        self._over = threading.Event()

    def _build(self) -> FastAPI:
        app = FastAPI()
        install(app, AcceptedTokens(frozenset()), AttemptFence())

        @app.post("/v1/weights")
        async def load(body: LoadWeightsRequest) -> LoadWeightsResponse:
            if self.refusal is not None:
                raise ApiError(ErrorKind.ENGINE_MISMATCH, self.refusal)
            self._held = body.weights_id
            return LoadWeightsResponse(weights_id=body.weights_id, fetch_seconds=0, load_seconds=0, source_kind="file")

        @app.post("/v1/generate")
        async def generate(body: GenerateRequest) -> Response:
            assert body.weights_id == self._held
            self.requests.append(body.request_id)
            self.on_generate(body.request_id)
            return StreamingResponse(self._completions(body))

        @app.get("/v1/isolation")
        async def isolation() -> IsolationReport:
            return IsolationReport(level="process", keeps_off_network=False)

        @app.post("/v1/score")
        async def score(body: ScoreRequest) -> Response:
            self.functions |= body.rewards
            # Not by the wire's models, which refuse to write NaN: a judge that fails may write anything.
            results = [self._judge(item.item_id, self.judge(item)) for item in body.items]
            return Response(json.dumps({"results": results}), media_type="application/json")

        return app

    async def _completions(self, body: GenerateRequest) -> AsyncIterator[str]:
        while self.hold(body.request_id):  # noqa: ASYNC110 - the test changes its mind in another thread
            await asyncio.sleep(0.02)
        assert body.weights_id is not None
        for index in range(body.num_completions):
            dice = random.Random(f"{body.prompt_token_ids}/{body.sampling.seed + index}")
            ids = [dice.randrange(2, 100) for _ in range(dice.randint(1, 7))] + [END_TOKEN]
            if self.poison(body.request_id):
                ids.insert(0, POISON)
            segment = GeneratedSegment(
                token_ids=ids, logprobs=[dice.uniform(-6, -4) for _ in ids], weights_id=body.weights_id
            )
            event = CompletionEvent(index=index, segments=(segment,), finish_reason=FinishReason.STOP)
            yield event.model_dump_json() + "\n"
        yield DoneEvent(prompt_tokens=1, completion_tokens=1).model_dump_json() + "\n"

    def _judge(self, item_id: str, reward: float | None) -> dict[str, Any]:
        verdict = Verdict.SANDBOX_ERROR if reward is None else Verdict.CORRECT if reward == 1 else Verdict.WRONG
        if reward is not None and 0 < reward < 1:
            verdict = Verdict.PARTIAL
        detail = "out of memory" if reward is None else ""
        return {"item_id": item_id, "verdict": verdict.value, "reward": reward, "detail": detail}

    def beat(self) -> None:
        """Heartbeats, as a rollout server sends them, until the world ends."""
        while not self._over.wait(0.1):
            self.beat_once(self.learner_url, self.url, {})

    def beat_once(self, learner_url: str, address: str, headers: Mapping[str, str]) -> None:
        """Register at a learner, and take up which weights it wants."""
        body = MemberHeartbeat(
            address=address,
            ready=self.holds_weights,
            weights_id=self._held,
            refused=None if self._asked is None else RefusedWeights(weights_id=self._asked, message=self.refusal or ""),
        )
        # From where it serves, as a pod's calls come: a learner believes no other address.
        calling = httpx.HTTPTransport(local_address=urlsplit(address).hostname)
        with httpx.Client(transport=calling, timeout=5) as client, suppress(httpx.HTTPError):
            url = f"{learner_url}/v1/members/one"
            answer = client.put(url, json=body.model_dump(mode="json"), headers=dict(headers)).raise_for_status()
            wanted = MemberAnswer.model_validate_json(answer.content).weights_id
            if self.refusal is None:
                self._held = wanted or self._held
            else:
                self._asked = wanted

    @property
    def holds_weights(self) -> bool:
        """Whether it could generate."""
        return self._held is not None

    def start(self, attempt: int, document: dict[str, Any], **variables: str) -> subprocess.Popen[str]:
        """Start an attempt of the learner."""
        path = self.folder / f"job-{attempt}.json"
        path.write_text(json.dumps(document))
        shared = self.folder / "shared"
        shared.mkdir(exist_ok=True)
        descriptor = self._listening.fileno()
        environment = {
            **os.environ,
            names.ENV_MANIFEST: str(path),
            names.ENV_RUN_DIR: str(self.run.path),
            names.ENV_ATTEMPT: str(attempt),
            names.ENV_SANDBOX_URLS: self.url,
            names.ENV_SHARED_MEMORY_DIR: str(shared),
            names.ENV_JOB_NAME: "demo",
            LISTEN_FD_VARIABLE: str(descriptor),
            "OMP_WAIT_POLICY": "PASSIVE",
            **variables,
        }
        command = [sys.executable, "-m", "prorl_trainer"]
        log = (self.folder / f"log-{attempt}").open("w")
        process = subprocess.Popen(command, env=environment, pass_fds=[descriptor], stdout=log, stderr=log, text=True)
        log.close()
        self.processes.append(process)
        return process

    def finish(self, attempt: int, document: dict[str, Any], **variables: str) -> int:
        """Run an attempt to its end; its exit code."""
        return self.start(attempt, document, **variables).wait(timeout=240)

    def log(self, attempt: int) -> str:
        return (self.folder / f"log-{attempt}").read_text()

    def series(self) -> list[dict[str, Any]]:
        """The surviving timeline of `metrics.jsonl`."""
        with suppress(FileNotFoundError):
            text = self.run.metrics.read_text()
            return surviving(json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n"))
        return []

    def state(self) -> LearnerState:
        """What `CURRENT` names."""
        store = CheckpointStore(Fence(self.run, self.run.highest_attempt()))
        current = store.current()
        assert current is not None
        return store.read_state(current)

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call the learner's API, waiting until it is up; an empty answer if the learner has ended before."""
        limit = time.monotonic() + 120
        while self.processes[-1].poll() is None:
            try:
                answer = httpx.request(method, f"{self.learner_url}{path}", json=body, timeout=2, trust_env=False)
            except httpx.HTTPError:
                assert time.monotonic() < limit, "the learner's API does not come up"
                continue
            result: dict[str, Any] = answer.raise_for_status().json()
            return result
        return {}

    def end(self) -> None:
        """Kill what was started."""
        self._over.set()
        for process in self.processes:
            process.kill()
            process.wait()
        self._listening.close()


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """A world that ends with all its processes."""
    made = World(folder)
    beats = threading.Thread(target=made.beat, daemon=True)
    with served(made.app) as made.url:
        beats.start()
        try:
            yield made
        finally:
            made.end()
            beats.join(timeout=10)
