"""The real rollout server with transformers in vLLM's place: starts in a second, and takes and serves real weights.

A pod's program on nodes whose pods are processes. Each completion takes `SECONDS`, so that steps last longer than the
time between scrapes.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from prorl_api.names import ENV_ADVERTISED_URL
from prorl_api.wire.rollout import Sampling
from prorl_rollout_server import process
from prorl_rollout_server.__main__ import main
from prorl_rollout_server.engine import Sample, SampleEnd

SECONDS = 1.2


class TorchEngine:
    """One model in this process, without a cache of keys and values."""

    max_model_tokens = 512
    has_died = False

    def __init__(self, folder: Path, _settings: object) -> None:
        self._model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32).eval()
        self._version: str | None = None
        self._lock = asyncio.Lock()

    async def sample(
        self, request_id: str, prompt_token_ids: list[int], sampling: Sampling, *, seed: int, max_tokens: int
    ) -> Sample:
        """See `Engine.sample`."""
        await asyncio.sleep(0.0 if request_id.startswith("proof") else SECONDS)
        async with self._lock:
            return await asyncio.to_thread(self._sampled, prompt_token_ids, sampling, seed, max_tokens)

    async def score(self, request_id: str, token_ids: list[int]) -> Sample:
        """See `Engine.score`."""
        async with self._lock:
            logprobs = await asyncio.to_thread(self._logprobs, token_ids, 1.0)
        last = int(logprobs[-1].argmax())
        given = [*token_ids[1:], last]
        values = [float(logprobs[place, token]) for place, token in enumerate(given)]
        return Sample(token_ids=given, logprobs=values, version=self._version, end=SampleEnd.LENGTH)

    async def load_weights(self, files: Sequence[Path], version: str) -> None:
        """See `Engine.load_weights`."""
        async with self._lock:
            weights = {name: tensor for file in files for name, tensor in load_file(file).items()}
            missing = self._model.load_state_dict(weights, strict=False).unexpected_keys
            assert not missing, missing
            self._model.tie_weights()
            self._version = version

    async def pause(self) -> None:
        """See `Engine.pause`."""

    async def resume(self) -> None:
        """See `Engine.resume`."""

    def shutdown(self) -> None:
        """See `Engine.shutdown`."""

    @torch.no_grad()
    def _logprobs(self, token_ids: list[int], temperature: float) -> torch.Tensor:
        logits = self._model(torch.tensor([token_ids])).logits[0].float()
        return torch.log_softmax(logits / temperature, dim=-1)

    def _sampled(self, prompt: list[int], sampling: Sampling, seed: int, max_tokens: int) -> Sample:
        dice, tokens, values = torch.Generator().manual_seed(seed), list[int](), list[float]()
        end = SampleEnd.LENGTH
        while len(tokens) < max_tokens and end is not SampleEnd.STOP:
            logprobs = self._logprobs([*prompt, *tokens], sampling.temperature or 1.0)[-1]
            greedy = sampling.temperature == 0
            token = int(logprobs.argmax() if greedy else torch.multinomial(logprobs.exp(), 1, generator=dice))
            tokens.append(token)
            values.append(float(logprobs[token]))
            if token in (self._model.config.eos_token_id, *sampling.stop_token_ids):
                end = SampleEnd.STOP
        return Sample(token_ids=tokens, logprobs=values, version=self._version if tokens else None, end=end)


class PodClient(httpx.AsyncClient):
    """Calls from the pod's own address, as a pod does: a learner believes no other what its address is."""

    def __init__(self, **options: Any) -> None:
        own = httpx.URL(os.environ[ENV_ADVERTISED_URL]).host
        super().__init__(transport=httpx.AsyncHTTPTransport(local_address=own), **options)


def _nothing(*_: object) -> None:
    """Prepare no vLLM."""


STAND_INS = {
    "preload": _nothing,
    "prepare_environment": _nothing,
    "start_vllm": TorchEngine,
    "httpx": SimpleNamespace(AsyncClient=PodClient),
}


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, stand_in in STAND_INS.items():
        setattr(process, name, stand_in)
    code = main()
    sys.stderr.flush()
    os._exit(code)
