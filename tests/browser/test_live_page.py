"""The live page as a person uses it: a run that really runs, watched, decided on, ended and resumed, by clicks."""

from __future__ import annotations

import json
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from prorl_api.resets import ResetCondition, ResetRecord
from prorl_api.run_folder import RunFolder
from prorl_cli.report.compare import compared
from prorl_cli.report.compare_page import write_comparison
from prorl_cli.watch.serving import beside_the_run
from tests.browser.reader import WIDTHS, Browser
from tests.conformance.local_world import LocalWorld
from tests.conformance.world import saved_step, wait_for
from tests.unit.report.conftest import build_run

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)><svg onload=alert(1)>"
CELLS = "[...document.querySelectorAll('.stacked td')]"
TOO_WIDE = """
  const within = (item) => item.closest(".scroll, pre, .plot") === null;
  return [...document.querySelectorAll("body *")]
    .filter((item) => within(item) && item.getBoundingClientRect().right > innerWidth + 1)
    .map((item) => `${item.tagName} ${item.className} ${item.textContent.slice(0, 40)}`);
"""
"""What reaches over the right edge, but for what can be scrolled by itself."""
APPROVE = {
    "mode": "approve",
    "cooldownSteps": 1,
    "triggers": [{"name": "spike", "klSpike": {"above": 0.004, "windowSteps": 2}}],
}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[LocalWorld]:
    """A folder with a manifest; its bodies serve a live page; nothing of it runs afterwards."""
    world = LocalWorld(tmp_path)
    world.live_port = 0
    (world.control / "step-seconds").write_text("0.3")
    yield world
    world.close()


@pytest.fixture
def finished(tmp_path: Path) -> RunFolder:
    """A run that learnt, with a reset that waits."""
    run = build_run(tmp_path / "quickstart")
    record = ResetRecord.model_validate_json((run.resets / "quickstart-reset-2.json").read_bytes())
    changes = {"name": "quickstart-reset-3", "number": 3, "uid": "u3", "condition": ResetCondition.PENDING}
    changes |= {"evidence_step": 24, "applied_step": None, "digest_before": None, "digest_after": None}
    (run.resets / "quickstart-reset-3.json").write_text(record.model_copy(update=changes).model_dump_json())
    run.logs.mkdir()
    (run.logs / "learner-0.log").write_text("".join(f"step {step} done\n" for step in range(200)))
    return run


@contextmanager
def served(run: RunFolder) -> Iterator[str]:
    with beside_the_run(run, 0, last_look_seconds=0) as url:
        assert url is not None
        yield url


def condition_of(run: RunFolder, name: str) -> str:
    return str(json.loads((run.resets / f"{name}.json").read_text())["condition"])


@pytest.mark.parametrize("width", WIDTHS)
def test_everything_is_drawn_and_fits(finished: RunFolder, browser: Browser, width: int) -> None:
    browser.resize(width, 1300)
    with served(finished) as url:
        browser.open(url)
        browser.wait_until_drawn()
        wait_for(lambda: len(browser.find(".plot .main-svg")) >= 14, "all curves are drawn")
        assert browser.ask("return document.documentElement.scrollWidth") == width
        too_wide = f"return {CELLS}.filter((cell) => cell.getBoundingClientRect().right > innerWidth).length"
        assert browser.ask(too_wide) == 0, "tables of resets and components need no sideways scrolling"
        assert browser.ask("return location.hash") == "", "the token leaves the address line"
        loaded = browser.ask("return performance.getEntriesByType('resource').map((entry) => entry.name)")
        assert loaded
        assert all(name.startswith(url.partition("/#")[0]) for name in loaded), "nothing comes from elsewhere"
    assert browser.complaints() == []


@pytest.mark.parametrize("width", WIDTHS)
def test_what_is_long_fits_too(finished: RunFolder, browser: Browser, tmp_path: Path, width: int) -> None:
    long = "x" * 300
    finished.manifest.write_text(finished.manifest.read_text().replace("./models/smollm2", f"./models/{long}"))
    for file in (finished.status, *finished.resets.iterdir()):
        text = file.read_text().replace("Completed", long).replace("KL to the reference averaged", long)
        file.write_text(text.replace("kl-spike", long[:63]))
    for file in finished.samples.iterdir():
        file.write_text(file.read_text().replace("because \\u2026", long).replace("addition", f"addition{long[:50]}"))
    finished.metrics.write_text(finished.metrics.read_text().replace("/addition", f"/addition{long[:50]}"))
    (finished.logs / f"{long[:200]}.log").write_text(long * 5)
    other = build_run(tmp_path / long[:200], seed=1, last_step=16)
    browser.resize(width)
    with served(finished) as url:
        browser.open(url)
        browser.wait_until_drawn()
        browser.ask("for (const part of document.querySelectorAll('details')) part.open = true")
        assert browser.ask(TOO_WIDE) == []
    browser.open(write_comparison(compared([finished, other]), tmp_path / "comparison.html").as_uri())
    browser.wait_until_drawn()
    assert browser.ask(TOO_WIDE) == []


def test_a_run_is_watched_from_its_start_over_its_end_to_its_resumption(bench: LocalWorld, browser: Browser) -> None:
    bench.write_job(schedule={"totalSteps": 10_000}, referenceReset=APPROVE)
    body = bench.begin()
    (url,) = wait_for(lambda: re.findall(r"live page: (\S+)", bench.output), "the address is printed")
    browser.open(url)
    wait_for(
        lambda: "starting" in browser.text("#components + p + div") or browser.curve("KL to the reference"), "it starts"
    )
    seen = len(wait_for(lambda: browser.curve("KL to the reference"), "the first steps are drawn"))
    wait_for(lambda: len(browser.curve("KL to the reference")) >= seen + 3, "the curve grows")

    browser.ask("document.querySelector('[data-key=\"log learner-0.log\"]').open = true")
    browser.click("[data-decision=approve]")
    assert re.fullmatch(r"Approve fake-reset-\d+\?", browser.confirm())
    wait_for(lambda: ResetCondition.APPLIED in {record.condition for record in bench.resets}, "it is applied")
    wait_for(lambda: "applied" in browser.text(".resets"), "the page says so")
    browser.click("[data-decision=veto]")
    assert browser.confirm().startswith("Veto")
    wait_for(lambda: "vetoed" in browser.text(".resets"), "the page says so")
    assert browser.ask("return document.querySelector('[data-key=\"log learner-0.log\"]').open"), (
        "what was opened stays so"
    )

    body.send_signal(signal.SIGINT)
    assert bench.finish(body) == 130
    wait_for(lambda: "has ended" in browser.text("#connection"), "the page says that it is alone")
    last = browser.curve("KL to the reference")
    assert last, "what was seen stays"
    assert "suspended" in browser.text("header"), "the last state was taken"
    again, saved = bench.begin(), saved_step(bench)
    wait_for(lambda: browser.curve("KL to the reference")[-1] > saved, "it goes on by itself")
    wait_for(lambda: "Live" in browser.text("#connection"), "and says so")
    again.send_signal(signal.SIGINT)
    assert bench.finish(again) == 130
    assert [text for text in browser.complaints() if "ERR_" not in text] == []


def test_zooming_holds_for_all_curves_and_over_updates(finished: RunFolder, browser: Browser) -> None:
    ends = "plot.layout.xaxis.range.map((end) => Math.round(100 * end))"
    ranges = f"return [...document.querySelectorAll('.plot')].map((plot) => {ends})"
    with served(finished) as url:
        browser.open(url)
        browser.wait_until_drawn()
        whole = browser.ask(ranges)
        browser.drag(browser.find(".plot .nsewdrag")[0], 80)
        wait_for(
            lambda: len({str(found) for found in browser.ask(ranges)}) == 1 and browser.ask(ranges) != whole, "all zoom"
        )
        zoomed = browser.ask(ranges)
        with finished.metrics.open("a") as file:
            file.write('{"step": 25, "attempt": 2, "kl": 0.01, "reward_mean": 0.5}\n')
        wait_for(lambda: browser.curve("KL to the reference")[-1] == 25, "a step is added")
        assert browser.ask(ranges) == zoomed
        browser.ask("document.querySelectorAll('.plot')[1].emit('plotly_doubleclick')")
        wait_for(lambda: browser.ask(ranges)[0][1] > 2500, "the whole is shown again, with the new step")


def test_without_the_token_nothing_is_shown(finished: RunFolder, browser: Browser) -> None:
    with served(finished) as url:
        address, _, token = url.partition("/#token=")
        browser.open(f"{address}/#token={'A' * 43}")
        wait_for(lambda: "not the session's" in browser.text("#connection"), "it is refused")
        assert browser.text("main") == ""
        (field,) = browser.find("#token")
        field.send_keys(token)
        browser.click("#ask button")
        browser.wait_until_drawn()
        assert "quickstart" in browser.text("h1")
        assert token not in browser.ask("return document.documentElement.outerHTML")


def test_what_the_model_wrote_runs_nowhere(finished: RunFolder, browser: Browser) -> None:
    hostile = json.dumps(HOSTILE)[1:-1]
    for file in finished.samples.iterdir():
        text = file.read_text()
        for value in ("because \\u2026", "The answer is", "timed out after", "correct"):
            text = text.replace(value, hostile)
        file.write_text(text)
    for file in finished.resets.iterdir():
        text = file.read_text().replace("KL to the reference averaged", hostile)
        file.write_text(text.replace("kl-spike", hostile))
    (finished.logs / "learner-0.log").write_text(HOSTILE)
    with served(finished) as url:
        browser.open(url)
        browser.wait_until_drawn()
        browser.click("[data-unfold=completions]")
        assert HOSTILE in browser.text("[data-part=samples]")
        assert not browser.has_alert()
        assert browser.find("main img, main script, main svg[onload]") == []
        foreign = """
          const script = document.createElement("script");
          script.textContent = "window.broken = 1";
          document.body.append(script);
          return window.broken;
        """
        assert browser.ask(foreign) is None, "the policy admits no other script"
        assert any("Content Security Policy" in text for text in browser.complaints())


def test_a_foreign_page_can_neither_read_nor_decide(finished: RunFolder, browser: Browser) -> None:
    class Foreign(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><iframe name=frame></iframe>")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Foreign)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ask = """
      const [address, token, done] = arguments;
      const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
      const post = { method: "POST", body: '{"decision": "approve"}' };
      Promise.allSettled([
        fetch(`${address}/v1/page`, { headers }).then((answer) => answer.text()),
        fetch(`${address}/v1/resets/quickstart-reset-3`, { ...post, headers }).then((answer) => answer.text()),
        fetch(`${address}/v1/resets/quickstart-reset-3`, { ...post, mode: "no-cors" }).then((answer) => answer.text()),
        fetch(`${address}/`).then((answer) => answer.text()),
      ]).then((found) => done(found.map((one) => one.status === "fulfilled" ? one.value : one.status)));
    """
    try:
        with served(finished) as url:
            address, _, token = url.partition("/#token=")
            browser.open(f"http://127.0.0.1:{server.server_address[1]}/")
            browser.driver.set_script_timeout(60)
            found = browser.driver.execute_async_script(ask, address, token)
            assert found == ["rejected"] * 4, "even one who knows the token"
            browser.ask("frames[0].location = arguments[0]", address)
            wait_for(lambda: any("frame" in text for text in browser.complaints()), "nobody may frame it")
    finally:
        server.shutdown()
        server.server_close()
    assert condition_of(finished, "quickstart-reset-3") == "pending"


@pytest.mark.parametrize("width", WIDTHS)
def test_a_comparison_is_drawn_and_fits(finished: RunFolder, browser: Browser, tmp_path: Path, width: int) -> None:
    other = build_run(tmp_path / "higher-rate", seed=1, last_step=16)
    other.manifest.write_text(other.manifest.read_text().replace("0.00001", "0.00002"))
    page = write_comparison(compared([finished, other]), tmp_path / "comparison.html")
    browser.resize(width)
    browser.open(page.as_uri())
    browser.wait_until_drawn()
    assert len(browser.curve("Held-out accuracy")) == 4
    assert browser.ask("return document.documentElement.scrollWidth") == width
    assert "spec.learner.optimizer.learningRate" in browser.text("main")
    browser.picture(f"comparison-{width}")
    assert browser.complaints() == []
