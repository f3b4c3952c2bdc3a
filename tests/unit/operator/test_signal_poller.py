"""How the operator asks a Prometheus: few queries, bounded answers, credentials, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from http_server import Handler, serving
from operator_builders import make_memory

from prorl_api.errors import Fault
from prorl_api.resets import Evidence, ResetCondition, ResetRecord
from prorl_api.spec.run import MonitoringSpec
from prorl_api.spec.values import OptimizerAction, ResetSource
from prorl_api.wire.learner import LearnerPhase, LearnerStatus
from prorl_control.signals.job_signals import JobSignals, OwnSignal, WantedSignals
from prorl_control.signals.reading import SignalFault, SignalReason
from prorl_control.signals.snapshots import each_job
from prorl_operator import events
from prorl_operator.signals import client, poller
from prorl_operator.signals.endpoints import ENV_PROMETHEUS, Endpoint, Endpoints, endpoints_of, seconds_of
from prorl_operator.signals.poller import SignalPoller
from prorl_operator.telemetry import Telemetry

NOW = 1_800_000_000.0
R = SignalReason


class FakePrometheus:
    """Remembers what it was asked, and answers with one series for each job, a step every scrape."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], Mapping[str, str]]] = []
        self.own: Any = [{"metric": {}, "values": [[NOW - 10, "0.5"]]}]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append((request.path, form, request.headers.copy()))
        if request.path.endswith("query_range"):
            return self._matrix(self.own)
        found = re.search(r'prorl_job=~?"([^"]*)"', form["query"])
        assert found is not None
        values = {"step": "7", "attempt": "1", "kl_nats": "0.25"}
        return self._matrix(
            [
                {
                    "metric": {"__name__": f"prorl_learner_{name}", "namespace": "a", "prorl_job": job, "pod": job},
                    "values": [[NOW - 10, value]],
                }
                for job in found[1].split("|")
                for name, value in values.items()
            ]
        )

    @staticmethod
    def _matrix(result: Any) -> web.Response:
        return web.json_response({"status": "success", "data": {"resultType": "matrix", "result": result}})


def make_wanted(name: str = "demo", own: tuple[OwnSignal, ...] = ()) -> WantedSignals:
    return WantedSignals(
        job=("a", name),
        uid="uid-1",
        names=frozenset({"kl"}),
        own=own,
        since=NOW - 600,
        recent=16,
        target_step=0,
        prometheus="main",
        interval=3.0,
    )


def make_learner() -> LearnerStatus:
    return LearnerStatus(
        attempt=1, phase=LearnerPhase.SAMPLING, phase_since=NOW, heartbeat=NOW, step=7, total_steps=100
    )


@asynccontextmanager
async def polling() -> AsyncIterator[SignalPoller]:
    async with client.make_session() as http:
        found = SignalPoller(http, Telemetry(), clock=lambda: NOW)
        task = asyncio.create_task(found.keep())
        try:
            yield found
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def until(check: Callable[[], Any]) -> Any:
    """What the check gives, once that is something."""
    async with asyncio.timeout(30):
        while True:
            if found := check():
                return found
            await asyncio.sleep(0.01)  # the poller, too, goes by the clock


async def fault_from(handler: Handler, **changes: Any) -> SignalFault:
    """What a job's reading says once the Prometheus was asked."""
    async with serving(handler) as url, polling() as polled:
        endpoint = Endpoint(**{"name": "main", "url": url, "interval": 0.1, **changes})
        source = polled.source(endpoint, make_wanted())
        found: SignalFault = await until(lambda: told(source))
        return found


def told(source: JobSignals) -> SignalFault | None:
    """What is wrong, once the Prometheus was asked."""
    fault = source.read(NOW, make_learner()).fault
    return None if fault is None or fault.reason is R.NOT_READ_YET else fault


async def test_250_jobs_are_three_queries_a_round() -> None:
    fake = FakePrometheus()
    async with serving(fake.answer) as url, polling() as polled:
        endpoint = Endpoint(name="main", url=url, interval=3600.0)
        sources = [polled.source(endpoint, make_wanted(f"job-{number}")) for number in range(250)]
        await until(lambda: all(source.read(NOW, make_learner()).lines for source in sources))
    assert [path for path, _, _ in fake.asked] == ["/api/v1/query"] * 3
    assert sum(len(form["query"].split("|")) for _, form, _ in fake.asked) >= 250


async def test_a_job_s_own_signals_are_asked_for_by_themselves() -> None:
    fake = FakePrometheus()
    own = OwnSignal(name="signals.judged", query='judged{namespace="a"}', path="spec.monitoring.signals[0].query")
    async with serving(fake.answer) as url, polling() as polled:
        source = polled.source(Endpoint(name="main", url=url, interval=3600.0), make_wanted(own=(own,)))
        lines = await until(lambda: source.read(NOW, make_learner()).lines)
    assert lines == [{"step": 7, "attempt": 1, "kl": 0.25, "signals.judged": 0.5}]
    (path, form, _) = fake.asked[-1]
    assert path == "/api/v1/query_range"
    assert form["query"] == 'judged{namespace="a"}'
    assert {"start", "end", "step", "timeout"} <= form.keys()


async def test_a_signal_that_the_server_refuses_names_its_field_and_the_others_stand() -> None:
    fake = FakePrometheus()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("query_range"):
            return web.json_response({"status": "error", "error": "many-to-many matching"}, status=422)
        return await fake.answer(request)

    own = OwnSignal(name="signals.judged", query="judged", path="spec.monitoring.signals[0].query")
    async with serving(answer) as url, polling() as polled:
        source = polled.source(Endpoint(name="main", url=url, interval=3600.0), make_wanted(own=(own,)))
        await until(lambda: source.read(NOW, make_learner()).lines)
        found = source.read(NOW, make_learner())
    assert found.fault is not None
    assert found.fault.reason is R.SIGNAL_FAULTY
    assert found.fault.message.startswith("spec.monitoring.signals[0].query: it answers 422: many-to-many")


async def test_a_fault_of_ours_ends_one_round_and_not_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise KeyError("a fault of ours")

    fake, right = FakePrometheus(), each_job
    monkeypatch.setattr(poller, "each_job", broken)
    async with serving(fake.answer) as url, polling() as polled:
        source = polled.source(Endpoint(name="main", url=url, interval=0.1), make_wanted())
        await until(lambda: len(fake.asked) > 1)
        monkeypatch.setattr(poller, "each_job", right)
        assert await until(lambda: source.read(NOW, make_learner()).lines)


async def test_many_own_signals_are_asked_for_a_few_at_a_time() -> None:
    fake, at_once, most = FakePrometheus(), 0, 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.02)
        at_once -= 1
        return await fake.answer(request)

    own = (OwnSignal(name="signals.judged", query="judged", path="spec.monitoring.signals[0].query"),)
    async with serving(answer) as url, polling() as polled:
        endpoint = Endpoint(name="main", url=url, interval=3600.0)
        sources = [polled.source(endpoint, make_wanted(f"job-{number}", own)) for number in range(30)]
        await until(lambda: all(source.read(NOW, make_learner()).lines for source in sources))
    assert 1 < most <= 4


async def unauthorized(_: web.Request) -> web.StreamResponse:
    return web.Response(status=401, text="no")


async def elsewhere(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("http://169.254.169.254/latest/meta-data")


async def not_json(_: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>")


async def packed(_: web.Request) -> web.StreamResponse:
    return web.Response(body=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"})


async def endless(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    for _ in range(64):
        await answer.write(b" " * 2**12)
    return answer


async def silent(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


@pytest.mark.parametrize(
    ("handler", "reason", "words"),
    [
        (unauthorized, R.UNAUTHORIZED, "401"),
        (elsewhere, R.REFUSED, "redirects are not followed"),
        (not_json, R.BAD_ANSWER, "API of a Prometheus"),
        (packed, R.UNREACHABLE, "packed"),
        (endless, R.BAD_ANSWER, "bytes"),
        (silent, R.UNREACHABLE, "no answer within"),
    ],
)
async def test_what_goes_wrong_is_a_reason_that_names_the_prometheus(
    handler: Handler, reason: SignalReason, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_BYTES", 2**16)
    monkeypatch.setattr(client, "TIMEOUT", aiohttp.ClientTimeout(total=0.5 if handler is silent else 20.0))
    fault = await fault_from(handler)
    assert fault.reason is reason
    assert words in fault.message
    assert "main" in fault.message


async def test_a_prometheus_that_is_not_there_is_unreachable_and_a_pass_never_waits_for_it() -> None:
    async with serving(unauthorized) as url:
        pass
    async with polling() as polled:
        source = polled.source(Endpoint(name="main", url=url, interval=0.1), make_wanted())
        assert (await until(lambda: told(source))).reason is R.UNREACHABLE


async def test_a_large_answer_is_read_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_LARGE", 1)
    fake = FakePrometheus()
    async with serving(fake.answer) as url, client.make_session() as http:
        asked = client.PrometheusClient(http, Endpoint(name="main", url=url))
        assert len(await asked.samples('x{prorl_job="demo"}[5m]', NOW)) == 3


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({"token": "secret-1\n"}, "Bearer secret-1"),
        ({"username": "me", "password": "pässword"}, "Basic bWU6cMOkc3N3b3Jk"),
        ({}, None),
    ],
)
async def test_credentials_are_read_from_the_mounted_folder(
    files: dict[str, str], wanted: str | None, tmp_path: Path
) -> None:
    for name, text in {**files, "header-1": "key"}.items():
        (tmp_path / name).write_text(text)
    fake = FakePrometheus()
    async with serving(fake.answer) as url, client.make_session() as http:
        endpoint = Endpoint(
            name="main",
            url=url,
            headers=(("X-Scope-OrgID", "research"),),
            secret_headers=(("X-Key", "header-1"),),
            folder=tmp_path,
        )
        asked = client.PrometheusClient(http, endpoint)
        await asked.samples('x{prorl_job="demo"}[5m]', NOW)
        (tmp_path / "header-1").write_text("another")
        await asked.samples('x{prorl_job="demo"}[5m]', NOW)
    first, second = (headers for _, _, headers in fake.asked)
    assert first.get("Authorization") == wanted
    assert (first["X-Scope-OrgID"], first["X-Key"], second["X-Key"]) == ("research", "key", "another")


async def test_credentials_that_cannot_be_used_are_a_reason_without_the_secret(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("two\nlines")
    fault = await fault_from(FakePrometheus().answer, folder=tmp_path)
    assert fault.reason is R.UNAUTHORIZED
    assert "token" in fault.message
    assert "lines" not in fault.message.replace("more than one line", "")


ENDPOINTS = Endpoints(
    named={
        "main": Endpoint(name="main", url="http://p:9090"),
        "theirs": Endpoint(name="theirs", url="http://q:9090", namespaces=("team-b",)),
    },
    allowed_urls=("http://r:9090",),
)


@pytest.mark.parametrize(
    ("monitoring", "found"),
    [
        ({"prometheus": "main"}, "http://p:9090"),
        ({"prometheus": "nosuch"}, R.UNKNOWN_PROMETHEUS),
        ({"prometheus": "theirs"}, R.UNKNOWN_PROMETHEUS),
        ({"prometheusUrl": "http://r:9090"}, "http://r:9090"),
        ({"prometheusUrl": "http://r:9090/"}, "http://r:9090"),
        ({"prometheusUrl": "http://r:9090/more"}, R.URL_NOT_ALLOWED),
        ({"prometheusUrl": "http://r:90900"}, R.URL_NOT_ALLOWED),
        ({"prometheusUrl": "http://169.254.169.254"}, R.URL_NOT_ALLOWED),
        ({"prometheusUrl": "http://p:9090"}, R.URL_NOT_ALLOWED),
    ],
)
def test_a_job_is_read_only_from_where_the_installation_allows(monitoring: dict[str, str], found: object) -> None:
    chosen = ENDPOINTS.of(MonitoringSpec.model_validate(monitoring), "team-a")
    if isinstance(chosen, SignalFault):
        assert chosen.reason is found
        assert "spec.monitoring.prometheus" in chosen.message
        assert "http://p:9090" not in chosen.message or monitoring.get("prometheusUrl") == "http://p:9090"
        assert "theirs" not in chosen.message or monitoring.get("prometheus") == "theirs"
    else:
        assert chosen.url == found


def test_the_chart_s_variable_becomes_endpoints() -> None:
    text = json.dumps(
        {
            "interval": "15s",
            "allowedUrls": ["http://r:9090/"],
            "endpoints": [
                {
                    "name": "main",
                    "url": "http://p:9090/",
                    "interval": "1m30s",
                    "namespaces": ["a"],
                    "headers": [{"name": "X", "value": "y"}, {"name": "Z", "file": "header-1"}],
                    "folder": "/etc/prorl-prometheus/main",
                }
            ],
        }
    )
    faults: list[Fault] = []
    found = endpoints_of(text, faults)
    assert faults == []
    assert found.allowed_urls == ("http://r:9090",)
    assert found.named["main"] == Endpoint(
        name="main",
        url="http://p:9090",
        interval=90.0,
        namespaces=("a",),
        headers=(("X", "y"),),
        secret_headers=(("Z", "header-1"),),
        folder=Path("/etc/prorl-prometheus/main"),
    )
    assert endpoints_of("", faults) == Endpoints()


@pytest.mark.parametrize("text", ["{", "[]", "7", '{"endpoints": [{}]}', '{"interval": "soon"}', '{"endpoints": 7}'])
def test_a_variable_that_cannot_be_read_is_a_fault(text: str) -> None:
    faults: list[Fault] = []
    assert endpoints_of(text, faults) == Endpoints()
    assert [fault.path for fault in faults] == [ENV_PROMETHEUS]


@pytest.mark.parametrize(("text", "seconds"), [("15s", 15.0), ("1m30s", 90.0), ("500ms", 0.5), ("2h", 7200.0)])
def test_durations_are_read_as_prometheus_writes_them(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


def test_one_round_asks_at_most_once_for_each_hundred_jobs_even_where_all_want_history() -> None:
    signals = [JobSignals(make_wanted(f"job-{number}")) for number in range(230)]
    for turn in (False, True):
        questions = poller._questions(signals, NOW, is_turn_of_history=turn)
        assert len(questions) == 3
        assert sorted(one.wanted.job for _, together in questions for one in together) == sorted(
            one.wanted.job for one in signals
        )


class StoredResets:
    """Records as they are now."""

    def __init__(self) -> None:
        self.records: list[ResetRecord] = []

    def read(self) -> list[ResetRecord]:
        return self.records


def make_record(condition: ResetCondition, applied_step: int | None = None, message: str = "") -> ResetRecord:
    evidence = Evidence(trigger="kl-spike", metric="kl", rule="", steps=(1,), values=(1.0,), reason="KL is high")
    return ResetRecord(
        name="demo-reset-1",
        number=1,
        uid="u",
        created=NOW,
        attempt=1,
        evidence_step=1,
        evidence=evidence,
        source=ResetSource.CURRENT,
        optimizer=OptimizerAction.CLEAR,
        condition=condition,
        applied_step=applied_step,
        message=message,
    )


def test_each_turn_of_a_reset_is_told_once_and_what_an_operator_finds_is_none() -> None:
    memory, stored = make_memory(), StoredResets()
    memory.resets = stored  # type: ignore[assignment]
    assert events.of_resets(memory) == ()
    told = []
    for record in (
        make_record(ResetCondition.APPROVED),
        make_record(ResetCondition.APPROVED),
        make_record(ResetCondition.APPLIED, 9),
    ):
        stored.records = [record]
        told.append([event.message for event in events.of_resets(memory)])
    assert told == [
        ["demo-reset-1 approved [kl-spike: KL is high]"],
        [],
        ["demo-reset-1 applied at step 9 [kl-spike: KL is high]"],
    ]
    stored.records = [make_record(ResetCondition.EXPIRED, message="too late")]
    assert "expired: too late" in events.of_resets(memory)[0].message
    begun_again = make_memory()
    begun_again.resets = stored  # type: ignore[assignment]
    assert events.of_resets(begun_again) == ()
