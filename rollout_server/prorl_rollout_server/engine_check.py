"""Whether vLLM can run the model: what its files tell before it starts, and what its own refusals mean.

A refusal that depends on model and settings alone would be the same at the next start: it is a fault of the job.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prorl_api.errors import Fault, SpecError
from prorl_api.model.config import length_faults
from prorl_api.model.folder import CONFIG, read_config
from prorl_api.model.head_sizes import cpu_head_sizes, head_size_faults
from prorl_api.model.weight_files import MODEL_PATH
from prorl_api.settings import RolloutServerSettings
from prorl_api.wording import reason_of

_REFUSALS = (ValueError, TypeError, KeyError, AttributeError, NotImplementedError, AssertionError, ImportError)
"""What vLLM raises for a configuration that it does not know or take."""
_PASSING = ("memory", "timed out", "timeout", "address already in use", "connection")
"""Words of refusals that another start may not meet: who else uses the device decides."""
_MAX_SHOWN = 600


def raise_if_unfit(folder: Path, settings: RolloutServerSettings) -> None:
    """Judge the model's configuration before vLLM is asked.

    Raises:
        SpecError: Its sequences are shorter than the job's, or its heads have a size that vLLM lacks.
    """
    try:
        config = read_config(folder / CONFIG)
    except (OSError, ValueError) as error:
        want = "the model's own config.json"
        raise SpecError(
            [Fault(path=MODEL_PATH, got=f"{folder / CONFIG}, {reason_of(error)}", want=want)], source="the model"
        ) from error
    where = "spec.model.path"
    faults = length_faults(config, where, settings.max_model_tokens)
    if _runs_on_cpu():
        faults += head_size_faults(config, where, cpu_head_sizes())
    if faults:
        raise SpecError(faults, source="the model")


@contextmanager
def refusals_of_vllm(settings: RolloutServerSettings) -> Iterator[None]:
    """Turn what vLLM refuses for good into a fault of the job.

    Raises:
        SpecError: With vLLM's own words.
    """
    try:
        yield
    except ModuleNotFoundError:
        raise
    except _REFUSALS as error:
        words = " ".join(str(error).split()) or type(error).__name__
        if any(word in words.lower() for word in _PASSING):
            raise
        got = f"a model or settings that vLLM refuses ({settings.dtype}, up to {settings.max_model_tokens} tokens)"
        fault = Fault(
            path="spec.model.path, spec.rollout", got=f"{got}: {words[:_MAX_SHOWN]}", want="ones that it runs"
        )
        raise SpecError([fault], source="the model") from error


def _runs_on_cpu() -> bool:
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())
