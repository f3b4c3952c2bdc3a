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

from prorl_cli.errors import RunFolderError
from prorl_cli.prometheus_series import read_series

START = 1_800_000_000.0
LABELS = {"namespace": "team-a", "prorl_job": "demo", "prorl_role": "learner", "pod": "p"}


class Stored(BaseHTTPRequestHandler):
    """Holds a step a minute, seven hours long; `answers` says otherwise."""

    asked: list[dict[str, list[str]]] = []
    status = 200

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.asked.append(form)
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
        body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """A server of the test's own."""
    handler = type("Handler", (Stored,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


def test_a_long_series_is_read_in_pieces_and_is_whole(server: ThreadingHTTPServer) -> None:
    url = f"http://127.0.0.1:{server.server_port}/"
    found = read_series(url, "team-a/demo", str(START), str(START + 7 * 3600), make_job().spec)
    assert [line["step"] for line in found.lines] == list(range(1, 421))
    assert found.lines[99]["kl"] == pytest.approx(0.1)
    asked = server.RequestHandlerClass.asked  # type: ignore[attr-defined]
    assert len(asked) == 7


def test_a_refusal_and_silence_are_errors_in_words(server: ThreadingHTTPServer) -> None:
    server.RequestHandlerClass.status = 401  # type: ignore[attr-defined]
    url = f"http://127.0.0.1:{server.server_port}"
    with pytest.raises(RunFolderError, match="401"):
        read_series(url, "team-a/demo", str(START), str(START + 60), make_job().spec)
    with pytest.raises(RunFolderError, match="Cannot connect"):
        read_series("http://127.0.0.1:9", "team-a/demo", str(START), str(START + 60), make_job().spec)
