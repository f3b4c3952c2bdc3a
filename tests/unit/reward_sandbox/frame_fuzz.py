"""Frames that no program should write, and everything that reads frames: it yields data, or refuses by name.

The bodies are grown from the grammar of answers and then damaged, so that they get past the first check of each reader.
Used by a test, briefly, and by `tests/bench/bench_frame_fuzz.py` for as long as one likes.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import Callable, Mapping
from typing import Any

from prorl_api.rows import CallTest, Checker
from prorl_api.wire.sandbox import Verdict
from prorl_reward_sandbox import frames
from prorl_reward_sandbox.execution.harness import tests as harness_tests
from prorl_reward_sandbox.execution.harness.canonical import RefusedError, encode
from prorl_reward_sandbox.execution.judging.asserts import _read_verdict
from prorl_reward_sandbox.execution.judging.calls import _judge_answer
from prorl_reward_sandbox.execution.judging.conversation import BreachError, read_frame

_LOOP = asyncio.new_event_loop()
"""Readers want one, although these never wait."""
_LOOP.close()
EXPECTED: tuple[Any, ...] = (3, 3.5, "x", None, True, [1, [2, "x"]], {"1": [2.0], "x": {}}, [], {})
_ATOMS = (
    *("0", "-0", "3", "-1", "1e999", "-1e999", "1e-999", "0.1", "3.5", "true", "null", '""', '"x"', "[]", "{}"),
    *('"\\ud800"', '"\\u0000"', '"nan"', '{"f": "nan"}', '{"f": "-inf"}', '{"b": "AA=="}', '{"b": "!"}', "NaN"),
    *("9" * 20, "9" * 4250, "9" * 4300, "9" * 4301, "Infinity", '{"f": 1}', '{"t": 3}', '{"d": [[1]]}', '{"s": [[]]}'),
)
_TAGS = ("t", "s", "z", "d", "f", "b", "x", "", "value", "raised", "\\u0064")
_REPLIES = ("value", "raised", "refused", "x", "")
_NAMES = ("ValueError", "StopIteration", "SystemExit", "KeyError", "UnicodeDecodeError", "ExceptionGroup", "eval", "")


class Fuzz:
    """Makes bodies and frames, the same ones for a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def body(self) -> bytes:
        """An answer, or what might be taken for one."""
        made = self.random.choice((self._reply, self._reply, self._reply, self._raised, self._verdict, self._deep))()
        body = made.encode("utf-8", "surrogatepass")
        return self._damaged(body) if self.random.random() < 0.5 else body

    def stream(self) -> bytes:
        """Frames of bodies as a program writes them, whole or not."""
        written = b"".join(len(body).to_bytes(4, "big") + body for body in (self.body() for _ in range(3)))
        return self._damaged(written) if self.random.random() < 0.5 else written

    def helper_frame(self) -> bytes:
        """A frame as helpers write them, whole or not."""
        blobs = [self.random.randbytes(self.random.randrange(50)) for _ in range(self.random.randrange(4))]
        whole = frames.encode({"stop_reason": "exited", "files": ["a"], "exit_code": 0}, blobs)
        if self.random.random() < 0.3:
            header = self.body()
            whole = len(header).to_bytes(4, "big") + b"\0" + header
        return self._damaged(whole) if self.random.random() < 0.8 else whole

    def _form(self, depth: int = 0) -> str:
        if depth > 6 or self.random.random() < 0.4:
            return self.random.choice(_ATOMS)
        parts = [self._form(depth + 1) for _ in range(self.random.randrange(4))]
        inner = f"[{', '.join(parts)}]"
        tag = self.random.choice(_TAGS)
        if tag == "d" and self.random.random() < 0.8:
            inner = f"[{', '.join(f'[{part}, {part}]' for part in parts)}]"
        return inner if self.random.random() < 0.4 else f'{{"{tag}": {inner}}}'

    def _reply(self) -> str:
        members = [f'"{self.random.choice(_REPLIES[:2])}": {self._form()}']
        if self.random.random() < 0.1:
            members.append(f'"{self.random.choice(_REPLIES)}": {self._form()}')
        return f"{{{', '.join(members)}}}"

    def _raised(self) -> str:
        text = self.random.choice(('"why"', self._form()))
        return f'{{"raised": ["{self.random.choice(_NAMES)}", {text}]}}'

    def _verdict(self) -> str:
        return f'["{self.random.choice(("passed", "failed", "unsupported", "x"))}", {self._form()}]'

    def _deep(self) -> str:
        depth = self.random.choice((62, 63, 64, 65, 66, 300, 900, 990, 1000, 5000, 100_000))
        opening, closing = self.random.choice(
            (("[", "]"), ('{"t": [', "]}"), ('{"s": [', "]}"), ('{"d": [[1, ', "]]}"))
        )
        form = opening * depth + self._form(5) + closing * depth
        key = self.random.choice(_REPLIES)
        return f'{{"{key}": [{form}, ""]}}' if self.random.random() < 0.5 else f'{{"{key}": {form}}}'

    def _damaged(self, data: bytes) -> bytes:
        buffer = bytearray(data)
        for _ in range(self.random.randrange(1, 4)):
            place = self.random.randrange(len(buffer) + 1)
            way = self.random.randrange(4)
            if way == 0:
                del buffer[place:]
            elif way == 1:
                buffer[place:place] = self.random.randbytes(self.random.randrange(1, 5))
            elif way == 2 and place < len(buffer):
                buffer[place] ^= 1 << self.random.randrange(8)
            else:
                buffer[place:place] = buffer[: self.random.randrange(200)]
        return bytes(buffer)


def judge_call(fuzz: Fuzz) -> None:
    """As the answer to a function test."""
    expected = fuzz.random.choice(EXPECTED)
    test = CallTest(type="call", function="f", expected=expected)
    verdict, detail = _judge_answer(fuzz.body(), test, Checker())
    assert verdict in (Verdict.CORRECT, Verdict.WRONG, Verdict.RUNTIME_ERROR)
    detail.encode("utf-8")
    assert len(detail) < 1000


def cross_stub(fuzz: Fuzz) -> None:
    """As the answer to a call of a test program: a plain value that can be passed on, or an exception that crosses."""
    try:
        value = harness_tests.value_of(fuzz.body())
    except Exception as error:
        if not getattr(error, "is_from_program", False) or isinstance(error, StopIteration | StopAsyncIteration):
            raise AssertionError("an exception that does not cross") from error
        return
    try:
        json.dumps(encode(value))
    except RefusedError as error:
        if not error.may_be_computed:
            raise


def read_verdict(fuzz: Fuzz) -> None:
    """As the last frame of a test program."""
    verdict, reason = _read_verdict(fuzz.body())
    assert verdict in (Verdict.CORRECT, Verdict.WRONG, Verdict.UNSUPPORTED)
    reason.encode("utf-8")


def read_conversation(fuzz: Fuzz) -> None:
    """As what a program writes to its descriptor 3."""

    async def read() -> None:
        reader = asyncio.StreamReader(loop=_LOOP)
        reader.feed_data(fuzz.stream())
        reader.feed_eof()
        try:
            while (body := await read_frame(reader, max_bytes=4096)) is not None:
                assert len(body) <= 4096
        except BreachError as breach:
            if breach.verdict is not Verdict.OUTPUT:
                raise

    coroutine = read()
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits although all was read")


def read_helper(fuzz: Fuzz) -> None:
    """As what a helper process writes."""
    near, far = socket.socketpair()
    with near, far:
        near.sendall(fuzz.helper_frame()[:100_000])
        near.shutdown(socket.SHUT_WR)
        try:
            frame = frames.receive(far)
        except frames.FrameError:
            return
        assert frame is None or isinstance(frame.header, dict)


READERS: Mapping[str, Callable[[Fuzz], None]] = {
    "function tests": judge_call,
    "stubs": cross_stub,
    "verdicts": read_verdict,
    "conversations": read_conversation,
    "helpers": read_helper,
}
