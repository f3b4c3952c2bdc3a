"""A model that is named by a hub's name is looked for there: in the cache, then on the hub, with a real server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from prorl_api.spec.job import ProRLJobSpec
from prorl_cli.looking import find_model
from tests.unit.trainer.trainer_builders import make_spec

KNOWN = "/api/models/owner/known"


class Hub(BaseHTTPRequestHandler):
    """Knows one model."""

    def do_GET(self) -> None:
        is_known = self.path.startswith(KNOWN)
        body = b'{"id": "owner/known"}' if is_known else b'{"error": "Repository not found"}'
        self.send_response(200 if is_known else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield server
    server.shutdown()
    server.server_close()


def named(model: str) -> ProRLJobSpec:
    return make_spec(model={"path": model})


@pytest.mark.usefixtures("hub")
def test_a_model_of_the_hub_is_no_fault_and_not_here_yet() -> None:
    assert find_model(named("owner/known")) == (None, [])


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("name", ["owner/unknown", "unknown"])
def test_a_name_that_no_hub_knows_is_a_fault(name: str) -> None:
    model, (fault,) = find_model(named(name))
    assert model is None
    assert (fault.path, name in fault.got) == ("spec.model.path", True)
    assert "hub name while the hub is reachable" in fault.want


def test_a_hub_that_is_not_reachable_is_a_fault(hub: ThreadingHTTPServer) -> None:
    hub.shutdown()
    hub.server_close()
    _, (fault,) = find_model(named("owner/known"))
    assert fault.path == "spec.model.path"


@pytest.mark.usefixtures("hub")
def test_a_snapshot_in_the_cache_is_the_folder(tmp_path: Path) -> None:
    repository = tmp_path / "cache" / "models--owner--cached"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    (repository / "snapshots" / ("0" * 40)).mkdir(parents=True)
    model, faults = find_model(named("owner/cached"))
    assert (model, faults) == (repository / "snapshots" / ("0" * 40), [])
