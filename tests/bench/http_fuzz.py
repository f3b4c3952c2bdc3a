"""Requests that no client of ours would send, to every route of the learner, the rollout server and the sandbox.

Bodies are valid ones that were spoilt: values of other kinds and sizes, fields gone, doubled or made up, bytes changed;
and the requests around them are: other methods, headers, lengths, tokens, attempts. An answer may refuse, and must be
typed; a server must live on, keep its memory, and log no traceback.
"""

from __future__ import annotations

import contextlib
import copy
import json
import random
import socket
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from prorl_api.wire.base import ErrorBody

ANSWER_SECONDS = 20.0
_WEIGHTS = {"attempt": 1, "step": 0, "digest": "a" * 64}
_SAMPLING = {"max_tokens": 3, "seed": 7}
_TESTS = [{"stdin": "41", "expected_stdout": "42"}]
_PROGRAM = {"source": "print(int(input()) + 1)", "tests": _TESTS, "total_wall_seconds": 2.0}
_ITEM = {"item_id": "1", "domain": "math", "row": {"answer": "1"}, "completion": r"\boxed{1}"}

Body = dict[str, Any]
ROUTES: Mapping[str, tuple[tuple[str, str, Body | None], ...]] = {
    "learner": (
        ("PUT", "/v1/members/one", {"address": "http://127.0.0.1:8000", "ready": True, "weights_id": _WEIGHTS}),
        ("GET", "/v1/model-files", None),
        ("GET", "/v1/model-files/config.json", None),
        ("GET", "/v1/weights/x/manifest", None),
        ("GET", "/v1/weights/x/chunks/0", None),
        ("GET", "/v1/status", None),
        ("POST", "/v1/stop", {"checkpoint": True, "reason": "x"}),
        ("POST", "/v1/resets", {"uid": "u", "name": "n", "source": "current", "optimizer": "clear"}),
        ("GET", "/v1/resets", None),
        ("GET", "/v1/metrics?since_step=1", None),
        ("GET", "/v1/report?since_step=1&max_lines=3", None),
    ),
    "rollout": (
        ("POST", "/v1/generate", {"request_id": "r", "prompt_token_ids": [1, 2], "sampling": _SAMPLING}),
        ("DELETE", "/v1/generate/r", None),
        ("POST", "/v1/weights", {"weights_id": _WEIGHTS, "sources": [{"kind": "file", "location": "/nowhere"}]}),
        ("POST", "/v1/pause", None),
        ("POST", "/v1/resume", None),
        ("GET", "/v1/state", None),
    ),
    "sandbox": (
        ("POST", "/v1/score", {"items": [_ITEM], "timeout_seconds": 2.0}),
        ("POST", "/v1/execute", _PROGRAM),
        ("POST", "/v1/execute-batch", {"programs": [_PROGRAM]}),
        ("POST", "/run_code", {"code": "print(1)", "language": "python", "run_timeout": 2.0}),
        ("GET", "/v1/isolation", None),
    ),
}
_STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**400, 1e308, -0.0, 0.1, "", "0", "a" * 3000, "\x00",
    "\ud800", "\u202e\u0000", "../../etc/passwd", "http://[::1", "'; --", "é" * 500, [], [[]], {}, [None], {"": ""},
    [0] * 300, "A" * 64, "AAAA", "====",
)  # fmt: skip
_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT", "BREW", "get", "")
_HEADERS = (
    "Content-Length: -1", "Content-Length: 99999999999999999999", "Content-Length: 0x10", "Content-Length: 5",
    "Content-Length: 5\r\nContent-Length: 6", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked",
    "Content-Type: text/plain", "Content-Type: multipart/form-data; boundary=x",
    "Content-Type: application/json; charset=x",
    "Content-Type: application/x-www-form-urlencoded", "Content-Encoding: gzip", "Expect: 100-continue", "Expect: x",
    "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13",
    "Connection: upgrade\r\nUpgrade: h2c", "X-ProRL-Attempt: 99999999", "X-ProRL-Attempt: -1", "X-ProRL-Attempt: x",
    "X-ProRL-Attempt: 0", "X-Forwarded-For: 10.0.0.1", "Host: ", "Range: bytes=0-0,5-", "Range: bytes=-99999",
    "If-Range: x\r\nRange: bytes=9-1", "Cookie: " + "a" * 4000, "Bad Header: x", ": x", "X: \x01", "X: é",
)  # fmt: skip


@dataclass(slots=True)
class Findings:
    """What came of a run."""

    requests: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest_seconds: float = 0.0


class Fuzzer:
    """Sends spoilt requests, one after the other, the same ones for the same seed."""

    def __init__(self, addresses: Mapping[str, tuple[str, int]], tokens: Mapping[str, str], seed: int) -> None:
        """Addresses by service, and the token of each of its callers."""
        self._addresses = addresses
        self._tokens = tokens
        self._random = random.Random(seed)
        self.findings = Findings()
        token = f"Authorization: Bearer {tokens['learner']}"
        self._resume = f"POST /v1/resume HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{token}\r\n\r\n".encode()

    def step(self) -> None:
        """One request to one route of one service."""
        chance = self._random
        name = chance.choice(sorted(self._addresses))
        method, path, body = chance.choice(ROUTES[name])
        request = self._request(method, path, body)
        begun = time.monotonic()
        answer = _exchange(self._addresses[name], request)
        if path == "/v1/pause":  # else whatever is generated would wait, as it should
            _exchange(self._addresses[name], self._resume)
        seconds = time.monotonic() - begun
        found = self.findings
        found.requests += 1
        found.slowest_seconds = max(found.slowest_seconds, seconds)
        status = answer[9:12].decode("latin-1") if answer.startswith(b"HTTP/1.1 ") else "none"
        found.statuses[status] += 1
        fault = _fault(status, answer, seconds)
        if fault:
            found.faults.append(f"{fault}: {name} {request[:400]!r} -> {answer[:300]!r}")

    def _request(self, method: str, path: str, body: Body | None) -> bytes:
        chance = self._random
        if chance.random() < 0.08:
            method = chance.choice(_METHODS)
        if chance.random() < 0.1:
            path = self._spoilt_path(path)
        content = b"" if body is None else self._spoilt_body(body)
        headers = ["Host: x\r\nConnection: close\r\nContent-Type: application/json"]
        if chance.random() < 0.95:
            headers.append(f"Authorization: Bearer {self._tokens[chance.choice(sorted(self._tokens))]}")
        lengths = [f"Content-Length: {len(content)}"]
        if chance.random() < 0.15:
            extra = chance.choice(_HEADERS)
            if extra.startswith(("Content-Length", "Transfer-Encoding")):
                lengths = []
            headers.append(extra)
        head = f"{method} {path} HTTP/1.1\r\n" + "\r\n".join([*headers, *lengths]) + "\r\n\r\n"
        return head.encode("latin-1", "replace") + content

    def _spoilt_path(self, path: str) -> str:
        chance = self._random
        tail = chance.choice(
            (
                "/",
                "/..",
                "%00",
                "%2e%2e/x",
                "?since_step=x",
                "?since_step=-9",
                "?since_step=" + "9" * 30,
                "#x",
                "//",
                "%ff",
                "é",
            )
        )
        return chance.choice(
            (path + tail, path.replace("/v1", "/v1/.", 1), "/" + path, path.upper(), "*", "http://x" + path)
        )

    def _spoilt_body(self, body: Body) -> bytes:
        chance = self._random
        spoilt: Any = copy.deepcopy(body)
        for _ in range(chance.choice((0, 1, 1, 1, 2, 4))):
            spoilt = self._changed(spoilt)
        content = json.dumps(spoilt).encode()
        kind = chance.random()
        if kind < 0.1:
            content = content.replace(b"1", chance.choice((b"NaN", b"Infinity", b"1e999", b"9" * 4250, b"01", b"1.")))
        elif kind < 0.2:
            spot = chance.randrange(len(content) + 1)
            content = (
                content[:spot] + bytes(chance.randrange(256) for _ in range(chance.randrange(1, 9))) + content[spot:]
            )
        elif kind < 0.25:
            content = content[: chance.randrange(len(content) + 1)]
        elif kind < 0.28:
            content = chance.choice(
                (b"[" * 50_000, b'{"a":' * 20_000, b'"' * 9, b"\xef\xbb\xbf" + content, content * 2)
            )
        return content

    def _changed(self, value: Any) -> Any:
        """The value with one place in it changed."""
        chance = self._random
        if isinstance(value, dict) and value and chance.random() < 0.85:
            key = chance.choice(sorted(value))
            kind = chance.random()
            if kind < 0.15:
                return {name: item for name, item in value.items() if name != key}
            if kind < 0.3:
                return value | {chance.choice((key.upper(), "extra", "", "__class__")): chance.choice(_STRANGE)}
            return value | {key: self._changed(value[key])}
        if isinstance(value, list) and value and chance.random() < 0.7:
            spot = chance.randrange(len(value))
            if chance.random() < 0.2:
                return value * chance.choice((0, 2, 50))
            return [*value[:spot], self._changed(value[spot]), *value[spot + 1 :]]
        return chance.choice(_STRANGE)


def _exchange(address: tuple[str, int], request: bytes) -> bytes:
    answer = b""
    with contextlib.suppress(ConnectionError), socket.create_connection(address, timeout=ANSWER_SECONDS) as connection:
        with contextlib.suppress(OSError):  # refused before it was all sent
            connection.sendall(request)
            if (
                b"Content-Length: 99999" in request
                or b"Content-Length: 5\r" in request
                or b"Transfer-Encoding" in request
            ):
                connection.shutdown(socket.SHUT_WR)  # it announced more than comes
        with contextlib.suppress(TimeoutError):
            while block := connection.recv(65536):
                answer += block
            return answer
        return b"nothing in time"
    return answer


def _fault(status: str, answer: bytes, seconds: float) -> str:
    """What is wrong with an answer; empty: nothing."""
    if answer == b"nothing in time" or seconds > ANSWER_SECONDS:
        return "no answer in time"
    if status == "none":  # a connection that is closed refuses, too
        return ""
    code, body = int(status), answer.partition(b"\r\n\r\n")[2]
    if code >= 500 and code != 503:
        return "an error of the server's"
    if code in (200, 204, 206, 304, 307, 416, 400, 100) or not body:
        return ""
    try:
        ErrorBody.model_validate_json(body)
    except ValidationError:
        return "a refusal that is not typed"
    return ""
