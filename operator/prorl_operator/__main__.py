"""`python -m prorl_operator`: one operator process. Its settings are environment variables: see `settings`."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import sys

import uvloop
from kubernetes import client, config
from kubernetes.config.config_exception import ConfigException

from prorl_api.errors import ExitCode, SpecError
from prorl_api.process.logs import configure_logging
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
    _collect_less_often()
    _give_back_memory()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(service.run())
    return ExitCode.OK


def _collect_less_often() -> None:
    """Have the collector leave the libraries alone, which are most objects here, and look at others in larger lots.

    Decoding the watches makes many containers that do not outlive an event; looking for cycles among all that was
    imported, again and again, took a quarter of the time of an event.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _give_back_memory() -> None:
    """What imports needed for a moment, 3 MiB: glibc would keep it. Other C libraries have no such call."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


if __name__ == "__main__":
    sys.exit(main())
