"""The HTTP calls that the body makes: readiness of every server, and the learner's API."""

from __future__ import annotations

import logging
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from prorl_api.wire.base import ATTEMPT_HEADER
from prorl_api.wire.learner import (
    LearnerStatus,
    MetricsSeries,
    ResetCommand,
    ResetOutcome,
    ResetOutcomes,
    StopRequest,
)
from prorl_api.wording import reason_of

TIMEOUT_SECONDS = 5.0
"""A peer on the same machine that takes longer is busy; it is asked again in the next pass."""

_logger = logging.getLogger(__name__)
_Body = TypeVar("_Body", bound=BaseModel)


class Peers:
    """A client for all members. Every method answers None where the peer cannot answer now."""

    def __init__(self, learner_url: str, learner_token: str) -> None:
        self._learner_url = learner_url
        self._headers = {"Authorization": f"Bearer {learner_token}"}
        # trust_env off: a proxy is never between processes of one machine.
        self._client = httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False)

    def close(self) -> None:
        """Close connections."""
        self._client.close()

    def is_ready(self, url: str) -> bool:
        """Tell whether `GET /readyz` answers with success."""
        try:
            return self._client.get(f"{url}/readyz").is_success
        except httpx.HTTPError:
            return False

    def status(self, attempt: int) -> LearnerStatus | None:
        """Return the learner's status."""
        return self._get("/v1/status", attempt, LearnerStatus)

    def metrics(self, attempt: int, since_step: int) -> MetricsSeries | None:
        """Return the surviving steps after `since_step`."""
        return self._get(f"/v1/metrics?since_step={since_step}", attempt, MetricsSeries)

    def resets(self, attempt: int) -> ResetOutcomes | None:
        """Return what became of the resets."""
        return self._get("/v1/resets", attempt, ResetOutcomes)

    def post_reset(self, attempt: int, command: ResetCommand) -> ResetOutcome | None:
        """Hand a reset over; harmless to repeat."""
        text = self._call("POST", "/v1/resets", attempt, command)
        return None if text is None else _parsed(text, ResetOutcome)

    def stop(self, attempt: int, request: StopRequest) -> bool:
        """Ask the learner to stop; whether it took note."""
        return self._call("POST", "/v1/stop", attempt, request) is not None

    def _get(self, path: str, attempt: int, kind: type[_Body]) -> _Body | None:
        text = self._call("GET", path, attempt, None)
        return None if text is None else _parsed(text, kind)

    def _call(self, method: str, path: str, attempt: int, body: BaseModel | None) -> str | None:
        headers = self._headers | {ATTEMPT_HEADER: str(attempt)}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = body.model_dump_json()
        try:
            answer = self._client.request(method, self._learner_url + path, headers=headers, content=content)
        except httpx.HTTPError:
            return None
        if answer.is_success:
            return answer.text
        if answer.status_code not in (404, 429, 503):
            _logger.warning("%s %s at the learner: %s %s", method, path, answer.status_code, answer.text[:500])
        return None


def _parsed(text: str, kind: type[_Body]) -> _Body | None:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        _logger.warning("the learner's answer is no %s: %s", kind.__name__, reason_of(error))
        return None
