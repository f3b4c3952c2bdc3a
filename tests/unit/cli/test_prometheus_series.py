"""Reading a job's stored series for a replay, over real HTTP."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "api"))
from api_builders import make_job

from prorl_api.errors import SpecError
from prorl_cli.errors import RunFolderError
from prorl_cli.prometheus_series import StoredAt, read_series

START = 1_800_000_000.0
LABELS = {"namespace": "team-a", "prorl_job": "demo", "prorl_role": "learner", "pod": "p"}


class Stored(BaseHTTPRequestHandler):
    """Holds a step a minute, seven hours long; `answers` says otherwise."""

    asked: list[dict[str, list[str]]] = []
    headers_asked: list[dict[str, str]] = []
    status = 200

    @staticmethod
    def lie(result: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What it answers instead."""
        return result

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.asked.append(form)
        self.headers_asked.append(dict(self.headers))
        found = re.search(r"\[([0-9]+)s\]", form["query"][0])
        assert found is not None
        end = float(form["time"][0])
        minutes = [n for n in range(1, 421) if end - int(found[1]) < START + 60 * n <= end]
        names: dict[str, Any] = {"step": lambda n: n, "attempt": lambda _: 1, "kl_nats": lambda n: 0.001 * n}
        result: list[dict[str, Any]] = [
            {
                "metric": dict(LABELS, __name__=f"prorl_learner_{name}"),
                "values": [[START + 60 * n, str(value(n))] for n in minutes],
            }
            for name, value in names.items()
        ]
        body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": self.lie(result)}}).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """A server of the test's own."""
    handler = type("Handler", (Stored,), {"asked": [], "headers_asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


def stored_at(server: ThreadingHTTPServer, **changes: Any) -> StoredAt:
    url = f"http://127.0.0.1:{server.server_port}/"
    values = {"url": url, "job": "team-a/demo", "start": str(START), "end": str(START + 3600), **changes}
    return StoredAt(**values)


def test_a_long_series_is_read_in_pieces_and_is_whole(server: ThreadingHTTPServer) -> None:
    found = read_series(stored_at(server, end=str(START + 7 * 3600)), make_job().spec)
    assert [line["step"] for line in found.lines] == list(range(1, 421))
    assert found.lines[99]["kl"] == pytest.approx(0.1)
    assert found.notes == []
    asked = server.RequestHandlerClass.asked  # type: ignore[attr-defined]
    assert len(asked) == 7


def test_a_refusal_and_silence_are_errors_in_words(server: ThreadingHTTPServer) -> None:
    server.RequestHandlerClass.status = 401  # type: ignore[attr-defined]
    with pytest.raises(RunFolderError, match="401"):
        read_series(stored_at(server), make_job().spec)
    with pytest.raises(RunFolderError, match="Cannot connect"):
        read_series(stored_at(server, url="http://127.0.0.1:9"), make_job().spec)


def test_credentials_are_those_that_the_operator_would_mount(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret-1\n")
    stored = stored_at(server, credentials=tmp_path, headers=["X-Scope-OrgID: research"])
    assert read_series(stored, make_job().spec).lines
    (headers,) = server.RequestHandlerClass.headers_asked  # type: ignore[attr-defined]
    assert (headers["Authorization"], headers["X-Scope-OrgID"]) == ("Bearer secret-1", "research")


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"headers": ["X-Scope-OrgID"]}, "--header"),
        ({"headers": [": research"]}, "--header"),
        ({"headers": ["X: a\r\nAuthorization: b"]}, "--header"),
        ({"credentials": Path("/nowhere")}, "--credentials"),
    ],
)
def test_what_gives_no_access_is_named(server: ThreadingHTTPServer, changes: dict[str, Any], option: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_series(stored_at(server, **changes), make_job().spec)
    assert caught.value.faults[0].path == option


Result = list[dict[str, Any]]


def _with_another(result: Result, **labels: str) -> Result:
    return [*result, *({**one, "metric": {**one["metric"], **labels}} for one in result)]


def _changed(result: Result, name: str, value: str, at: int = 10) -> Result:
    """The answer with one sample of a metric changed."""
    (one,) = (item for item in result if item["metric"]["__name__"] == f"prorl_learner_{name}")
    one["values"][at][1] = value
    return result


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        (lambda result: _with_another(result, pod="q"), "p and q both say to be attempt 1 of this job"),
        (lambda result: _with_another(result, pod="q", prorl_run="second"), "2 runs of that name were scraped: one"),
        (lambda result: _changed(result, "step", "3"), "attempt 1 fell back from step 10 to 3"),
    ],
)
def test_what_cannot_be_right_is_not_decided_on(server: ThreadingHTTPServer, lie: Any, words: str) -> None:
    server.RequestHandlerClass.lie = staticmethod(lie)  # type: ignore[attr-defined]
    with pytest.raises(RunFolderError, match=words):
        read_series(stored_at(server), make_job().spec)


@pytest.mark.parametrize(
    ("lie", "words", "lines"),
    [
        (lambda result: _changed(result, "kl_nats", "NaN"), "kl of step 11 is nan; it is left out", 60),
        (lambda result: _changed(result, "kl_nats", "+Inf"), "kl of step 11 is inf; it is left out", 60),
        (lambda result: _changed(result, "step", "11.5"), "a scrape without whole numbers", 59),
    ],
)
def test_what_is_left_out_is_told(server: ThreadingHTTPServer, lie: Any, words: str, lines: int) -> None:
    server.RequestHandlerClass.lie = staticmethod(lie)  # type: ignore[attr-defined]
    found = read_series(stored_at(server), make_job().spec)
    (note,) = found.notes
    assert note.startswith(words)
    assert len(found.lines) == lines
