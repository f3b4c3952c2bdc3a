"""The learner's API as this server uses it: model files and membership."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from pathlib import Path
from typing import Any, TypeVar

import httpx
import tenacity

from prorl_api.errors import TransientError
from prorl_api.process.tokens import bearer_headers
from prorl_api.wire.base import WireModel
from prorl_api.wire.learner import MemberAnswer, MemberHeartbeat, ModelFiles
from prorl_api.wording import reason_of

MAX_WAIT_SECONDS = 5.0
"""Between tries; a learner that came back is found within this time."""

_logger = logging.getLogger(__name__)
Model = TypeVar("Model", bound=WireModel)


class LearnerClient:
    """Calls one learner. It owns nothing: the HTTP client is given."""

    def __init__(self, http: httpx.AsyncClient, base_url: str) -> None:
        self._http = http
        self._base_url = base_url

    async def heartbeat(self, incarnation: str, heartbeat: MemberHeartbeat) -> MemberAnswer:
        """Say that this server is there and hear what it should hold.

        Raises:
            TransientError: The learner cannot be reached or answered with an error.
        """
        path = f"/v1/members/{incarnation}"
        response = await self._call("PUT", path, json=heartbeat.model_dump(mode="json"))
        return _parsed(MemberAnswer, response, path)

    async def fetch_model_files(self, folder: Path) -> None:
        """Bring configuration and tokenizer into `folder`; tries until the learner has them, for ever."""
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(TransientError),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=MAX_WAIT_SECONDS),
            before_sleep=_log_first_try,
        )
        await retrying(self._fetch_model_files, folder)

    async def _fetch_model_files(self, folder: Path) -> None:
        listing = _parsed(ModelFiles, await self._call("GET", "/v1/model-files"), "/v1/model-files")
        for name, digest in listing.files.items():
            content = (await self._call("GET", f"/v1/model-files/{name}")).content
            got = hashlib.sha256(content).hexdigest()
            if got != digest:
                raise TransientError(f"model file {name} has digest {got}, the learner announced {digest}")
            await asyncio.to_thread(_write_inside, folder, name, content)

    async def _call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            response = await self._http.request(
                method, self._base_url + path, headers=bearer_headers("learner"), **arguments
            )
            response.raise_for_status()
        except httpx.HTTPStatusError as error:
            raise TransientError(f"{method} {path}: {response.status_code} {response.text[:300]}") from error
        except httpx.HTTPError as error:
            raise TransientError(f"{method} {self._base_url}{path}: {type(error).__name__} {error}") from error
        return response


def _parsed(model: type[Model], response: httpx.Response, path: str) -> Model:
    try:
        return model.model_validate_json(response.content)
    except ValueError as error:
        raise TransientError(f"{path} answered what is no {model.__name__}: {reason_of(error)}") from error


def _write_inside(folder: Path, name: str, content: bytes) -> None:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise TransientError(f"model file {name!r} would lie outside its folder; the learner must not list it")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _log_first_try(state: tenacity.RetryCallState) -> None:
    if state.attempt_number == 1 and state.outcome is not None:
        _logger.info("waiting for the learner's model files: %s", state.outcome.exception())
