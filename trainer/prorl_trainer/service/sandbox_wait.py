"""Before the first completion is judged: every sandbox answers, and says what contains programs there.

A sandbox whose network policy is asked for and not enforced is waited for, as one that has not started is: whoever
mends it need not start the run again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import httpx
from pydantic import ValidationError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_fixed

from prorl_api.errors import TransientError
from prorl_api.process.tokens import bearer_headers
from prorl_api.wire.base import ATTEMPT_HEADER
from prorl_api.wire.isolation import IsolationReport
from prorl_api.wording import reason_of

_ASK_AGAIN_SECONDS = 2.0
_ANSWER_SECONDS = 15.0
"""A sandbox may try a forbidden connection first, which takes seconds to fail."""
LEVELS = ("process", "landlock", "namespaces")
"""From the weakest on."""


class Judges:
    """All sandboxes, asked what they are. Used on the event loop only."""

    def __init__(self, urls: Sequence[str], attempt: int) -> None:
        """For sandboxes at base URLs."""
        self._urls = urls
        self._headers = {ATTEMPT_HEADER: str(attempt), **bearer_headers("sandbox")}

    async def wait_until_fit(self, tell: Callable[[str], object]) -> IsolationReport:
        """Wait until every sandbox may be used; the report of the one that contains least.

        Args:
            tell: Called with the reason each time one may not.
        """

        async with httpx.AsyncClient(headers=self._headers, trust_env=False, timeout=_ANSWER_SECONDS) as http:
            reports = await asyncio.gather(*(_ask_until_fit(http, url, tell) for url in self._urls))
        return min(reports, key=lambda report: LEVELS.index(report.level))


async def _ask_until_fit(http: httpx.AsyncClient, url: str, tell: Callable[[str], object]) -> IsolationReport:
    def tell_why(state: RetryCallState) -> None:
        if state.outcome is not None:
            tell(str(state.outcome.exception()))

    retrying = AsyncRetrying(
        retry=retry_if_exception_type(TransientError), wait=wait_fixed(_ASK_AGAIN_SECONDS), before_sleep=tell_why
    )
    async for attempt in retrying:
        with attempt:
            return await _ask(http, url)
    raise AssertionError("it asks until it is told")


async def _ask(http: httpx.AsyncClient, url: str) -> IsolationReport:
    try:
        answer = await http.get(f"{url}/v1/isolation")
    except httpx.HTTPError as error:
        raise TransientError(f"the sandbox at {url} does not answer yet: {type(error).__name__}") from error
    if answer.status_code != httpx.codes.OK:
        raise TransientError(f"the sandbox at {url} answers {answer.status_code}: {answer.text[:300]}")
    try:
        report = IsolationReport.model_validate_json(answer.content)
    except ValidationError as error:
        raise TransientError(f"the sandbox at {url} says nothing that can be read: {reason_of(error)}") from error
    if not report.is_fit:
        raise TransientError(report.policy_detail)
    return report
