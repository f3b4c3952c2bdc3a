"""vLLM loads an exported folder by itself and says what the policy says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from prorl_cli.main import app
from tests.integration.engine_kit import learner_spec
from tests.integration.tiny_model import write_model
from tests.integration.trained_run import TrainedRun, loaded

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PROMPT = [17, 4, 90, 77, 31]
PROGRAM = """
import json, os, sys
from vllm import LLM, SamplingParams
engine = LLM(model=sys.argv[1], enforce_eager=True, max_model_len=128, max_num_seqs=2, disable_log_stats=True)
sampling = SamplingParams(temperature=0.0, max_tokens=12, ignore_eos=True, detokenize=True)
said = engine.generate([{"prompt_token_ids": json.loads(sys.argv[2])}], sampling, use_tqdm=False)[0].outputs[0]
open(sys.argv[3], "w").write(json.dumps({"tokens": list(said.token_ids), "text": said.text}))
os._exit(0)
"""


def test_vllm_loads_an_exported_folder_and_says_what_the_policy_says(tmp_path: Path) -> None:
    model = write_model(tmp_path / "base", hidden_size=128, num_key_value_heads=4)
    made = TrainedRun(tmp_path / "run", model, learner_spec("plain"))
    folder = tmp_path / "out"
    result = CliRunner().invoke(app, ["export", str(made.run.path), "--output", str(folder)])
    assert result.exit_code == 0, result.output
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", PROGRAM, str(folder), json.dumps(PROMPT), str(tmp_path / "said.json")]
    log = tmp_path / "log"
    with log.open("wb") as output:  # no pipe: vLLM's helpers may hold one open after the engine has ended
        asked = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        try:
            assert asked.wait(800) == 0, log.read_text()[-4000:]
        finally:
            with suppress(ProcessLookupError):
                os.killpg(asked.pid, signal.SIGKILL)
            asked.wait()
    said = json.loads((tmp_path / "said.json").read_text())
    assert said["tokens"] == greedy(folder, 12)
    assert said["text"] == loaded(folder)[1].decode(said["tokens"], skip_special_tokens=True)


@torch.no_grad()
def greedy(folder: Path, num_tokens: int) -> list[int]:
    model, _ = loaded(folder)
    ids = list(PROMPT)
    for _ in range(num_tokens):
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(PROMPT) :]
