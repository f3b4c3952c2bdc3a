"""Settings from the environment, engine arguments, folders of dead predecessors, heartbeats."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from prorl_api.errors import SpecError
from prorl_api.process.fence import AttemptFence
from prorl_api.settings import RolloutServerSettings
from prorl_api.wire.learner import MemberAnswer, MemberHeartbeat
from prorl_api.wire.rollout import RefusedWeights, WeightSource, WeightsProbe
from prorl_rollout_server.learner_client import LearnerClient
from prorl_rollout_server.metrics import Metrics
from prorl_rollout_server.registration import Registration
from prorl_rollout_server.scratch import PREFIX, Scratch
from prorl_rollout_server.service import RolloutService
from prorl_rollout_server.settings import ServerSettings
from prorl_rollout_server.vllm_engine import engine_arguments
from prorl_rollout_server.weights import WeightsFetcher
from tests.unit.rollout_server.service_kit import FIRST, FakeEngine, FakeFetcher


def test_every_fault_of_the_environment_is_named() -> None:
    environment = {"PRORL_ROLLOUT_SETTINGS": '{"threads": -1, "dtype": "int4"}'}
    with pytest.raises(SpecError) as caught:
        ServerSettings.from_environment(environment)
    assert {fault.path: fault.want for fault in caught.value.faults} == {
        "PRORL_LEARNER_URL": "base URL of the learner, as http://127.0.0.1:8000",
        "PRORL_ROLLOUT_SETTINGS.threads": "at least 0",
        "PRORL_ROLLOUT_SETTINGS.dtype": "`bfloat16`, `float32` or `float16`",
    }


def test_settings_have_defaults() -> None:
    settings = ServerSettings.from_environment({"PRORL_LEARNER_URL": "http://learner:8000/"})
    assert settings.learner_url == "http://learner:8000"
    assert settings.engine == RolloutServerSettings()


def test_prompts_are_never_cut_on_cpu() -> None:
    settings = RolloutServerSettings(max_model_tokens=100_000)
    arguments = engine_arguments(Path("model"), settings, on_cpu=True)
    assert arguments["enable_chunked_prefill"] is False
    assert arguments["max_num_batched_tokens"] >= 100_000
    assert "gpu_memory_utilization" not in arguments


def test_a_gpu_gets_its_share_and_the_defaults() -> None:
    arguments = engine_arguments(Path("model"), RolloutServerSettings(gpu_memory_utilization=0.5), on_cpu=False)
    assert arguments["gpu_memory_utilization"] == 0.5
    assert "block_size" not in arguments


def test_only_folders_of_dead_processes_are_reaped(tmp_path: Path) -> None:
    temporary, shared = tmp_path / "tmp", tmp_path / "shm"
    shared.mkdir()
    temporary.mkdir()
    dead = shared / f"{PREFIX}{os.getpid()}-1"
    dead.mkdir()
    living = Scratch(temporary, shared)
    with living.folder_for(10) as folder:
        Scratch(temporary, shared).reap()
        assert folder.is_relative_to(shared)
        assert not dead.exists()
    living.close()
    assert list(shared.iterdir()) == []


def test_what_does_not_fit_into_shared_memory_goes_to_the_temporary_folder(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "tmp", tmp_path / "absent")
    (tmp_path / "tmp").mkdir()
    with scratch.folder_for(10) as folder:
        assert folder.is_relative_to(tmp_path / "tmp")


class Learner:
    """Answers heartbeats and hands out one file; down until `up` is set."""

    def __init__(self) -> None:
        self.up = False
        self.tries = 0
        self.attempt = 1
        self.files = {"config.json": b"{}"}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.tries += 1
        if not self.up:
            raise httpx.ConnectError("refused", request=request)
        if request.method == "PUT":
            body = {"attempt": self.attempt, "weights_id": None, "heartbeat_seconds": 0.001}
            return httpx.Response(200, json=body)
        name = request.url.path.removeprefix("/v1/model-files").removeprefix("/")
        if name:
            return httpx.Response(200, content=self.files[name])
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in self.files.items()}
        return httpx.Response(200, text=json.dumps({"files": digests}))


async def test_heartbeats_outlive_the_learner_and_raise_the_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("prorl_rollout_server.registration.FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr("prorl_rollout_server.registration.MAX_WAIT_SECONDS", 0.001)
    caplog.set_level("INFO")
    learner, fence = Learner(), AttemptFence()
    async with httpx.AsyncClient(transport=httpx.MockTransport(learner)) as http:
        service = RolloutService(WeightsFetcher(http, Scratch(tmp_path)), Metrics("job", CollectorRegistry()))
        registration = Registration(LearnerClient(http, "http://learner"), service, fence, "http://me:1")
        running = asyncio.create_task(registration.run())
        for up, attempt in ((False, 0), (True, 4), (False, 4), (True, 5)):
            learner.up, learner.attempt = up, attempt
            tries = learner.tries
            while learner.tries < tries + 5:  # noqa: ASYNC110  # the transport has no event
                await asyncio.sleep(0.001)
            assert fence.attempt == attempt
        running.cancel()
        await asyncio.wait([running])
    assert len([record for record in caplog.records if record.name.endswith("registration")]) == 4


async def test_refused_weights_are_reported_and_not_pulled_again(tmp_path: Path) -> None:
    heard: list[MemberHeartbeat] = []
    source = WeightSource(kind="http", location="http://learner/v1/weights/x")
    answer = MemberAnswer(attempt=1, weights_id=FIRST, sources=(source,), heartbeat_seconds=0.001)

    def learner(request: httpx.Request) -> httpx.Response:
        heard.append(MemberHeartbeat.model_validate_json(request.content))
        return httpx.Response(200, text=answer.model_dump_json())

    fetcher = FakeFetcher()
    fetcher.probe = WeightsProbe(token_ids=[1, 2], logprobs=[-9.0], max_distance=0.2)
    service = RolloutService(fetcher, Metrics("job", CollectorRegistry()))  # type: ignore[arg-type]
    service.attach(FakeEngine())
    async with httpx.AsyncClient(transport=httpx.MockTransport(learner)) as http:
        registration = Registration(LearnerClient(http, "http://learner"), service, AttemptFence(), "http://me:1")
        running = asyncio.create_task(registration.run())
        while sum(beat.refused is not None for beat in heard) < 20:  # noqa: ASYNC110  # the transport has no event
            await asyncio.sleep(0.001)
        running.cancel()
        await asyncio.wait([running])
    assert heard[-1].refused == RefusedWeights(weights_id=FIRST, message=service.detail)
    assert service.num_loads_begun == 1
    await service.close()


async def test_model_files_are_checked_and_stay_inside_their_folder(tmp_path: Path) -> None:
    learner = Learner()
    learner.up = True
    async with httpx.AsyncClient(transport=httpx.MockTransport(learner)) as http:
        await LearnerClient(http, "http://learner").fetch_model_files(tmp_path)
    assert (tmp_path / "config.json").read_bytes() == b"{}"
