"""The one module that talks to the Kubernetes API (kopf's own watches aside).

Server-side apply with a field manager of our own, so that what users and other controllers set stays theirs. Every
call is counted and timed by verb and resource. All methods block; call them in threads.

The official client brings connections, login and discovery. Requests are built here: its own calls rebuild every body
and wrap every answer, which costs more than all else that the operator does for a job.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import tenacity
from kubernetes import client as kubernetes_client
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import DynamicApiError, ResourceNotFoundError
from urllib3 import Timeout
from urllib3.exceptions import HTTPError

from prorl_api import API_VERSION
from prorl_operator.telemetry import Telemetry

FIELD_MANAGER = "prorl-operator"
_TIMEOUT = Timeout(total=15.0)
"""Longer than an API server under load needs, short enough for a pass to be tried again."""
CONFLICT, NOT_FOUND, GONE, TOO_MANY, FORBIDDEN = 409, 404, 410, 429, 403
_REFUSALS = frozenset({400, 403, 404, 422})
_MANAGED: Mapping[str, str] = {"fieldManager": FIELD_MANAGER}
_APPLIED: Mapping[str, str] = {**_MANAGED, "force": "true"}
_JSON, _APPLY, _MERGE = "application/json", "application/apply-patch+yaml", "application/merge-patch+json"
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


class Api:
    """Reads and writes of objects, as plain dicts."""

    def __init__(self, api_client: kubernetes_client.ApiClient, telemetry: Telemetry) -> None:
        self._client = api_client
        self._dynamic = DynamicClient(api_client)
        self._resources: dict[tuple[str, str], Any] = {}
        self._telemetry = telemetry

    def apply(self, body: dict[str, Any]) -> None:
        """Create the object or bring our fields of it to what `body` says."""
        name, namespace = body["metadata"]["name"], body["metadata"]["namespace"]
        resource = self._resource(body["apiVersion"], body["kind"])
        path = resource.path(name=name, namespace=namespace)
        self._call("apply", f"{resource.name} {namespace}/{name}", "PATCH", path, body, query=_APPLIED, media=_APPLY)

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        """Create the object.

        Raises:
            ApiError: With status 409 if one of that name exists.
        """
        name, namespace = body["metadata"]["name"], body["metadata"]["namespace"]
        resource = self._resource(body["apiVersion"], body["kind"])
        path = resource.path(namespace=namespace)
        created: dict[str, Any] = json.loads(
            self._call("create", f"{resource.name} {namespace}/{name}", "POST", path, body, query=_MANAGED)
        )
        return created

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """The object as it is now; None if there is none."""
        resource = self._resource(api_version, kind)
        path = resource.path(name=name, namespace=namespace)
        try:
            found: dict[str, Any] = json.loads(self._call("get", f"{resource.name} {namespace}/{name}", "GET", path))
        except ApiError as error:
            if error.status == NOT_FOUND:
                return None
            raise
        return found

    def list(
        self, api_version: str, kind: str, namespace: str, *, label_selector: str = "", field_selector: str = ""
    ) -> list[dict[str, Any]]:
        """Objects of a namespace; selectors narrow it down."""
        resource = self._resource(api_version, kind)
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        query = {key: value for key, value in selectors.items() if value}
        path = resource.path(namespace=namespace)
        return list(json.loads(self._call("list", f"{resource.name} {namespace}/", "GET", path, query=query))["items"])

    def patch(self, api_version: str, kind: str, namespace: str, name: str, change: dict[str, Any]) -> None:
        """Merge `change` into the object. One that is gone is no error: the next pass sees it."""
        resource = self._resource(api_version, kind)
        path = resource.path(name=name, namespace=namespace)
        what = f"{resource.name} {namespace}/{name}"
        self._unless_gone("patch", what, "PATCH", path, change, query=_MANAGED, media=_MERGE)

    def write_status(self, kind: str, namespace: str, name: str, status: dict[str, Any]) -> None:
        """Replace our fields of the object's status. One that is gone is no error."""
        resource = self._resource(API_VERSION, kind)
        body = {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {"name": name, "namespace": namespace},
            "status": status,
        }
        path = f"{resource.path(name=name, namespace=namespace)}/status"
        what = f"{resource.name}/status {namespace}/{name}"
        self._unless_gone("apply", what, "PATCH", path, body, query=_APPLIED, media=_APPLY)

    def delete(self, api_version: str, kind: str, namespace: str, name: str, *, uid: str | None = None) -> None:
        """Delete the object, and what it owns in the background. One that is gone is no error.

        Args:
            uid: Delete only this very object, not a newer one of the same name.
        """
        resource = self._resource(api_version, kind)
        body: dict[str, Any] = {"propagationPolicy": "Background"}
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        path = resource.path(name=name, namespace=namespace)
        self._unless_gone("delete", f"{resource.name} {namespace}/{name}", "DELETE", path, body)

    def _unless_gone(self, verb: str, what: str, *request: Any, **more: Any) -> None:
        try:
            self._call(verb, what, *request, **more)
        except ApiError as error:
            if error.status not in (NOT_FOUND, GONE):
                raise

    def _resource(self, api_version: str, kind: str) -> Any:
        """Where the objects of a kind are; asked once, since kinds stay where they are."""
        known = self._resources.get((api_version, kind))
        if known is not None:
            return known
        try:
            found = self._dynamic.resources.get(api_version=api_version, kind=kind)
        except ResourceNotFoundError as error:
            message = f"the server has no kind {kind} of {api_version}: install its CustomResourceDefinition"
            raise ApiError(NOT_FOUND, "discover", f"{kind} ", message) from error
        except (DynamicApiError, ApiException) as error:
            raise ApiError(int(error.status or 0), "discover", f"{kind} ", str(error.body or error.reason)) from error
        except (HTTPError, OSError) as error:
            raise ApiError(0, "discover", f"{kind} ", str(error)) from error
        self._resources[api_version, kind] = found
        return found

    def _call(
        self,
        verb: str,
        what: str,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        media: str = _JSON,
    ) -> bytes:
        """Make the call; 429 is obeyed here, everything else is the next pass's business. The answer's body."""
        begun = time.perf_counter()
        status = 0
        try:
            status, data = _PATIENCE(self._send, method, f"{path}?{urlencode(query)}" if query else path, body, media)
        except (HTTPError, OSError) as error:
            raise ApiError(0, verb, what, str(error)) from error
        finally:
            self._telemetry.api_call(verb, what.split(" ", maxsplit=1)[0], status, time.perf_counter() - begun)
        if not 200 <= status <= 299:
            raise ApiError(status, verb, what, reason_of(data))
        return data

    def _send(self, method: str, path: str, body: dict[str, Any] | None, media: str) -> tuple[int, bytes]:
        """One request; status and body of the answer, whatever they are."""
        headers = {**self._client.default_headers, "Accept": _JSON, "Content-Type": media}
        # Renews a service account's token when it is due.
        self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        # Escaped to ASCII: the server reads what is applied as YAML, which refuses or alters some characters of JSON.
        content = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        answer = self._client.rest_client.pool_manager.urlopen(
            method, self._client.configuration.host + path, body=content, headers=headers, timeout=_TIMEOUT
        )
        if answer.status == TOO_MANY:
            raise _AskedToWaitError(answer.headers.get("Retry-After", "1"), answer.data)
        return answer.status, answer.data


class _AskedToWaitError(Exception):
    """429."""

    def __init__(self, retry_after: str, data: bytes) -> None:
        super().__init__("too many requests")
        self.seconds = min(float(retry_after) if retry_after.isdecimal() else 1.0, 30.0)
        self.data = data


def _asked_wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    return error.seconds if isinstance(error, _AskedToWaitError) else 0.0


def _give_up(state: tenacity.RetryCallState) -> tuple[int, bytes]:
    error = state.outcome.exception() if state.outcome is not None else None
    return TOO_MANY, error.data if isinstance(error, _AskedToWaitError) else b""


_PATIENCE = tenacity.Retrying(
    retry=tenacity.retry_if_exception_type(_AskedToWaitError),
    wait=_asked_wait,
    stop=tenacity.stop_after_attempt(4),
    retry_error_callback=_give_up,
)
"""For all threads: its state is each thread's own."""


def reason_of(data: bytes) -> str:
    """What the API server says of its refusal."""
    try:
        return str(json.loads(data)["message"])
    except (ValueError, TypeError, KeyError):
        return data.decode(errors="replace")[:500]
