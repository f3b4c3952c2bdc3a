"""A real rollout server as a process, a tiny model with random weights, and a learner that is a stub."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import torch
import uvicorn
from fastapi import FastAPI
from fastapi.responses import FileResponse, PlainTextResponse, Response

from prorl_api.names import ENV_LEARNER_URL, ENV_ROLLOUT_SETTINGS
from prorl_api.process.listen import LISTEN_FD_VARIABLE, address_of, bind
from prorl_api.settings import RolloutServerSettings
from prorl_api.wire.base import ErrorBody, ErrorKind, WeightsId
from prorl_api.wire.learner import MemberAnswer, MemberHeartbeat, ModelFiles
from prorl_api.wire.rollout import (
    CompletionEvent,
    DoneEvent,
    GenerateRequest,
    LoadWeightsRequest,
    RolloutServerState,
    TensorInfo,
    WeightChunk,
    WeightsManifest,
    WeightSource,
)

VOCABULARY = 300
"""No multiple of 64, so that vLLM pads it."""
END_TOKEN = VOCABULARY - 1
START_SECONDS = 400.0
SETTINGS: dict[str, Any] = {
    "dtype": "float32",
    "max_model_tokens": 4096,
    "max_running_sequences": 16,
    "cpu_kv_cache_bytes": 128 * 2**20,
    "enforce_eager": True,
}
Weights = dict[str, torch.Tensor]


def make_model_folder(folder: Path, *, tied: bool) -> None:
    """A Llama configuration and a tokenizer; its head may be the embedding."""
    from transformers import LlamaConfig

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=4096,
        initializer_range=0.15,
        tie_word_embeddings=tied,
        bos_token_id=0,
        eos_token_id=END_TOKEN,
        architectures=["LlamaForCausalLM"],
    )
    config.save_pretrained(folder)
    write_tokenizer(folder)


def write_tokenizer(folder: Path) -> None:
    """A tokenizer whose token `i` reads `w<i>;`."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({f"w{index};": index for index in range(VOCABULARY)}, unk_token="w1;"))
    tokenizer.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=f"w{END_TOKEN};").save_pretrained(folder)


def make_weights(folder: Path, seed: int) -> Weights:
    """Random float32 weights; the end token's row is zero, so greedy sampling never ends by itself."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32)
    weights: Weights = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
    weights.get("lm_head.weight", weights["model.embed_tokens.weight"])[END_TOKEN] = 0
    return weights


class StubLearner:
    """Serves model files and published weights over real HTTP, and records heartbeats."""

    def __init__(self, model: Path, published: Path) -> None:
        self.heartbeats: list[MemberHeartbeat] = []
        self.wanted: WeightsId | None = None
        self._model = model
        self._published = published
        self._socket = bind("127.0.0.1", 0)
        self.url = f"http://{address_of(self._socket)}"
        self._server = uvicorn.Server(uvicorn.Config(self._app(), log_config=None, lifespan="off"))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))
        self._thread.start()

    def publish(self, step: int, weights: Weights) -> WeightsId:
        """Write weights as two chunks; fetched over `http_source`, or in place over `file_source`."""
        from safetensors.torch import save_file

        folder = self._published / str(step)
        folder.mkdir()
        names = sorted(weights)
        chunks = []
        for index, part in enumerate((names[::2], names[1::2])):
            file = folder / f"chunk-{index}.safetensors"
            save_file({name: weights[name] for name in part}, file)
            tensors = tuple(TensorInfo(name=name, shape=tuple(weights[name].shape), dtype="float32") for name in part)
            content = file.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            chunks.append(WeightChunk(file_name=file.name, num_bytes=len(content), sha256=digest, tensors=tensors))
        weights_id = WeightsId.of_chunks(1, step, [chunk.sha256 for chunk in chunks])
        manifest = WeightsManifest(weights_id=weights_id, chunks=tuple(chunks))
        (folder / "manifest.json").write_text(manifest.model_dump_json())
        return weights_id

    def chunk_file(self, step: int) -> Path:
        return self._published / str(step) / "chunk-1.safetensors"

    def http_source(self, step: int) -> WeightSource:
        return WeightSource(kind="http", location=f"{self.url}/weights/{step}")

    def file_source(self, step: int) -> WeightSource:
        return WeightSource(kind="file", location=str(self._published / str(step)))

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    def _app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/v1/model-files")
        def list_files() -> ModelFiles:
            files = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in self._model.iterdir()}
            return ModelFiles(files=files)

        @app.get("/v1/model-files/{name}")
        def model_file(name: str) -> Response:
            return FileResponse(self._model / name)

        @app.put("/v1/members/{incarnation}")
        def member(incarnation: str, heartbeat: MemberHeartbeat) -> MemberAnswer:
            self.heartbeats.append(heartbeat)
            sources = () if self.wanted is None else (self.http_source(self.wanted.step),)
            return MemberAnswer(attempt=1, weights_id=self.wanted, sources=sources, heartbeat_seconds=0.2)

        @app.get("/weights/{step}/manifest")
        def manifest(step: int) -> Response:
            return PlainTextResponse((self._published / str(step) / "manifest.json").read_text())

        @app.get("/weights/{step}/chunks/{index}")
        def chunk(step: int, index: int) -> Response:
            return FileResponse(self._published / str(step) / f"chunk-{index}.safetensors")

        return app


@contextlib.contextmanager
def running_server(learner_url: str, log: Path, **changes: Any) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A server process that leads its own process group, with the socket it inherits; killed on exit.

    `changes` are of its settings.
    """
    settings = RolloutServerSettings(**(SETTINGS | changes))
    listening: socket.socket = bind("127.0.0.1", 0)
    listening.set_inheritable(True)
    environment = os.environ | {
        ENV_LEARNER_URL: learner_url,
        ENV_ROLLOUT_SETTINGS: settings.model_dump_json(),
        LISTEN_FD_VARIABLE: str(listening.fileno()),
        "TMPDIR": str(log.parent),
    }
    with log.open("wb") as output, listening:
        process = subprocess.Popen(
            [sys.executable, "-m", "prorl_rollout_server"],
            env=environment,
            pass_fds=[listening.fileno()],
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        url = f"http://{address_of(listening)}"
    try:
        yield process, url
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def until(condition: Callable[[], bool], seconds: float, what: Callable[[], str]) -> None:
    """Poll until true.

    Raises:
        TimeoutError: With `what` says.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(what())
        time.sleep(0.05)


@dataclass(frozen=True)
class World:
    """What the tests of this module share."""

    learner: StubLearner
    process: subprocess.Popen[bytes]
    http: httpx.Client
    model: Path
    weights: dict[int, Weights]
    ids: dict[int, WeightsId]

    def load(
        self, step: int, source: WeightSource | None = None, weights_id: WeightsId | None = None
    ) -> httpx.Response:
        self.learner.wanted = None
        request = LoadWeightsRequest(
            weights_id=weights_id or self.ids[step], sources=(source or self.learner.file_source(step),)
        )
        return self.http.post("/v1/weights", json=request.model_dump(mode="json"))

    def generate(self, request_id: str, **changes: Any) -> list[CompletionEvent]:
        answer = self.post(request_id, **changes)
        assert answer.status_code == 200, answer.text
        *events, last = [json.loads(line) for line in answer.text.splitlines()]
        DoneEvent.model_validate(last)
        return sorted((CompletionEvent.model_validate(event) for event in events), key=lambda event: event.index)

    def post(self, request_id: str, **changes: Any) -> httpx.Response:
        return self.http.post("/v1/generate", json=make_request(request_id, **changes).model_dump(mode="json"))

    def greedy(self, request_id: str, **sampling: Any) -> list[int]:
        (event,) = self.generate(request_id, sampling={"temperature": 0.0} | sampling)
        (segment,) = event.segments
        return segment.token_ids

    def state(self) -> RolloutServerState:
        return RolloutServerState.model_validate_json(self.http.get("/v1/state").content)

    def metric(self, name: str) -> float:
        lines = self.http.get("/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    def expected_logprobs(self, step: int, token_ids: list[int], temperature: float) -> torch.Tensor:
        """transformers' log-probabilities of tokens 1.. given those before, [len(token_ids) - 1], float32."""
        from transformers import AutoConfig, AutoModelForCausalLM

        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(self.model), dtype=torch.float32)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(self.weights[step][name])
        tokens = torch.tensor([token_ids])
        with torch.no_grad():
            logits = model(tokens).logits[0, :-1]
        logprobs: torch.Tensor = torch.log_softmax(logits / temperature, dim=-1)
        return logprobs.gather(1, tokens[0, 1:, None])[:, 0]


def make_request(request_id: str, **changes: Any) -> GenerateRequest:
    sampling = {"max_tokens": 8, "seed": 11} | changes.pop("sampling", {})
    fields = {"request_id": request_id, "prompt_token_ids": [5, 9, 200, 31], "sampling": sampling} | changes
    return GenerateRequest.model_validate(fields)


@contextlib.contextmanager
def make_world(base: Path, *, tied: bool, **changes: Any) -> Iterator[World]:
    """A stub learner with two sets of weights, and a ready rollout server; `changes` are of its settings."""
    model, published, own = base / "model", base / "published", base / "own"
    for folder in (model, published, own):
        folder.mkdir()
    make_model_folder(model, tied=tied)
    weights = {step: make_weights(model, seed=step) for step in (0, 1)}
    learner = StubLearner(model, published)
    ids = {step: learner.publish(step, content) for step, content in weights.items()}
    log = own / "server.log"
    with (
        contextlib.closing(learner),
        running_server(learner.url, log, **changes) as (process, url),
        httpx.Client(base_url=url, timeout=60) as http,
    ):
        shared = World(learner=learner, process=process, http=http, model=model, weights=weights, ids=ids)
        _prove_start(shared, log)
        yield shared


def _prove_start(world: World, log: Path) -> None:
    """The API is up before the engine; the server registers without weights, pulls what is wanted, gets ready."""
    assert world.http.get("/healthz").status_code == 200
    assert world.http.get("/readyz").status_code == 503

    def died_or(condition: Callable[[], bool]) -> Callable[[], bool]:
        return lambda: world.process.poll() is not None or condition()

    until(died_or(lambda: bool(world.learner.heartbeats)), 60, log.read_text)
    first = world.learner.heartbeats[0]
    assert (first.address, first.ready, first.weights_id) == (str(world.http.base_url).rstrip("/"), False, None)
    assert ErrorBody.model_validate_json(world.post("early").content).error.kind is ErrorKind.NOT_READY
    world.learner.wanted = world.ids[0]
    until(died_or(lambda: world.http.get("/readyz").status_code == 200), START_SECONDS, log.read_text)
    assert world.process.poll() is None, log.read_text()
