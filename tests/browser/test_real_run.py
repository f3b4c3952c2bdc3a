"""A run with real vLLM and real DeepSpeed, watched in the browser from its start to its end, and its model asked a sum.

The documentation's pictures are made here. It takes some eight minutes on two cores.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from prorl_api.resets import ResetCondition, ResetRecord
from prorl_api.run_folder import RunFolder
from tests.browser.reader import WIDTHS, Browser
from tests.testbed.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(5400)]

REPOSITORY = Path(__file__).resolve().parents[2]
MODEL = REPOSITORY / ".cache" / "models" / "SmolLM2-135M-Instruct"
STEPS, EVERY = 6, 2
PATIENCE_SECONDS = 1800.0
"""For the slowest thing, which is the engines' start on a machine that does much else."""
KL, HELD_OUT = "KL to the reference", "Held-out accuracy"
PRORL = [sys.executable, "-m", "prorl_cli"]


def manifest(folder: Path) -> Path:
    """The quickstart's, shortened, whose resets wait for a person."""
    job = yaml.safe_load((REPOSITORY / "examples" / "quickstart.yaml").read_text())
    spec: dict[str, Any] = job["spec"]
    place = Path("models", MODEL.name)  # as a person writes it: the page shows it
    (folder / place.parent).mkdir()
    (folder / place).symlink_to(MODEL)
    spec["model"]["path"] = str(place)
    spec["learner"] |= {"promptsPerStep": 8, "minibatchPrompts": 4}
    spec["schedule"] = {"totalSteps": STEPS}
    spec["validation"] |= {"everySteps": EVERY, "sources": [{"name": "addition", "size": 120}]}
    spec["referenceReset"] |= {"mode": "approve", "cooldownSteps": 2}
    spec["referenceReset"]["triggers"] = [
        {"name": "kl-spike", "klSpike": {"metric": "kl", "above": 0.05, "windowSteps": 2}}
    ]
    spec["checkpoint"] = {"everySteps": 4, "keep": 2}
    path = folder / "quickstart.yaml"
    path.write_text(yaml.safe_dump(job))
    return path


class Run:
    """`prorl run --live`, as a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = RunFolder(folder / "quickstart")
        self._output = folder / "output"
        command = [*PRORL, "run", str(manifest(folder)), "--run-dir", str(self.folder.path), "--plain", "--live"]
        with self._output.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)

    def output(self) -> str:
        """What it printed."""
        return self._output.read_text()

    def records(self) -> list[ResetRecord]:
        """Its resets."""
        files = sorted(self.folder.resets.glob("*.json"))
        return [ResetRecord.model_validate_json(path.read_bytes()) for path in files]

    def wait(self, what: str, reached: Any) -> Any:
        """Until it is so, or the run is over."""

        def look() -> Any:
            found = reached()
            assert found or self.process.poll() is None, f"ended before {what}\n{self.output()}"
            return found

        return wait_until(what, look, timeout_seconds=PATIENCE_SECONDS)

    def end(self) -> None:
        """Leave nothing of it; its members end with it."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(120)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    if not (MODEL / "config.json").is_file():
        pytest.fail(f"{MODEL} is missing; `make model` unpacks it")
    started = Run(tmp_path)
    yield started
    started.end()


def picture(browser: Browser, name: str, part: str = "", height: int = 1300) -> None:
    """At both widths, from the top or from a part on; everything fits."""
    for width in WIDTHS:
        browser.resize(width, height)
        browser.wait_until_drawn()
        fits = f"return document.documentElement.scrollWidth === {width}"
        wait_until(f"all of it within {width} pixels", partial(browser.ask, fits), timeout_seconds=30)
        script = f"document.querySelector('{part}').scrollIntoView()" if part else "scrollTo(0, 0)"
        browser.ask(script)
        browser.picture(f"{name}-{width}")
    browser.resize(WIDTHS[0])


def test_a_real_run_is_watched_from_start_to_end_and_its_model_asked(run: Run, browser: Browser) -> None:
    (url,) = run.wait("the address", lambda: re.findall(r"live page: (\S+)", run.output()))
    browser.open(url)
    run.wait("members that start", lambda: "starting" in browser.text("main"))
    browser.picture("live-starting-1280")
    run.wait("first steps", lambda: len(browser.curve(KL)) >= 2)
    seen = len(browser.curve(KL))
    run.wait("a curve that grows", lambda: len(browser.curve(KL)) > seen)
    run.wait("a reset that waits", lambda: browser.find("[data-decision=approve]"))
    picture(browser, "live-resets", "#resets")
    browser.click("[data-decision=approve]")
    assert browser.confirm().startswith("Approve quickstart-reset-")
    run.wait("the reset", lambda: ResetCondition.APPLIED in {record.condition for record in run.records()})
    run.wait("the page's word of it", lambda: "applied" in browser.text(".resets"))
    # Later ones stay undecided: the page shows them as waiting.
    assert run.process.wait(PATIENCE_SECONDS) == 0, run.output()
    wait_until("the page's word", lambda: "has ended" in browser.text("#connection"), timeout_seconds=60)
    assert browser.curve(KL)[-1] == STEPS, "the last state was taken"
    assert set(browser.curve(HELD_OUT)) == set(range(0, STEPS + 1, EVERY))
    newest = json.loads(run.folder.metrics.read_text().splitlines()[-1])
    assert f"{newest['validation_accuracy']:.3f}" in browser.text("main")
    picture(browser, "live")
    assert [text for text in browser.complaints() if "ERR_" not in text] == []
    ask_the_model(run.folder)


def ask_the_model(run: RunFolder) -> None:
    """Export it, load it with transformers alone, and ask both that and `prorl chat`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = run.path.with_name("model")
    subprocess.run([*PRORL, "export", str(run.path), "--output", str(folder)], check=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    question = "State the final answer to the following arithmetic problem: 5 + 3 ="
    chat = [{"role": "system", "content": ""}, {"role": "user", "content": question}]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) + "The answer is"
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)
    answer = model.generate(**ids, max_new_tokens=6, do_sample=False)[0][ids["input_ids"].shape[1] :]
    written = "The answer is" + tokenizer.decode(answer, skip_special_tokens=True)
    command = [*PRORL, "chat", str(folder), "--prompt", question]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert re.search(r"\d", written), written
    assert said.strip() == written.strip()
