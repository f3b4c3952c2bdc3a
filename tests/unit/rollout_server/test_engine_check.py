"""What vLLM could never run is a fault of the job, with exit code 64, and not a reason to start again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from prorl_api.errors import ExitCode, SpecError
from prorl_api.model.config import ModelConfig
from prorl_api.model.head_sizes import cpu_head_sizes, head_size_faults
from prorl_api.settings import RolloutServerSettings
from prorl_rollout_server import engine_check
from prorl_rollout_server.engine_check import raise_if_unfit, refusals_of_vllm

CONFIG = {
    "model_type": "llama", "hidden_size": 64, "num_attention_heads": 2, "max_position_embeddings": 512,
}  # fmt: skip
SETTINGS = RolloutServerSettings(max_model_tokens=256)


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_check, "_runs_on_cpu", lambda: True)  # to ask vLLM takes seconds


def judged(folder: Path, config: Any, settings: RolloutServerSettings = SETTINGS) -> str:
    (folder / "config.json").write_text(json.dumps(config))
    try:
        raise_if_unfit(folder, settings)
    except SpecError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({}, ()),
        ({"max_position_embeddings": 255}, ("spec.rollout.maxCompletionTokens", "256 tokens", "at most 255")),
        ({"max_position_embeddings": None, "n_positions": 128}, ("at most 128",)),
        ({"max_position_embeddings": 64, "rope_scaling": {"type": "linear", "factor": 4.0}}, ()),
        ({"max_position_embeddings": 64, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, ("at most 64",)),
        ({"num_attention_heads": 4}, ("spec.model.path", "heads of size 16", "one of 32, 64")),
        ({"head_dim": 48}, ("heads of size 48",)),
        ({"num_attention_heads": 4, "kv_lora_rank": 16}, ()),
        ({"text_config": {"max_position_embeddings": 100}}, ("at most 100",)),
    ],
)
def test_the_model_is_judged_before_vllm_is_started(
    change: dict[str, Any], wanted: tuple[str, ...], tmp_path: Path
) -> None:
    text = judged(tmp_path, CONFIG | change)
    assert bool(text) is bool(wanted)
    for part in wanted:
        assert part in text


def test_the_sizes_are_those_of_the_installed_vllm() -> None:
    sizes = cpu_head_sizes()
    assert sizes is not None
    assert {32, 64, 128} <= sizes
    assert 16 not in sizes


def test_an_engine_that_does_not_tell_its_sizes_refuses_none() -> None:
    assert head_size_faults(ModelConfig({"model_type": "llama", "head_dim": 7}), "here", None) == []


@pytest.mark.parametrize(
    ("error", "is_permanent"),
    [
        (ValueError("head_size 16 is not supported"), True),
        (NotImplementedError("no kernel for this"), True),
        (KeyError("rope_theta"), True),
        (ValueError("Free memory on device cuda:0 is less than desired GPU memory utilization"), False),
        (RuntimeError("Engine core initialization failed"), False),
        (ModuleNotFoundError("No module named 'x'", name="x"), False),
    ],
)
def test_only_what_hangs_on_the_job_alone_is_for_good(error: Exception, is_permanent: bool) -> None:
    with pytest.raises(SpecError if is_permanent else type(error)) as caught, refusals_of_vllm(SETTINGS):
        raise error
    assert str(error) in str(caught.value)


@pytest.mark.parametrize(
    ("package", "missing"), [("prorl_rollout_server", "uvicorn"), ("prorl_trainer", "transformers")]
)
def test_a_package_that_is_not_installed_is_named_with_the_command_that_installs_it(
    package: str, missing: str, tmp_path: Path
) -> None:
    last = tmp_path / "termination-log"
    last.touch()
    program = f"import runpy, sys; sys.modules[{missing!r}] = None; runpy.run_module({package!r}, run_name='__main__')"
    names = ("MANIFEST", "RUN_DIR", "SANDBOX_URLS", "LEARNER_URL")
    environment = {f"PRORL_{name}": f"http://127.0.0.1:1/{name}" for name in names}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**environment, "PRORL_ATTEMPT": "1", "PRORL_TERMINATION_LOG": str(last), "PATH": ""},
    )
    assert done.returncode == ExitCode.BAD_SPEC, done.stderr
    assert f"the package {missing} is not installed" in last.read_text()
    assert "pip install" in last.read_text()
    assert last.read_text().strip() in done.stderr
    assert "Traceback" not in done.stderr
