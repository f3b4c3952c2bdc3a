"""A learner's pod says whatever its owner wants: nothing of it costs the operator more than a moment."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import resource
import time
import tracemalloc
import zlib
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web
from http_server import serving
from operator_builders import make_memory

from prorl_api.wire.learner import LearnerPhase, LearnerReport, LearnerStatus, MetricsSeries, ResetOutcomes
from prorl_control.resets.changes import Creation, Update
from prorl_operator import controller
from prorl_operator.learner_api import LearnerApi, make_session
from prorl_operator.member_states import _MAX_ATTEMPT_DIGITS, taken_attempt
from prorl_operator.observation import LearnerPod, ask_learner
from prorl_operator.untrusted import LINES_A_PAGE, MAX_BYTES, UntrustedError, parsed, shown
from tests.raw_words import RAW

MIB = 2**20
STATUS: dict[str, Any] = {
    "attempt": 1,
    "phase": "sampling",
    "phase_since": 1.0,
    "heartbeat": 1.0,
    "step": 1,
    "total_steps": 9,
}


def report(*, lines: Any = (), resets: Any = (), **status: Any) -> dict[str, Any]:
    return {"status": STATUS | status, "metrics": {"steps": lines}, "resets": {"resets": resets}}


def encoded(document: Any) -> bytes:
    return json.dumps(document).encode()


def line(step: int, **more: Any) -> dict[str, Any]:
    return {"step": step, "attempt": 1, **more}


OUTCOME = {"uid": "u", "name": "n", "state": "applied", "applied_step": 1}


def test_an_honest_report_is_taken_as_it_is() -> None:
    lines = [line(step, kl=0.5, stage="run-1", **{"accuracy_sampled/math": 0.25}) for step in range(1, 4)]
    found = parsed(LearnerReport, encoded(report(lines=lines, resets=[OUTCOME], phase_detail="grün, 3/4")))
    assert found.metrics.steps == tuple(lines)
    assert found.status.phase_detail == "grün, 3/4"
    assert found.resets.resets[0].uid == "u"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'"' + b"a" * 1000,
        encoded(report()) + b"x",
        encoded(report())[:-1],
        b" " * (MAX_BYTES + 1),
        b"[" * 200_000,
        b'{"status":' * 50_000,
        b'{"status": NaN}',
        encoded(report(heartbeat=1e308)),
        encoded(report(heartbeat=-1.0)),
        encoded(report(step=2**31)),
        encoded(report(step=-1)),
        encoded(report(attempt=10**30)),
        encoded(report()).replace(b'"step": 1', b'"step": ' + b"9" * 4250),
        encoded(report()).replace(b'"step": 1', b'"step": 1e400'),
        encoded(report(step="1e999")),
        encoded(report(phase="owned")),
        encoded(report(phase_detail="x")).replace(b'"x"', b'"\\ud800"'),
        encoded(report(reference_digest="x" * 64)),
        encoded(report(surprise=1)),
        encoded(report(weights_id={"attempt": 1, "step": 2**40, "digest": "0" * 64})),
        encoded(report(lines=[{}])),
        encoded(report(lines=[line(1, kl="0.5")])),
        encoded(report(lines=[line(1, kl=[1])])),
        encoded(report(lines=[line(1, kl=True)])),
        encoded(report(lines=[line(2), line(1)])),
        encoded(report(lines=[line(1), line(1)])),
        encoded(report(lines=[{"step": True, "attempt": 1}])),
        encoded(report(lines=[{"step": 1.5, "attempt": 1}])),
        encoded(report(lines=[{"step": "1", "attempt": 1}])),
        encoded(report(lines=[{"step": 1, "attempt": 2**40}])),
        encoded(report(lines=[line(step) for step in range(LINES_A_PAGE + 1)])),
        encoded(report(lines=[0] * 100_000)),
        encoded(report(lines=[line(1, **{f"m{number}": 0 for number in range(2000)})])),
        encoded(report(lines=[line(1, **{"m" * 1000: 0})])),
        encoded(report(resets=[OUTCOME] * 2001)),
        encoded(report(resets=[OUTCOME | {"uid": "u" * 65}])),
        encoded(report(resets=[OUTCOME | {"uid": ""}])),
        encoded(report(resets=[OUTCOME | {"applied_step": 2**31}])),
        encoded(report(resets=[OUTCOME | {"digest_after": "no digest"}])),
    ],
)
def test_what_no_honest_learner_says_is_refused_in_a_few_words(body: bytes) -> None:
    with pytest.raises(UntrustedError) as caught:
        parsed(LearnerReport, body)
    assert 0 < len(str(caught.value)) < 600
    assert "\n" not in str(caught.value)
    assert not RAW.search(str(caught.value))


@pytest.mark.parametrize("text", ["\x1b[2J\x1b]0;owned\x07", "a\rb", "\u202egnp", "\u200bx", "\x00", "\x9b31m"])
def test_texts_lose_what_steers_a_terminal(text: str) -> None:
    found = parsed(LearnerReport, encoded(report(phase_detail=text, error=text)))
    assert found.status.phase_detail.isprintable()
    assert found.status.error is not None
    assert found.status.error.isprintable()
    assert shown(text.encode()).isprintable()


def test_long_texts_are_cut() -> None:
    found = parsed(LearnerReport, encoded(report(phase_detail="a" * 100_000)))
    assert found.status.phase_detail == "a" * 4096


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"[]," * (MAX_BYTES // 3 - 10) + b"[]]",
        b"[" + b"0," * (MAX_BYTES // 2 - 10) + b"0]",
        b"{" + b",".join(b'"%x":0' % number for number in range(300_000)) + b"}",
        b'{"status":' + b'"' + b"\\u0041" * (MAX_BYTES // 6 - 10) + b'"}',
    ],
    ids=["lists", "numbers", "fields", "text"],
)
def test_the_largest_answers_cost_little_memory_and_time(body: bytes) -> None:
    assert len(body) <= MAX_BYTES
    tracemalloc.start()
    begun = time.process_time()
    with pytest.raises(UntrustedError):
        parsed(LearnerReport, body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 160 * MIB
    assert time.process_time() - begun < 20.0


async def answered(body: bytes, headers: dict[str, str]) -> LearnerReport | None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=body, headers={"Content-Type": "application/json"} | headers)

    async with serving(handler) as url, make_session() as http:
        return await LearnerApi(http, url, 1, "token").report(0)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_packed_answer_is_not_unpacked(encoding: str, pack: Any) -> None:
    plain = encoded(report())
    packed = pack(plain[:-1] + b" " * 300 * MIB + plain[-1:])
    before = resident_bytes()
    assert await answered(packed, {"Content-Encoding": encoding}) is None
    assert resident_bytes() - before < 32 * MIB


async def test_a_plain_answer_comes_through() -> None:
    found = await answered(encoded(report()), {})
    assert found is not None
    assert found.status.step == 1


async def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    sent = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        answer = web.StreamResponse()
        await answer.prepare(request)
        try:
            while sent < 64 * MIB:
                await answer.write(b" " * MIB)
                sent += MIB
        except (ConnectionError, OSError):
            pass
        return answer

    async with serving(handler) as url, make_session() as http:
        assert await LearnerApi(http, url, 1, "token").report(0) is None
    assert sent < 24 * MIB


async def test_an_answer_that_comes_a_byte_at_a_time_is_given_up() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        try:
            for _ in range(600):
                await answer.write(b" ")
                await asyncio.sleep(0.1)
        except (ConnectionError, OSError):
            pass
        return answer

    begun = time.monotonic()
    async with serving(handler) as url, make_session() as http:
        assert await LearnerApi(http, url, 1, "token").report(0) is None
    assert time.monotonic() - begun < 6.0


async def test_a_redirect_is_not_followed_and_the_token_stays(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        raise web.HTTPTemporaryRedirect(f"http://{request.host}/elsewhere")

    async with serving(handler) as url, make_session() as http:
        assert await LearnerApi(http, url, 1, "token").report(0) is None
    assert asked == ["/v1/report"]


async def test_what_is_logged_of_an_answer_is_one_printable_line(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=500, body=b"x\nINFO prorl: all is well\x1b[2J" * 1000)

    caplog.set_level(logging.WARNING)
    async with serving(handler) as url, make_session() as http:
        assert await LearnerApi(http, url, 1, "token").report(0) is None
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.isprintable()
    assert len(message) < 500


class PagingLearner:
    """Has so many lines, and gives a page at a time, as a learner does."""

    def __init__(self, num_lines: int, *, goes_on_for_ever: bool = False) -> None:
        self.num_lines = num_lines
        self.asked = 0
        self._goes_on_for_ever = goes_on_for_ever

    async def report(self, since_step: int) -> LearnerReport | None:
        self.asked += 1
        first = max(1, since_step + 1)
        last = first + LINES_A_PAGE if self._goes_on_for_ever else min(self.num_lines + 1, first + LINES_A_PAGE)
        steps = tuple(line(step, validation_accuracy=0.5, junk="x") for step in range(first, last))
        status = LearnerStatus.model_validate(STATUS | {"step": self.num_lines, "phase": LearnerPhase.SAMPLING})
        return LearnerReport(status=status, metrics=MetricsSeries(steps=steps), resets=ResetOutcomes(resets=()))


async def test_a_long_timeline_is_read_in_pages_before_anything_is_decided_on() -> None:
    memory, learner = make_memory(), PagingLearner(3 * LINES_A_PAGE + 5)
    pod = LearnerPod(api=cast("LearnerApi", learner), attempt=1)
    await ask_learner(pod, memory, now=1.0)
    assert [each["step"] for each in memory.series.lines] == list(range(1, learner.num_lines + 1))
    assert learner.asked == 4
    assert memory.learner is not None


async def test_a_timeline_without_end_ends_the_look_and_is_forgotten_in_time() -> None:
    memory, learner = make_memory(), PagingLearner(1, goes_on_for_ever=True)
    memory.series.keep_recent(16)
    pod = LearnerPod(api=cast("LearnerApi", learner), attempt=1)
    for _ in range(3):
        await ask_learner(pod, memory, now=1.0)
    assert learner.asked == 3 * 60
    assert memory.learner is None
    assert len(memory.series.lines) <= 20_000 + 64
    assert "junk" not in memory.series.lines[0]


def test_a_learner_that_tells_of_thousands_of_resets_makes_few_objects() -> None:
    creations = [Creation(build=cast("Any", None)) for _ in range(500)]
    updates = [Update(name=str(number), change=lambda record: record) for number in range(30)]
    within = controller._within_reason([*creations, *updates], num_records=3)
    assert [sum(isinstance(change, kind) for change in within) for kind in (Creation, Update)] == [20, 30]
    assert sum(isinstance(change, Creation) for change in controller._within_reason(list(creations), 5000)) == 0


def test_last_words_do_not_make_attempts_run_over() -> None:
    from prorl_api.errors import ExitCode
    from prorl_api.process.termination_message import completed_step
    from prorl_api.spec.values import Role
    from prorl_control.members import Exit, Member, MemberState

    def member(words: str) -> Member:
        end = Exit(code=int(ExitCode.STALE_ATTEMPT), termination_message=words)
        return Member(role=Role.LEARNER, index=0, attempt=1, state=MemberState.EXITED, exit=end)

    assert taken_attempt([member("attempt 12 is over")]) == 12
    assert taken_attempt([member(f"attempt {'9' * (_MAX_ATTEMPT_DIGITS + 1)}")]) == 0
    assert taken_attempt([member(f"attempt {'9' * 4000}")]) == 0
    assert completed_step("completed step 12 of 20") == 12
    assert completed_step(f"completed step {'9' * 15} of 20") is None
