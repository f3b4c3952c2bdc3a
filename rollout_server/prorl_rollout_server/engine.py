"""What the server needs of an inference engine, as a protocol, so that its bookkeeping can be tested without one.

`vllm_engine` implements it; nothing here imports an engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from prorl_api.wire.rollout import Sampling


class EngineDiedError(Exception):
    """The engine is gone for good; the process must be started again."""


class EngineRefusedError(Exception):
    """The engine would not take this request; the message says why."""


class EngineLoadError(Exception):
    """Weights could not be put in place; the model is in an undefined state until a later load succeeds."""


class SampleEnd(Enum):
    """Why the engine stopped sampling."""

    STOP = "stop"
    LENGTH = "length"
    INTERRUPTED = "interrupted"
    """Weights were about to change; what was sampled so far is good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one call of `Engine.sample` produced.

    Attributes:
        token_ids: New tokens only, the end token included when one was sampled.
        logprobs: Natural logarithm of each token's probability under the distribution sampled.
        version: The version string of the weights all tokens come from; None if there are no tokens.
        end: Why it ended.
        cached_prompt_tokens: Prompt tokens whose keys and values were shared with an earlier request.
    """

    token_ids: list[int]
    logprobs: list[float]
    version: str | None
    end: SampleEnd
    cached_prompt_tokens: int = 0


class Engine(Protocol):
    """An engine with one model, whose weights are replaced as a whole."""

    @property
    def max_model_tokens(self) -> int:
        """Longest prompt plus completion."""

    @property
    def has_died(self) -> bool:
        """Whether the engine is gone for good."""

    async def sample(
        self, request_id: str, prompt_token_ids: list[int], sampling: Sampling, *, seed: int, max_tokens: int
    ) -> Sample:
        """Sample one completion; cancelling the awaiting task aborts it in the engine.

        `seed` and `max_tokens` stand in place of those in `sampling`.

        Raises:
            EngineDiedError, EngineRefusedError
        """

    async def score(self, request_id: str, token_ids: list[int]) -> Sample:
        """Compute the log-probabilities of given tokens, and generate one more token greedily.

        The sample's tokens are the given ones but the first, each with its log-probability given those before it, at
        temperature 1; then the generated one.

        Raises:
            EngineDiedError, EngineRefusedError
        """

    async def pause(self) -> None:
        """Freeze what is running and start nothing new, until `resume`."""

    async def resume(self) -> None:
        """Go on after `pause`."""

    async def load_weights(self, files: Sequence[Path], version: str) -> None:
        """Interrupt what is running, replace all weights by the safetensors files', forget every cached prefix.

        After a failure nothing is sampled until a later load succeeds.

        Raises:
            EngineDiedError, EngineLoadError
        """

    def shutdown(self) -> None:
        """End the engine and its processes; blocks for at most a few seconds."""
