"""One session of the live page: the address that it has, and the token that opens it.

`prorl run --live` keeps both in the run folder, for its owner alone, so that a page that is open in a browser goes on
when the run is started again. Whoever can read that file can change the run's resets anyway: they lie beside it.
"""

from __future__ import annotations

import errno
import os
import secrets
import socket
from typing import Annotated

from pydantic import Field, ValidationError

from prorl_api.process.listen import bind
from prorl_api.run_folder import PRIVATE_FILE, RunFolder
from prorl_api.wire.base import WireModel
from prorl_cli.errors import ListenError

HOST = "127.0.0.1"


class Session(WireModel):
    """Content of `prorl_api.run_folder.RunFolder.live_page`."""

    port: Annotated[int, Field(ge=1, le=65535)]
    token: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{32,128}$")]

    @property
    def url(self) -> str:
        """Return the address with the token behind the #, which no browser sends anywhere."""
        return f"http://{HOST}:{self.port}/#token={self.token}"


def listen(port: int, option: str) -> socket.socket:
    """Return a listening socket on this machine's own address.

    Args:
        port: 0: any free one.
        option: The command's option that chose it, for the error.

    Raises:
        ListenError: The port cannot be had.
    """
    try:
        return bind(HOST, port)
    except OSError as error:
        why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({os.strerror(error.errno or 0)})"
        raise ListenError(
            f"port {port} of {HOST} {why}: the live page cannot be served there; choose another with {option}, or "
            f"leave {option} out for a free one"
        ) from error


def new_session(port: int = 0, *, option: str) -> tuple[socket.socket, Session]:
    """Return a listening socket and a session with a new token."""
    listening = listen(port, option)
    return listening, Session(port=listening.getsockname()[1], token=secrets.token_urlsafe(32))


def continued_session(run: RunFolder, port: int, *, option: str) -> tuple[socket.socket, Session]:
    """Return the run's earlier session if its port is free and no other one is asked for, else one with its token."""
    earlier = _read(run)
    listening = None
    if earlier is not None and port == 0:
        try:
            listening = listen(earlier.port, option)
        except ListenError:
            listening = None  # somebody has it meanwhile, perhaps `prorl watch`
    listening = listening or listen(port, option)
    token = earlier.token if earlier is not None else secrets.token_urlsafe(32)
    session = Session(port=listening.getsockname()[1], token=token)
    if session != earlier:
        _write(run, session)
    return listening, session


def _read(run: RunFolder) -> Session | None:
    """Return the session on record; None if there is none, or one that others could read."""
    try:
        if run.live_page.stat().st_mode & 0o077:
            return None
        return Session.model_validate_json(run.live_page.read_bytes())
    except (OSError, ValidationError):
        return None


def _write(run: RunFolder, session: Session) -> None:
    run.live_page.unlink(missing_ok=True)
    descriptor = os.open(run.live_page, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(session.model_dump_json())
