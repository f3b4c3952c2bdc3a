"""A learner that makes no progress, or was overtaken, ends itself, whatever it is doing.

Without progress the stacks go to the log, and the learner can be started again.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
import time
from collections.abc import Callable

from prorl_api.errors import ExitCode, StaleAttemptError
from prorl_trainer.service.shared_status import SharedStatus
from prorl_trainer.storage.fence import Fence

_logger = logging.getLogger(__name__)
_MAX_CHECK_SECONDS = 5.0


def watch_progress(shared_status: SharedStatus, fence: Fence, timeout_seconds: Callable[[], float]) -> None:
    """Start the watchdog thread; the limit may change while it runs."""
    threading.Thread(target=_watch, args=(shared_status, fence, timeout_seconds), name="watchdog", daemon=True).start()


def _watch(shared_status: SharedStatus, fence: Fence, timeout_seconds: Callable[[], float]) -> None:
    while True:
        time.sleep(min(_MAX_CHECK_SECONDS, timeout_seconds() / 4))
        try:
            fence.check()
        except StaleAttemptError as error:
            _logger.error("%s", error)
            os._exit(ExitCode.STALE_ATTEMPT)
        status = shared_status.status
        silent = time.time() - status.heartbeat
        if silent > timeout_seconds():
            _logger.error(
                "no progress for %.0f s in phase %s (limit spec.learner.progressTimeoutSeconds); stacks follow",
                silent,
                status.phase,
            )
            faulthandler.dump_traceback(file=sys.stderr)
            os._exit(ExitCode.FAILED)
