"""Whether the libraries of the components that run here are installed; looked for, not imported, which takes long."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from prorl_api.errors import Fault, SpecError
from prorl_api.process.ending import INSTALL
from prorl_api.spec.job import ProRLJobSpec
from prorl_api.spec.values import EngineKind

_LIBRARIES = {
    "prorl_trainer": ("torch", "transformers", "safetensors", "fastapi", "uvicorn", "httpx", "tenacity"),
    "prorl_rollout_server": ("vllm", "fastapi", "uvicorn", "httpx", "safetensors"),
    "prorl_reward_sandbox": ("fastapi", "uvicorn", "math_verify", "reasoning_gym", "psutil"),
}
"""By the import package that needs them, those whose absence means that its extra was not installed."""


def raise_if_no_judge() -> None:
    """Make sure that a reward sandbox can be started here.

    Raises:
        SpecError: Its libraries are not installed.
    """
    absent = [name for name in _LIBRARIES["prorl_reward_sandbox"] if importlib.util.find_spec(name) is None]
    if absent:
        want = f"{INSTALL['prorl_reward_sandbox']}; or --verify-share 0, which starts no judge"
        raise SpecError([Fault(path="this environment", got=f"no {', '.join(absent)} for the judge", want=want)])


def missing_packages(spec: ProRLJobSpec) -> list[Fault]:
    """Name what a job on this machine needs and does not find, with the command that installs it."""
    return list(_missing(spec))


def _missing(spec: ProRLJobSpec) -> Iterator[Fault]:
    more = {"prorl_trainer": ("deepspeed",) if spec.learner.engine is EngineKind.DEEPSPEED else ()}
    for package, libraries in _LIBRARIES.items():
        absent = [name for name in (*libraries, *more.get(package, ())) if importlib.util.find_spec(name) is None]
        if absent:
            got = f"no {', '.join(absent)}, which {package} needs"
            yield Fault(path="this environment", got=got, want=INSTALL[package])
