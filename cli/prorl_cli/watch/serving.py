"""Serving the live page: beside a run in a thread of its process, or alone until somebody ends it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prorl_api.process.connections import ConnectionLimits, limited_config
from prorl_api.run_folder import RunFolder
from prorl_cli.watch.session import Session, continued_session, new_session
from prorl_cli.watch.source import Look

if TYPE_CHECKING:
    import uvicorn

_LIMITS = ConnectionLimits(max_connections=64, max_waiting=32)
_LATE_SECONDS = 3.0
"""A look that is so late is not coming."""
LAST_LOOK_SECONDS = 15.0
"""A page that is open when the run ends gets at most so long to take its last state."""


class Looks:
    """When the page was last handed out."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._newest = self._next = float("-inf")

    def note(self, look: Look) -> None:
        """Take note of a look."""
        with self._condition:
            self._newest = time.monotonic()
            self._next = self._newest + look.next_look_seconds
            self._condition.notify_all()

    def wait_for_a_last_one(self, seconds: float) -> None:
        """Wait until a reader who is there has looked once more, at most so long."""
        with self._condition:
            began = time.monotonic()
            until = min(seconds, self._next + _LATE_SECONDS - began)
            self._condition.wait_for(lambda: self._newest > began, max(0.0, until))


@contextlib.contextmanager
def beside_the_run(
    run: RunFolder, port: int | None, *, last_look_seconds: float = LAST_LOOK_SECONDS
) -> Iterator[str | None]:
    """Serve the page while the block runs; its URL. Nothing is served with `port` None.

    Args:
        run: Whose page it is.
        port: 0: the one that it had before, or any free one.
        last_look_seconds: How long a page that is open gets to take the run's last state.

    Raises:
        ListenError: The port cannot be had.
    """
    if port is None:
        yield None
        return
    listening, session = continued_session(run, port, option="--live-port")
    with listening:
        looks = Looks()
        server = _server(run, session, looks)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="live-page", daemon=True)
        thread.start()
        try:
            yield session.url
            looks.wait_for_a_last_one(last_look_seconds)
        finally:
            server.should_exit = True
            thread.join(timeout=5)


def begin_watching(run: RunFolder, port: int) -> tuple[socket.socket, Session]:
    """Return the socket and session of `prorl watch`."""
    return new_session(port, option="--port")


def serve_until_ended(run: RunFolder, listening: socket.socket, session: Session) -> None:
    """Serve the page in this process until Ctrl-C or SIGTERM."""
    with listening, contextlib.suppress(KeyboardInterrupt):
        _server(run, session, Looks()).run(sockets=[listening])


def _server(run: RunFolder, session: Session, looks: Looks) -> uvicorn.Server:
    import uvicorn

    from prorl_cli.watch.app import create_app

    app = create_app(run, session.token, looked=looks.note)
    return uvicorn.Server(limited_config(app, _LIMITS, log_config=None, timeout_graceful_shutdown=1))
