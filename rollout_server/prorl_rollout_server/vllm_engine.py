"""`Engine` over vLLM's `AsyncLLM`: the only module that speaks to vLLM outside its own worker processes.

It fixes how vLLM is run: random weights at first, log-probabilities of the distribution sampled, one engine request
per completion (completions of one prompt share its full key-value blocks, also when they arrive together).
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from prorl_api.settings import RolloutServerSettings
from prorl_api.wire.rollout import Sampling
from prorl_rollout_server.engine import EngineDiedError, EngineLoadError, EngineRefusedError, Sample, SampleEnd
from prorl_rollout_server.engine_check import refusals_of_vllm
from prorl_rollout_server.scratch import Scratch

TRANSFER_ENGINE = "prorl"
"""As registered by `weight_transfer`."""
FEW_CORES = 8
"""Up to here vLLM's binding, which leaves one core to its scheduler, costs more than it brings."""
CPU_BLOCK_TOKENS = 32
"""The least its CPU attention takes; by default 128. Only full blocks are shared, and prompts are often shorter."""
MIN_CPU_BATCH_TOKENS = 8192
SHUTDOWN_SECONDS = 1.0
"""The engine has nothing to save; after this vLLM kills it."""

_ENDS = {"stop": SampleEnd.STOP, "length": SampleEnd.LENGTH, "abort": SampleEnd.INTERRUPTED}
_logger = logging.getLogger(__name__)


def prepare_environment(settings: RolloutServerSettings, scratch: Scratch) -> None:
    """Set what vLLM and its libraries read from the environment; call before the first import of vLLM.

    Nothing is reported to anybody, nothing is looked up on a hub. What the user set stays, but for the temporary
    directory: vLLM leaves sockets and torch leaves compiled code behind, so all of it goes to `scratch`.
    """
    os.environ["TMPDIR"] = tempfile.tempdir = str(scratch.folder("tmp"))
    variables = {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "TOKENIZERS_PARALLELISM": "false",
        "VLLM_RPC_BASE_PATH": str(scratch.socket_folder()),
    }
    if settings.tensor_parallel_size == 1:
        # On CPU vLLM otherwise puts its single worker into a third process, which doubles start-up.
        variables["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    if settings.threads:
        variables |= {"OMP_NUM_THREADS": str(settings.threads), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    elif (os.cpu_count() or 1) <= FEW_CORES:
        variables["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
    if (os.cpu_count() or 1) <= FEW_CORES:
        # Threads that spin at barriers make generation several times slower when others use the same cores.
        variables["OMP_WAIT_POLICY"] = "PASSIVE"
    if settings.dtype == "float32":
        # Triton's attention otherwise multiplies float32 in TF32, ten bits of mantissa.
        variables["TRITON_F32_DEFAULT"] = "ieee"
    for name, value in variables.items():
        os.environ.setdefault(name, value)


def preload() -> None:
    """Import vLLM, which takes seconds that would otherwise be spent waiting for the learner."""
    import_module("vllm.v1.engine.async_llm")


def start_vllm(model_dir: Path, settings: RolloutServerSettings) -> VllmEngine:
    """Start vLLM with random weights; blocks for tens of seconds, so call it in a thread.

    Raises:
        SpecError: vLLM cannot run this model with these settings, and says so itself; the message is vLLM's.
        RuntimeError, OSError: It failed otherwise: the next start may find more memory.
    """
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.platforms import current_platform
    from vllm.v1.engine.async_llm import AsyncLLM

    arguments = engine_arguments(model_dir, settings, on_cpu=current_platform.is_cpu())
    with refusals_of_vllm(settings):
        return VllmEngine(AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments)))


def engine_arguments(model_dir: Path, settings: RolloutServerSettings, *, on_cpu: bool) -> dict[str, Any]:
    """Give vLLM's `AsyncEngineArgs` for these settings."""
    arguments: dict[str, Any] = {
        "model": str(model_dir),
        "load_format": "dummy",
        "served_model_name": "policy",
        "dtype": settings.dtype,
        "seed": 0,
        "tensor_parallel_size": settings.tensor_parallel_size,
        "max_model_len": settings.max_model_tokens,
        "max_num_seqs": settings.max_running_sequences,
        "enforce_eager": settings.enforce_eager,
        "enable_prefix_caching": True,
        "logprobs_mode": "processed_logprobs",
        "max_logprobs": 1,
        "weight_transfer_config": {"backend": TRANSFER_ENGINE},
        "enable_log_requests": False,
    }
    if not on_cpu:
        return arguments | {"gpu_memory_utilization": settings.gpu_memory_utilization}
    return arguments | {
        "kv_cache_memory_bytes": settings.cpu_kv_cache_bytes,
        "block_size": CPU_BLOCK_TOKENS,
        # A prompt cut into chunks rewinds the request's random generator, which CPU generators cannot do: with a
        # seed that ends vLLM 0.32 by "CPU Generator does not use offset". So prompts are never cut.
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(settings.max_model_tokens, MIN_CPU_BATCH_TOKENS),
    }


class VllmEngine:
    """See `prorl_rollout_server.engine.Engine`."""

    def __init__(self, llm: Any) -> None:
        self._llm = llm

    @property
    def max_model_tokens(self) -> int:
        """Longest prompt plus completion."""
        return int(self._llm.model_config.max_model_len)

    @property
    def has_died(self) -> bool:
        """Whether vLLM's engine process or its output handler is gone."""
        return bool(self._llm.errored)

    async def sample(
        self, request_id: str, prompt_token_ids: list[int], sampling: Sampling, *, seed: int, max_tokens: int
    ) -> Sample:
        """Sample one completion; see `Engine.sample`."""
        parameters = _sampling_parameters(sampling, seed=seed, max_tokens=max_tokens)
        return _as_sample(await self._generate(request_id, prompt_token_ids, parameters))

    async def score(self, request_id: str, token_ids: list[int]) -> Sample:
        """See `Engine.score`."""
        parameters = _sampling_parameters(Sampling(temperature=0.0, max_tokens=1, seed=0), seed=0, max_tokens=1)
        parameters.prompt_logprobs, parameters.flat_logprobs = 0, False
        return _as_scored(await self._generate(request_id, token_ids, parameters))

    async def _generate(self, request_id: str, prompt_token_ids: list[int], parameters: Any) -> Any:
        from vllm.exceptions import GracefulHTTPError, VLLMClientError
        from vllm.inputs.engine import tokens_input
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        try:
            generation = self._llm.generate(tokens_input(prompt_token_ids), parameters, request_id)
            (final,) = [output async for output in generation]  # FINAL_ONLY: one
        except EngineDeadError as error:
            raise EngineDiedError(str(error)) from error
        except (VLLMClientError, GracefulHTTPError, EngineGenerateError, ValueError) as error:
            raise EngineRefusedError(f"{error.__cause__ or error}") from error
        return final

    async def pause(self) -> None:
        """Freeze what runs, keeping its keys and values."""
        await self._llm.pause_generation(mode="keep", clear_cache=False)

    async def resume(self) -> None:
        """Go on after `pause`."""
        await self._llm.resume_generation()

    async def load_weights(self, files: Sequence[Path], version: str) -> None:
        """Replace all weights; see `Engine.load_weights`."""
        from vllm.distributed.weight_transfer.base import WeightTransferUpdateRequest
        from vllm.v1.engine.exceptions import EngineDeadError

        request = WeightTransferUpdateRequest(update_info={"paths": [str(file) for file in files]})
        try:
            await self._llm.pause_generation(mode="abort", clear_cache=True)
            await self._llm.start_weight_update()
            await self._llm.update_weights(request)
            await self._llm.finish_weight_update(weight_version=version)
            await self._llm.reset_prefix_cache()
            await self._llm.resume_generation()
        except EngineDeadError as error:
            raise EngineDiedError(str(error)) from error
        except Exception as error:  # vLLM hands on whatever a worker raised as a bare Exception
            await self._stay_paused()
            raise EngineLoadError(str(error)) from error

    async def _stay_paused(self) -> None:
        """Interrupt what was queued meanwhile: nothing may be sampled from a model that is half overwritten."""
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            await self._llm.pause_generation(mode="abort", clear_cache=True)
        except EngineDeadError as error:
            raise EngineDiedError(str(error)) from error

    def shutdown(self) -> None:
        """End vLLM's processes."""
        self._llm.shutdown(timeout=SHUTDOWN_SECONDS)


def _sampling_parameters(sampling: Sampling, *, seed: int, max_tokens: int) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=seed,
        max_tokens=max_tokens,
        stop=list(sampling.stop),
        stop_token_ids=list(sampling.stop_token_ids),
        logprobs=0,
        flat_logprobs=True,
        detokenize=bool(sampling.stop),
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _as_sample(output: Any) -> Sample:
    (completion,) = output.outputs
    token_ids = list(completion.token_ids)
    logprobs = completion.logprobs
    sampled = [logprobs.logprobs[start] for start in logprobs.start_indices] if token_ids else []
    return _sample_of(output, token_ids, sampled)


def _as_scored(output: Any) -> Sample:
    (completion,) = output.outputs
    token_ids = [*output.prompt_token_ids[1:], *completion.token_ids]
    # vLLM has no log-probability for a prompt's first token.
    found = [*output.prompt_logprobs[1:], *(completion.logprobs or [])]
    return _sample_of(output, token_ids, [entry[token].logprob for entry, token in zip(found, token_ids, strict=True)])


def _sample_of(output: Any, token_ids: list[int], logprobs: list[float]) -> Sample:
    (completion,) = output.outputs
    if completion.finish_reason not in _ENDS:
        raise EngineRefusedError(f"vLLM ended a completion by {completion.finish_reason}")
    spans = completion.weight_versions or []
    assert len(spans) <= 1, f"one completion spans weights {[span.version for span in spans]}"
    assert len(logprobs) == len(token_ids)
    return Sample(
        token_ids=token_ids,
        logprobs=logprobs,
        version=spans[0].version if spans else None,
        end=_ENDS[completion.finish_reason],
        cached_prompt_tokens=output.num_cached_tokens or 0,
    )
