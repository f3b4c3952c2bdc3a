"""Run the reward sandbox: `python -m prorl_reward_sandbox`.

Environment: `PRORL_SANDBOX_SETTINGS` (JSON of `SandboxSettings`; optional), `PRORL_JOB_NAME` (label of the metrics;
optional), `PRORL_LISTEN_FD` or `PRORL_LISTEN_ADDRESS`, `PRORL_ACCEPTED_TOKEN_SHA256`, `PRORL_LIFELINE_FD`. SIGTERM
stops accepting, finishes what runs, within a few seconds, ends all helpers and leaves.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys

import uvicorn
from pydantic import ValidationError

from prorl_api import names
from prorl_api.errors import ExitCode
from prorl_api.process.connections import limited_config
from prorl_api.process.lifeline import hold_lifeline
from prorl_api.process.listen import address_of, listening_socket
from prorl_api.process.logs import configure_logging
from prorl_api.process.tokens import AcceptedTokens
from prorl_api.settings import SandboxSettings
from prorl_api.wording import reason_of
from prorl_reward_sandbox import hygiene
from prorl_reward_sandbox.execution.judging.companions import num_jails
from prorl_reward_sandbox.execution.levels.strongest import StrongestIsolation
from prorl_reward_sandbox.service.app import create_app

_DRAIN_SECONDS = 7
"""For what runs when SIGTERM comes; below what the bodies wait before they kill (10 s and 15 s)."""

_logger = logging.getLogger(__name__)


def main() -> int:
    """Serve until told to stop; returns the exit code."""
    configure_logging("sandbox")
    hold_lifeline()
    hygiene.make_undumpable()
    try:
        settings = SandboxSettings.model_validate_json(os.environ.get(names.ENV_SANDBOX_SETTINGS, "{}"))
    except ValidationError as error:
        _logger.error("%s does not hold valid settings: %s", names.ENV_SANDBOX_SETTINGS, reason_of(error))
        return ExitCode.BAD_SPEC
    listening = listening_socket()
    isolation = StrongestIsolation(
        num_jails(settings.workers), slots_alone=num_jails(1), minimum=settings.minimum_isolation
    )
    app = create_app(
        settings,
        isolation,
        AcceptedTokens.from_environment(),
        job_name=os.environ.get(names.ENV_JOB_NAME, ""),
    )
    server = uvicorn.Server(
        limited_config(app, log_config=None, timeout_graceful_shutdown=_DRAIN_SECONDS, lifespan="on")
    )
    _logger.info("listening", extra={"address": address_of(listening), "workers": settings.workers})
    # uvicorn raises the signal again once it has shut down, which would end us with a failure's exit code; and a
    # signal that comes before it listens for one must not be lost.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    gc.collect()
    gc.freeze()  # looking for cycles among all that was imported would stop every request for up to 0.1 s
    try:
        server.run(sockets=[listening])
    except SystemExit:  # how it says that the application did not start, which is logged already
        return ExitCode.BAD_SPEC if isolation.fault else ExitCode.FAILED
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
