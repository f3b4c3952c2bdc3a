"""The live page over HTTP: who gets what, what changes when the run does, and what a person may decide."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from prorl_api.resets import ResetCondition, ResetRecord
from prorl_api.run_folder import RunFolder
from prorl_cli.errors import ListenError
from prorl_cli.local import folder
from prorl_cli.main import app
from prorl_cli.report import write_report
from prorl_cli.report.document import Content
from prorl_cli.watch.gate import refusal
from prorl_cli.watch.serving import Looks, beside_the_run
from prorl_cli.watch.session import continued_session, listen
from prorl_cli.watch.source import Look

MakeRun = Callable[..., RunFolder]
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\ud800\x1b[31m"


class Page:
    """A reader of a page that is served."""

    def __init__(self, url: str) -> None:
        address, _, self.token = url.partition("/#token=")
        self.address = address
        self.client = httpx.Client(base_url=address, trust_env=False, timeout=300)

    def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}", **more.pop("headers", {})}
        return self.client.request(method, path, headers=headers, **more)

    def look(self, revision: str = "") -> dict[str, Any]:
        answer = self.call("GET", "/v1/page", params={"revision": revision})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    @property
    def html(self) -> str:
        return "".join(self.look()["content"]["parts"].values())


@pytest.fixture
def served() -> Iterator[Callable[[RunFolder], Page]]:
    """Serves a run's page until the test is over."""
    with ExitStack() as stack:

        def serve(run: RunFolder) -> Page:
            url = stack.enter_context(beside_the_run(run, 0, last_look_seconds=0))
            assert url is not None
            page = Page(url)
            stack.callback(page.client.close)
            return page

        yield serve


def waiting_reset(run: RunFolder) -> str:
    """A reset that waits for a person."""
    record = ResetRecord.model_validate_json((run.resets / "quickstart-reset-2.json").read_bytes())
    name = "quickstart-reset-3"
    changes = {
        "name": name,
        "number": 3,
        "uid": "u3",
        "condition": ResetCondition.PENDING,
        "applied_step": None,
        "evidence_step": 24,
    }
    (run.resets / f"{name}.json").write_text(record.model_copy(update=changes).model_dump_json())
    return name


def condition_of(run: RunFolder, name: str) -> str:
    return str(json.loads((run.resets / f"{name}.json").read_text())["condition"])


def test_the_parts_are_those_of_the_static_report(make_run: MakeRun, served: Callable[[RunFolder], Page]) -> None:
    run = make_run()
    content = served(run).look()["content"]
    static = write_report(run).read_text()
    different = [name for name, html in content["parts"].items() if html not in static]
    assert different == ["story", "logs"]  # a link to the logs, and these
    assert json.loads(static.split('id="figures">')[1].split("</script>")[0]) == content["figures"]


def test_the_document_holds_nothing_of_the_run_and_no_token(
    make_run: MakeRun, served: Callable[[RunFolder], Page]
) -> None:
    page = served(make_run(last_step=1))
    answer = page.client.get("/")
    assert answer.status_code == 200
    assert "quickstart" not in answer.text.split("<script>")[0]
    assert page.token not in answer.text
    assert not re.search(r'(?:src|href|action)="(?!#)', answer.text.split("<script>")[0])
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    for wanted in ("connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"):
        assert wanted in policy
    assert "unsafe-inline" not in policy.split("style-src")[0]
    assert (answer.headers["cache-control"], answer.headers["referrer-policy"]) == ("no-store", "no-referrer")


def test_what_the_model_and_the_logs_say_stays_text(make_run: MakeRun, served: Callable[[RunFolder], Page]) -> None:
    run = make_run()
    hostile = json.dumps(HOSTILE)[1:-1]
    for file in run.samples.iterdir():
        file.write_text(file.read_text().replace("because \\u2026", hostile).replace("The answer is", hostile))
    for file in run.resets.iterdir():
        text = file.read_text().replace("KL to the reference averaged", hostile.replace("\\ud800", ""))
        file.write_text(text.replace("kl-spike", "<b onclick=alert(1)>"))
    run.logs.mkdir()
    (run.logs / "<img src=x>.log").write_bytes(HOSTILE.encode("utf-8", "surrogatepass") + b"\x00\xff\n")
    html = served(run).html
    assert "alert(1)" in html
    assert not re.search(r"<(script|img|b )", html)
    logs = html[html.index('id="logs"') :]
    assert "alert(1)" in logs
    assert not re.search(r"[\x00\x1b]", logs)


def test_nothing_is_rendered_again_until_the_folder_changes(
    make_run: MakeRun, served: Callable[[RunFolder], Page]
) -> None:
    run = make_run()
    page = served(run)
    first = page.look()
    assert page.look(first["revision"])["content"] is None
    with run.metrics.open("a") as file:
        file.write('{"step": 25, "attempt": 2, "reward_mean": 0.9, "kl": 0.01}\n')
    second = page.look(first["revision"])
    assert second["revision"] != first["revision"]
    assert "step <b>25</b>" in second["content"]["parts"]["header"]
    assert second["content"]["figures"][2]["data"][0]["x"][-1] == 25


@pytest.mark.parametrize("decision", ["approve", "veto"])
def test_a_person_decides_about_a_pending_reset(
    make_run: MakeRun, served: Callable[[RunFolder], Page], decision: str
) -> None:
    run = make_run()
    name = waiting_reset(run)
    page = served(run)
    assert f'data-reset="{name}" data-decision="{decision}"' in page.html
    answer = page.call("POST", f"/v1/resets/{name}", json={"decision": decision})
    assert answer.status_code == 200
    assert name in answer.json()["message"]
    assert condition_of(run, name) == {"approve": "approved", "veto": "vetoed"}[decision]
    assert "data-decision" not in page.html
    again = page.call("POST", f"/v1/resets/{name}", json={"decision": "veto"})
    assert again.status_code == 422
    assert "already" in again.json()["error"]["message"]


REFUSED: dict[str, tuple[dict[str, Any], int]] = {
    "no token": ({"headers": {"Authorization": ""}}, 401),
    "another token": ({"headers": {"Authorization": "Bearer AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}, 401),
    "the token elsewhere": ({"headers": {"Authorization": ""}, "params": {"token": "TOKEN"}}, 401),
    "the token in a cookie": ({"headers": {"Authorization": "", "Cookie": "token=TOKEN"}}, 401),
    "a name that was pointed here": ({"headers": {"Host": "attacker.example"}}, 403),
    "a name that begins like ours": ({"headers": {"Host": "127.0.0.1.attacker.example"}}, 403),
    "a foreign page": ({"headers": {"Origin": "http://attacker.example"}}, 403),
    "a page of another port": ({"headers": {"Origin": "http://127.0.0.1:1"}}, 403),
    "a page without an origin": ({"headers": {"Origin": "null"}}, 403),
    "a foreign site": ({"headers": {"Sec-Fetch-Site": "cross-site"}}, 403),
    "a form": ({"content": "decision=approve", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}, 422),
    "no decision": ({"json": {}}, 422),
    "another decision": ({"json": {"decision": "apply"}}, 422),
    "more than a decision": ({"json": {"decision": "approve", "name": "x"}}, 422),
    "a body without end": ({"content": b"x" * 5000}, 413),
}


@pytest.mark.parametrize(("request_", "status"), REFUSED.values(), ids=REFUSED)
def test_nobody_else_decides(
    make_run: MakeRun, served: Callable[[RunFolder], Page], request_: dict[str, Any], status: int
) -> None:
    run = make_run(last_step=1)
    name = waiting_reset(run)
    page = served(run)
    more = json.loads(json.dumps(request_, default=bytes.decode).replace("TOKEN", page.token))
    if not {"json", "content"} & set(more):
        more["json"] = {"decision": "approve"}
    answer = page.call("POST", f"/v1/resets/{name}", **more)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]
    assert condition_of(run, name) == "pending"
    if status in (401, 403):
        read = page.call("GET", "/v1/page", headers=more.get("headers", {}), params=more.get("params"))
        assert read.status_code == status


@pytest.mark.parametrize("name", ["../status", "..%2fstatus", "quickstart-reset-9", "%00", "quickstart-reset-3.json"])
def test_only_resets_of_the_run_can_be_named(make_run: MakeRun, served: Callable[[RunFolder], Page], name: str) -> None:
    run = make_run(last_step=1)
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    page = served(run)
    answer = page.call("POST", f"/v1/resets/{name}", json={"decision": "veto"})
    assert answer.status_code in (404, 422)
    after = {path: path.read_bytes() for path in before}
    assert after == before


HOSTS = ("127.0.0.1:8000", "localhost:1", "[::1]:65535", "localhost")
NOT_HOSTS = (
    "",
    "127.0.0.1:8000:1",
    "127.0.0.1 ",
    "a@127.0.0.1",
    "localhost.example:8000",
    "0x7f.1",
    "LOCALHOST.evil",
    "[::]",
)


@pytest.mark.parametrize("host", HOSTS)
def test_this_machines_names_are_served(host: str) -> None:
    assert refusal([host], [], []) == ""
    assert refusal([host], [f"http://{host}"], ["same-origin"]) == ""
    assert refusal([host], [f"https://{host}"], []) != ""
    assert refusal([host, host], [], []) != ""


@pytest.mark.parametrize("host", NOT_HOSTS)
def test_other_names_are_not(host: str) -> None:
    assert "another host" in refusal([host], [], [])


def a_look(next_look_seconds: float) -> Look:
    content = Content(title="", parts={}, figures=())
    return Look(revision="", content=content, is_driven=True, next_look_seconds=next_look_seconds)


def test_a_page_that_is_open_gets_the_last_state() -> None:
    looks = Looks()
    looks.note(a_look(3600))
    waiting = threading.Thread(target=looks.wait_for_a_last_one, args=(3600,))
    waiting.start()
    while waiting.is_alive():  # were it not for the looks, for an hour
        looks.note(a_look(3600))
    began = time.monotonic()
    looks.wait_for_a_last_one(0.2)
    assert time.monotonic() - began >= 0.2


def test_nobody_waits_where_nobody_looks() -> None:
    Looks().wait_for_a_last_one(3600)


def test_a_session_goes_on_with_its_address_and_token(make_run: MakeRun) -> None:
    run = make_run(last_step=1)
    with beside_the_run(run, 0) as first:
        pass
    assert stat.S_IMODE(run.live_page.stat().st_mode) == 0o600
    with beside_the_run(run, 0) as second:
        assert second == first
        with beside_the_run(run, 0) as beside:
            assert beside is not None
            assert beside != second
            assert beside.partition("#")[2] == str(second).partition("#")[2]


def test_a_token_that_others_could_read_is_not_used_again(make_run: MakeRun) -> None:
    run = make_run(last_step=1)
    with beside_the_run(run, 0) as first:
        pass
    run.live_page.chmod(0o644)
    listening, session = continued_session(run, 0, option="--live-port")
    listening.close()
    assert session.url.partition("#")[2] != str(first).partition("#")[2]
    assert stat.S_IMODE(run.live_page.stat().st_mode) == 0o600


@pytest.mark.parametrize("broken", ["", "{", '{"port": 0, "token": "x"}', '{"port": 80}'])
def test_a_broken_session_is_replaced(make_run: MakeRun, broken: str) -> None:
    run = make_run(last_step=1)
    run.live_page.touch(mode=0o600)
    run.live_page.write_text(broken)
    with beside_the_run(run, 0) as url:
        assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+/#token=[A-Za-z0-9_-]{43}", str(url))


def test_a_port_in_use_is_a_clear_error(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(last_step=1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=rf"port {port} of 127.0.0.1 is in use.*--live-port"):
            listen(port, "--live-port")
        result = CliRunner().invoke(app, ["watch", str(run.path), "--port", str(port)])
    assert result.exit_code == 1
    assert "choose another with --port, or leave --port out for a free one" in result.output


def test_a_run_is_watched_by_a_process_of_its_own_until_ctrl_c(make_run: MakeRun) -> None:
    run = make_run(last_step=1)
    before = sorted(path.name for path in run.path.iterdir())
    command = [sys.executable, "-m", "prorl_cli", "watch", str(run.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        try:
            assert watching.stdout is not None
            line = watching.stdout.readline()
            told = re.fullmatch(r"live page: (http://127\.0\.0\.1:[0-9]+/#token=\S{43})\n", line)
            assert told is not None
            page = Page(told[1])
            with page.client:
                assert "step <b>1</b>" in page.html
            watching.send_signal(signal.SIGINT)
            assert watching.wait(300) == 0
        finally:
            watching.kill()
    assert sorted(path.name for path in run.path.iterdir()) == before, "nothing is left in the folder"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda run: run.identity.unlink(), "is no run folder"),
        (lambda run: run.identity.write_text("{"), "half written, or of another version"),
    ],
    ids=["no run", "half-written"],
)
def test_what_is_no_run_is_not_watched(make_run: MakeRun, spoil: Callable[[RunFolder], None], told: str) -> None:
    run = make_run(last_step=1)
    spoil(run)
    result = CliRunner().invoke(app, ["watch", str(run.path)])
    assert result.exit_code == 1
    assert told in result.output


def test_looking_at_a_run_does_not_keep_it_from_being_started(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(last_step=1)
    run.lock.touch()
    looker = os.open(run.lock, os.O_RDONLY)
    fcntl.flock(looker, fcntl.LOCK_SH)
    taken = fcntl.flock

    def look_away(descriptor: int, operation: int) -> None:
        """Taking fails, as another looks; then that one is done."""
        try:
            taken(descriptor, operation)
        except BlockingIOError:
            taken(looker, fcntl.LOCK_UN)
            raise

    monkeypatch.setattr(fcntl, "flock", look_away)
    with folder.locked(run):
        assert run.lock.read_text().strip() == str(os.getpid())
    os.close(looker)


def test_whether_it_is_driven_is_seen_at_once(make_run: MakeRun, served: Callable[[RunFolder], Page]) -> None:
    from prorl_api.status import ConditionStatus
    from prorl_cli.local.folder import read_status

    run = make_run(last_step=3)
    status = read_status(run)
    assert status is not None
    going_on = status.conditions[0].model_copy(update={"status": ConditionStatus.UNKNOWN, "reason": "Running"})
    run.status.write_text(status.model_copy(update={"conditions": (going_on,)}).model_dump_json())
    with folder.locked(run):
        page = served(run)
        seen = page.look()
        assert seen["is_driven"] is True
        assert ">running<" in seen["content"]["parts"]["header"]
    seen = page.look(seen["revision"])
    assert seen["is_driven"] is False
    assert ">interrupted<" in seen["content"]["parts"]["header"]
    run.lock.unlink()
    assert page.look(seen["revision"])["is_driven"] is None, "as of a run that a cluster drives"
