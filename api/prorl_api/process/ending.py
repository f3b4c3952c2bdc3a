"""How a long-running component ends when something is wrong: its exit code, and what it says last.

The code tells a supervisor whether another start can help; the words tell a person what to do. Both bodies read them:
the kubelet keeps them with the exit of the container, `prorl run` finds them at the end of the log.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator

from prorl_api.errors import CheckpointError, ExitCode, ProRLError, SpecError
from prorl_api.process.termination_message import tell

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_logger = logging.getLogger(__name__)

INSTALL = {
    "prorl_cli": "pip install 'prorl[cli]'",
    "prorl_trainer": "pip install 'prorl[learner]'",
    "prorl_rollout_server": "pip install 'prorl[rollout-gpu]', or 'prorl[rollout-cpu]' as docs/install.md says",
    "prorl_reward_sandbox": "pip install 'prorl[sandbox]'",
    "prorl_verifiers": "pip install 'prorl[verifiers]'",
    "prorl_operator": "pip install 'prorl[operator]'",
}
"""What installs the libraries of each import package."""


def generic_code(error: BaseException) -> ExitCode:
    """Return the exit code of an error that means the same in every component."""
    found = tuple(_leaves(error))
    if any(isinstance(one, SpecError | ModuleNotFoundError) for one in found):
        return ExitCode.BAD_SPEC
    if any(isinstance(one, CheckpointError) or is_no_room(one) for one in found):
        return ExitCode.STORAGE
    return ExitCode.FAILED


def is_no_room(error: BaseException) -> bool:
    """Tell whether a file system has refused a write for good: full, over quota or read-only."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM


def in_words(error: BaseException, package: str) -> str:
    """Say what ended a component of the import package `package`, with a remedy where one is known."""
    parts = [_one(leaf, package) for leaf in _leaves(error)]
    return "; ".join(dict.fromkeys(parts))


def say_end(error: BaseException, package: str, logger: logging.Logger = _logger) -> None:
    """Log what ended a component, and tell the platform; what nobody foresaw is logged with its traceback before.

    Call it last: the end of the log is what people are shown.
    """
    words = in_words(error, package)
    if all(isinstance(leaf, ProRLError | ModuleNotFoundError) or is_no_room(leaf) for leaf in _leaves(error)):
        logger.error("%s", words)
        tell(words)
    else:  # the platform keeps the end of the log then, with the traceback
        logger.error("an unforeseen error ends the process: %s", words, exc_info=error)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _one(error: BaseException, package: str) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"{missing_package(error)}: {INSTALL.get(package, INSTALL['prorl_cli'])}"
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    if isinstance(error, OSError) and is_no_room(error):
        where = f" {error.filename}" if error.filename else ""
        return f"cannot write{where}: {error.strerror}; make room, or make it writable"
    return text


def missing_package(error: ModuleNotFoundError) -> str:
    """Name what is not installed."""
    name = (error.name or str(error)).partition(".")[0]
    return f"the package {name} is not installed in this environment"
