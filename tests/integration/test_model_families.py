"""Weights of many families, put in place of others in a real vLLM, give what transformers computes with them.

One server a family, so this takes some minutes. transformers' plain forward pass is the independent computation.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from prorl_api.names import ENV_SHARED_MEMORY_DIR
from prorl_api.wire.base import ErrorBody, ErrorKind
from prorl_api.wire.rollout import (
    CompletionEvent,
    LoadWeightsRequest,
    RolloutServerState,
    WeightsProbe,
)
from prorl_trainer.engines.checkpoint_form import in_checkpoint_form
from prorl_trainer.service.publisher import Published, Publisher
from tests.integration.model_families import FAMILIES, WINDOW, write_family
from tests.integration.rollout_world import (
    START_SECONDS,
    StubLearner,
    make_request,
    running_server,
    until,
    write_tokenizer,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore:.*deprecated.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*deprecated.*:FutureWarning"),
]

BOUND = 1e-3
"""Nats; what float32 arithmetic in another order makes is a hundredth of it, a wrong model a thousand times as much."""
PROMPT = [5, 9, 200, 31, 17, 4] * (WINDOW // 3)
"""Twice as long as the windows."""


@dataclass
class FamilyServer:
    """A rollout server of one family, and two sets of weights for it."""

    http: httpx.Client
    publisher: Publisher
    models: dict[int, Any]
    requests: int = 0

    def publish(self, step: int, *, weights: int, probe: int) -> Published:
        """Offer a model's weights, with the log-probabilities of what may be another one."""
        model = self.models[weights]
        expected = WeightsProbe(
            token_ids=PROMPT, logprobs=logprobs(self.models[probe], PROMPT).tolist(), max_distance=BOUND
        )
        return self.publisher.publish(
            step, in_checkpoint_form(model, model.named_parameters(), torch.float32), expected
        )

    def load(self, published: Published) -> httpx.Response:
        sources = self.publisher.sources(published)[:1]
        request = LoadWeightsRequest(weights_id=published.manifest.weights_id, sources=sources)
        return self.http.post("/v1/weights", json=request.model_dump(mode="json"))

    def sample(self) -> list[CompletionEvent]:
        self.requests += 1
        sampling = {"temperature": 1.0, "max_tokens": 24, "seed": 3}
        request = make_request(f"r{self.requests}", prompt_token_ids=PROMPT, num_completions=4, sampling=sampling)
        answer = self.http.post("/v1/generate", json=request.model_dump(mode="json"))
        assert answer.status_code == 200, answer.text
        return [
            CompletionEvent.model_validate_json(line) for line in answer.text.splitlines() if '"completion"' in line
        ]


@torch.no_grad()
def logprobs(model: Any, token_ids: list[int]) -> torch.Tensor:
    """Log-probabilities of tokens 1.. given those before, [len(token_ids) - 1], float32."""
    tokens = torch.tensor([token_ids])
    distribution = torch.log_softmax(model(tokens).logits[0, :-1].float(), dim=-1)
    return distribution.gather(1, tokens[0, 1:, None])[:, 0]


@contextlib.contextmanager
def serving(family: str, base: Path) -> Iterator[FamilyServer]:
    from transformers import AutoModelForCausalLM

    folders = {seed: write_family(base / f"weights-{seed}", family, seed=seed) for seed in (0, 1)}
    files, own = base / "files", base / "own"
    for folder in (files, own):
        folder.mkdir()
    (files / "config.json").write_bytes((folders[0] / "config.json").read_bytes())
    write_tokenizer(files)
    log = own / "server.log"
    models = {seed: AutoModelForCausalLM.from_pretrained(folder) for seed, folder in folders.items()}
    with (
        contextlib.closing(StubLearner(files, base)) as learner,
        contextlib.closing(Publisher(1, learner.url)) as publisher,
        running_server(learner.url, log, max_model_tokens=512) as (process, url),
        httpx.Client(base_url=url, timeout=120) as http,
    ):
        until(lambda: process.poll() is not None or "the engine is up" in log.read_text(), START_SECONDS, log.read_text)
        assert process.poll() is None, log.read_text()
        yield FamilyServer(http=http, publisher=publisher, models=models)


DIFFERENT_IN_VLLM = ("deepseek-v3",)
"""Families that vLLM 0.32 computes on a CPU otherwise than transformers, also where it loads the files by itself."""


EXAMPLES = ("llama-tied", "gemma3-window", "qwen3-moe")
"""A tied head, windows, experts: what `make test` runs; a server each takes most of a minute."""
SERVED = [
    family if family in EXAMPLES else pytest.param(family, marks=pytest.mark.thorough)
    for family in FAMILIES
    if family not in DIFFERENT_IN_VLLM
]


@pytest.mark.parametrize("family", SERVED)
def test_new_weights_are_served_as_transformers_computes_them(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENV_SHARED_MEMORY_DIR, str(tmp_path))
    with serving(family, tmp_path) as server:
        for step, weights in enumerate((0, 1, 0)):
            answer = server.load(server.publish(step, weights=weights, probe=weights))
            assert answer.status_code == 200, answer.text
            for event in server.sample():
                (segment,) = event.segments
                expected = logprobs(server.models[weights], PROMPT + segment.token_ids)[len(PROMPT) - 1 :]
                torch.testing.assert_close(torch.tensor(segment.logprobs), expected, atol=BOUND, rtol=0)
        refused = server.load(server.publish(3, weights=1, probe=0))
        assert ErrorBody.model_validate_json(refused.content).error.kind is ErrorKind.ENGINE_MISMATCH
        state = RolloutServerState.model_validate_json(server.http.get("/v1/state").content)
        assert (state.ready, state.weights_id) == (False, None)
        assert "nats on average" in state.detail


@pytest.mark.thorough
@pytest.mark.parametrize("family", DIFFERENT_IN_VLLM)
def test_a_family_that_vllm_computes_differently_is_refused(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENV_SHARED_MEMORY_DIR, str(tmp_path))
    with serving(family, tmp_path) as server:
        refused = server.load(server.publish(0, weights=0, probe=0))
        assert ErrorBody.model_validate_json(refused.content).error.kind is ErrorKind.ENGINE_MISMATCH
