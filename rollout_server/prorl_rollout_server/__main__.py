"""`python -m prorl_rollout_server`: from environment to exit code.

What needs libraries is imported inside, so that one that is missing ends like every other fault: with a code that tells
whether another start can help, and words that tell what to do.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import NoReturn

from prorl_api.errors import ExitCode
from prorl_api.process.ending import generic_code, say_end
from prorl_api.process.lifeline import hold_lifeline
from prorl_api.process.listen import listening_socket
from prorl_api.process.logs import configure_logging
from prorl_api.process.tokens import hold_tokens

_logger = logging.getLogger("prorl_rollout_server")


def main() -> int:
    """Run the process and give its exit code."""
    configure_logging("rollout")
    hold_lifeline()
    hold_tokens()
    try:
        from prorl_rollout_server.process import serve
        from prorl_rollout_server.settings import ServerSettings

        asyncio.run(serve(ServerSettings.from_environment(), listening_socket()))
    except Exception as error:  # noqa: BLE001 - the process's edge: it becomes an exit code and the last words
        say_end(error, "prorl_rollout_server", _logger)
        return generic_code(error)
    return ExitCode.OK


def _leave(code: int) -> NoReturn:
    """End now, with everything that was started; without the libraries nothing was."""
    try:
        from prorl_rollout_server.children import leave
    except ModuleNotFoundError:
        logging.shutdown()
        os._exit(code)
    leave(code)


if __name__ == "__main__":
    _leave(main())
