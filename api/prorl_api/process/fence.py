"""Fencing by attempt: who comes from an attempt that is over may not act any more.

A caller's word never moves a fence. What a process knows of attempts it knows from who started it, or from the learner
that whoever started it named; a caller that claims a high attempt would otherwise lock everybody else out.
"""

from __future__ import annotations

import re

from prorl_api.process.api_error import ApiError
from prorl_api.wire.base import ATTEMPT_HEADER, ErrorKind

_WHOLE_NUMBER = re.compile(r"[0-9]{1,18}")


class AttemptFence:
    """The highest attempt known. Calls of lower attempts are refused, so a lost learner cannot act any more."""

    def __init__(self, attempt: int = 0) -> None:
        self.attempt = attempt

    def advance(self, attempt: int) -> None:
        """Return a source that this process was told to believe knows of an attempt. The fence moves forward only."""
        self.attempt = max(self.attempt, attempt)

    def check(self, header: str | None) -> None:
        """Judge a caller by the attempt it names; a call without one passes.

        Raises:
            ApiError: `bad_request` if the header is not a number, `stale_attempt` if the caller's attempt is over.
        """
        if header is not None:
            self._judge(_number(header))

    def _judge(self, attempt: int) -> None:
        if attempt < self.attempt:
            raise ApiError(
                ErrorKind.STALE_ATTEMPT,
                f"attempt {attempt} is over: attempt {self.attempt} of this run is known here; stop this process",
            )


class OwnAttempt(AttemptFence):
    """Of a process that is part of one attempt: it serves callers of that attempt alone."""

    def advance(self, attempt: int) -> None:
        """Return a process belongs to its attempt for as long as it lives."""
        raise AssertionError(f"attempt {attempt} for a process of attempt {self.attempt}")

    def _judge(self, attempt: int) -> None:
        super()._judge(attempt)
        if attempt > self.attempt:
            raise ApiError(
                ErrorKind.STALE_ATTEMPT,
                f"this process belongs to attempt {self.attempt} and does nothing for attempt {attempt}; "
                f"ask that attempt's own",
            )


def _number(header: str) -> int:
    if not _WHOLE_NUMBER.fullmatch(header):
        raise ApiError(ErrorKind.BAD_REQUEST, f"{ATTEMPT_HEADER} must be a whole number, got {header[:40]!r}")
    return int(header)
