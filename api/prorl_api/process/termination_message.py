"""What a process says last: how far it came, or why it failed. The platform keeps it with the exit of its container.

A body that polls may find the learner gone since it last asked, and clean ends look alike: only the step tells one
that is done from one that stopped early. In a pod the kubelet makes the file beforehand; elsewhere there is none, and
nothing is written: a body on the same machine reads the run folder.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

from prorl_api.names import ENV_TERMINATION_LOG

_FILE = "/dev/termination-log"
_MAX_BYTES = 4000
"""The kubelet reads 4096."""
_WORDS = re.compile(r"completed step (\d{1,9}) of \d+")
_logger = logging.getLogger(__name__)


def tell_completed(step: int, total_steps: int) -> None:
    """Write how many steps are completed and in a checkpoint, where the platform keeps it. Best effort."""
    tell(f"completed step {step} of {total_steps}")


def tell(words: str) -> None:
    """Write what a process says last, where the platform keeps it; the end of it, if it is long. Best effort."""
    path = Path(os.environ.get(ENV_TERMINATION_LOG, _FILE))
    kept = words.encode()[-_MAX_BYTES:].decode(errors="ignore")
    try:
        if path.exists():
            path.write_text(f"{kept}\n", encoding="utf-8")
    except OSError as error:
        _logger.warning("cannot write %s: %s", path, error.strerror)


def completed_step(termination_message: str) -> int | None:
    """Return the step that a learner told; None if these are other words."""
    match = _WORDS.search(termination_message)
    return int(match[1]) if match else None
