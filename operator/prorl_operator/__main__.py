"""`python -m prorl_operator`: one operator process. Its settings are environment variables: see `settings`."""

from __future__ import annotations

import asyncio
import logging
import sys

import uvloop

from prorl_api.errors import ExitCode, SpecError
from prorl_api.process.logs import configure_logging
from prorl_operator.kube.credentials import load_api_client
from prorl_operator.process_memory import collect_less_often, give_back_memory
from prorl_operator.service import OperatorService
from prorl_operator.settings import OperatorSettings

_logger = logging.getLogger("prorl_operator")


def main() -> int:
    """Run until told to stop; the exit code."""
    configure_logging("operator")
    try:
        settings = OperatorSettings.from_environment()
    except SpecError as error:
        _logger.error("%s", error)
        return ExitCode.BAD_SPEC
    logging.getLogger().setLevel(settings.log_level)
    try:
        api_client = load_api_client()
    except SpecError as error:
        _logger.error("%s", error)
        return ExitCode.BAD_SPEC
    service = OperatorService(settings, api_client)
    collect_less_often()
    give_back_memory()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(service.run())
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
