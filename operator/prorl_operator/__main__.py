"""`python -m prorl_operator`: one operator process. Its settings are environment variables: see `settings`."""

from __future__ import annotations

import asyncio
import logging
import sys

import uvloop
from kubernetes import client, config
from kubernetes.config.config_exception import ConfigException

from prorl_api.errors import ExitCode, SpecError
from prorl_api.process.logs import configure_logging
from prorl_operator.housekeeping import collect_less_often, give_back_memory
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
        config.load_incluster_config()
    except ConfigException:
        try:
            config.load_kube_config()
        except ConfigException as error:
            _logger.error("no cluster: neither a service account nor a kubeconfig (%s); set KUBECONFIG", error)
            return ExitCode.BAD_SPEC
    service = OperatorService(settings, client.ApiClient())
    collect_less_often()
    give_back_memory()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(service.run())
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
