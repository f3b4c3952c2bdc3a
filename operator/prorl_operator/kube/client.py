"""Reads and writes of single objects of the Kubernetes API. `api_stream` watches children, kopf jobs and resets.

Server-side apply with a field manager of our own, so that what users and other controllers set stays theirs. Every
call is counted and timed by verb and resource.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import aiohttp
import msgspec
import tenacity

from prorl_api import API_VERSION
from prorl_operator.kube.connection import JSON, Connection, reason_of
from prorl_operator.kube.wakeup_batcher import WakeupBatcher
from prorl_operator.telemetry import Telemetry

FIELD_MANAGER = "prorl-operator"
CONFLICT, NOT_FOUND, GONE, TOO_MANY, FORBIDDEN = 409, 404, 410, 429, 403
_PLURALS: Mapping[tuple[str, str], str] = {
    ("v1", "ConfigMap"): "configmaps",
    ("v1", "Event"): "events",
    ("v1", "PersistentVolumeClaim"): "persistentvolumeclaims",
    ("v1", "Secret"): "secrets",
    ("v1", "Service"): "services",
    ("apps/v1", "Deployment"): "deployments",
    ("batch/v1", "Job"): "jobs",
    ("events.k8s.io/v1", "Event"): "events",
    ("networking.k8s.io/v1", "NetworkPolicy"): "networkpolicies",
    ("policy/v1", "PodDisruptionBudget"): "poddisruptionbudgets",
    ("scheduling.x-k8s.io/v1alpha1", "PodGroup"): "podgroups",
    (API_VERSION, "ProRLJob"): "prorljobs",
    (API_VERSION, "ProRLReset"): "prorlresets",
}
"""Every kind that is called by name; all of them live in namespaces."""
_NO_SUCH_PATH = "404 page not found"
_TIMEOUT = aiohttp.ClientTimeout(total=15.0)
"""Longer than an API server under load needs, short enough for a pass to be tried again."""
_REFUSALS = frozenset({400, 403, 404, 422})
_MANAGED: Mapping[str, str] = {"fieldManager": FIELD_MANAGER}
_APPLIED: Mapping[str, str] = {**_MANAGED, "force": "true"}
_APPLY, _MERGE = "application/apply-patch+yaml", "application/merge-patch+json"
"""Of the body; JSON is YAML."""


class ApiError(Exception):
    """The API refused or did not answer."""

    def __init__(self, status: int, verb: str, what: str, message: str) -> None:
        self.status = status
        """HTTP status; 0: no answer."""
        hint = ""
        if status == FORBIDDEN:
            # Applying is patching, and creating where there is nothing: the API says which it was.
            asked = re.search(r"cannot (\w+) resource", message)
            lacks = asked[1] if asked else verb
            hint = f"; the operator's role lacks verb `{lacks}` on {what.split(' ', maxsplit=1)[0]}"
        self.is_refusal = status in _REFUSALS
        """The same call will be refused again, until somebody changes something."""
        super().__init__(f"{verb} {what}: {status or 'no answer'}: {message}{hint}")


class _Answer(NamedTuple):
    """An answer of the API server."""

    status: int
    data: bytes
    seconds_to_wait: float
    """Before it may be asked again, if it was asked too often."""


@dataclass(frozen=True, slots=True)
class _Where:
    """What a call is about."""

    api_version: str
    kind: str
    namespace: str
    name: str = ""
    """Empty: the collection."""
    part: str = ""
    """Of the object, such as `/status`."""
    is_new: bool = False
    """The object is created in the collection."""

    @property
    def path(self) -> str:
        """From the root of the server."""
        root = "apis" if "/" in self.api_version else "api"
        collection = f"/{root}/{self.api_version}/namespaces/{self.namespace}/{self._plural}"
        return f"{collection}/{self.name}{self.part}" if self.name and not self.is_new else collection

    @property
    def resource(self) -> str:
        """As roles name it."""
        return f"{self._plural}{self.part}"

    @property
    def words(self) -> str:
        """As errors name it."""
        return f"{self.resource} {self.namespace}/{self.name}"

    def explained(self, status: int, message: str) -> str:
        """Explain what the server says of its refusal, in words that help."""
        if status == NOT_FOUND and message.startswith(_NO_SUCH_PATH):
            return f"the server has no kind {self.kind} of {self.api_version}: install its CustomResourceDefinition"
        return message

    @property
    def _plural(self) -> str:
        return _PLURALS[self.api_version, self.kind]


class Api:
    """Reads and writes of objects, as plain dicts."""

    def __init__(self, connection: Connection, telemetry: Telemetry) -> None:
        self._connection = connection
        self._telemetry = telemetry
        self.turns = WakeupBatcher()

    async def apply(self, body: dict[str, Any]) -> None:
        """Create the object or bring our fields of it to what `body` says."""
        meta = body["metadata"]
        where = _Where(body["apiVersion"], body["kind"], meta["namespace"], meta["name"])
        await self._call("apply", where, "PATCH", body, query=_APPLIED, media=_APPLY)

    async def create(self, body: dict[str, Any]) -> dict[str, Any]:
        """Create the object.

        Raises:
            ApiError: With status 409 if one of that name exists.
        """
        meta = body["metadata"]
        where = _Where(body["apiVersion"], body["kind"], meta["namespace"], meta["name"], is_new=True)
        created: dict[str, Any] = msgspec.json.decode(await self._call("create", where, "POST", body, query=_MANAGED))
        return created

    async def get(self, api_version: str, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """Return the object as it is now; None if there is none."""
        try:
            answer = await self._call("get", _Where(api_version, kind, namespace, name), "GET")
        except ApiError as error:
            if error.status == NOT_FOUND:
                return None
            raise
        found: dict[str, Any] = msgspec.json.decode(answer)
        return found

    async def list(
        self, api_version: str, kind: str, namespace: str, *, label_selector: str = "", field_selector: str = ""
    ) -> list[dict[str, Any]]:
        """Objects of a namespace; selectors narrow it down."""
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        query = {key: value for key, value in selectors.items() if value}
        answer = await self._call("list", _Where(api_version, kind, namespace), "GET", query=query)
        return list(msgspec.json.decode(answer)["items"])

    async def patch(self, api_version: str, kind: str, namespace: str, name: str, change: dict[str, Any]) -> None:
        """Merge `change` into the object. One that is gone is no error: the next pass sees it."""
        where = _Where(api_version, kind, namespace, name)
        await self._unless_gone("patch", where, "PATCH", change, query=_MANAGED, media=_MERGE)

    async def write_status(self, kind: str, namespace: str, name: str, status: dict[str, Any]) -> None:
        """Replace our fields of the object's status. One that is gone is no error."""
        body = {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {"name": name, "namespace": namespace},
            "status": status,
        }
        where = _Where(API_VERSION, kind, namespace, name, part="/status")
        await self._unless_gone("apply", where, "PATCH", body, query=_APPLIED, media=_APPLY)

    async def delete(self, api_version: str, kind: str, namespace: str, name: str, *, uid: str | None = None) -> None:
        """Delete the object, and what it owns in the background. One that is gone is no error.

        Args:
            api_version: Of the kind.
            kind: Of the object.
            namespace: Of the object.
            name: Of the object.
            uid: Delete only this very object, not a newer one of the same name.
        """
        body: dict[str, Any] = {"propagationPolicy": "Background"}
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        await self._unless_gone("delete", _Where(api_version, kind, namespace, name), "DELETE", body)

    async def _unless_gone(self, verb: str, where: _Where, method: str, body: dict[str, Any], **more: Any) -> None:
        try:
            await self._call(verb, where, method, body, **more)
        except ApiError as error:
            if error.status not in (NOT_FOUND, GONE):
                raise

    async def _call(
        self,
        verb: str,
        where: _Where,
        method: str,
        body: dict[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        media: str = JSON,
    ) -> bytes:
        """Make the call; 429 is obeyed here, everything else is the next pass's business. The answer's body."""
        content = None if body is None else _ascii(body)
        begun = time.perf_counter()
        status = 0
        try:
            answer = await self._send(method, where.path, query, content, media)
            if answer.status == TOO_MANY:
                await asyncio.sleep(answer.seconds_to_wait)
                # A copy, since it keeps the state of one call.
                answer = await _PATIENCE.copy()(self._send, method, where.path, query, content, media)
            status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, verb, where.words, str(error) or type(error).__name__) from error
        finally:
            self._telemetry.api_call(verb, where.resource, status, time.perf_counter() - begun)
        if not 200 <= status <= 299:
            raise ApiError(status, verb, where.words, where.explained(status, reason_of(answer.data)))
        return answer.data

    async def _send(
        self, method: str, path: str, query: Mapping[str, str] | None, content: bytes | None, media: str
    ) -> _Answer:
        """Send one request; return whatever is answered."""
        asked = self._connection.request(method, path, query=query, content=content, media=media, timeout=_TIMEOUT)
        with self.turns.under_way():
            async with asked as answer:
                data = await answer.read()
        after = answer.headers.get("Retry-After", "") if answer.status == TOO_MANY else ""
        return _Answer(answer.status, data, min(float(after), 30.0) if after.isdecimal() else 1.0)


def _ascii(body: dict[str, Any]) -> bytes:
    """JSON in ASCII: the server reads what is applied as YAML, which refuses or alters some of JSON's characters."""
    content = msgspec.json.encode(body)
    if content.isascii() and b"\x7f" not in content:
        return content
    return json.dumps(body, separators=(",", ":")).encode()


def _asked_wait(state: tenacity.RetryCallState) -> float:
    answer = state.outcome.result() if state.outcome is not None else None
    return answer.seconds_to_wait if isinstance(answer, _Answer) else 0.0


def _give_up(state: tenacity.RetryCallState) -> _Answer:
    assert state.outcome is not None
    refused: _Answer = state.outcome.result()
    return refused


_PATIENCE = tenacity.AsyncRetrying(
    retry=tenacity.retry_if_result(lambda answer: answer.status == TOO_MANY),
    wait=_asked_wait,
    stop=tenacity.stop_after_attempt(3),
    retry_error_callback=_give_up,
)
