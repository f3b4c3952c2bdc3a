"""Indexes of children follow the API through everything that happens to a watch."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from http_server import serving
from kubernetes.client import ApiClient, Configuration
from operator_builders import make_pod, running

from prorl_operator.health import create_app
from prorl_operator.kube import stream
from prorl_operator.kube.client import ApiError
from prorl_operator.kube.connection import connect
from prorl_operator.kube.stream import PAUSE_SECONDS, ApiStream, GoneError, Kind
from prorl_operator.kube.views import PodView, pod_view
from prorl_operator.telemetry import Telemetry
from prorl_operator.watch import child_watches
from prorl_operator.watch.child_index import ChildIndex
from prorl_operator.watch.child_watches import ChildWatches

PODS = Kind(group="", version="v1", plural="pods", label="prorl.dev/job", namespace="default")
DEMO = ("default", "demo")
Object = dict[str, Any]


def versioned(body: Object, version: int) -> Object:
    return {**body, "metadata": {**body["metadata"], "resourceVersion": str(version)}}


def listing(version: int, *bodies: Object, more: str = "") -> web.Response:
    return web.json_response({"metadata": {"resourceVersion": str(version), "continue": more}, "items": list(bodies)})


def line(kind: str, body: Object) -> bytes:
    return json.dumps({"type": kind, "object": body}).encode() + b"\n"


class FakeApi:
    """Lists and watches of pods, in the order in which they are asked for; then watches that bring nothing."""

    def __init__(self, *answers: web.Response | Sequence[bytes] | None) -> None:
        """Answers: a response, the parts in which a watch arrives, or None: a watch that brings nothing."""
        self.answers = list(answers)
        self.asked: list[dict[str, str]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if not request.path.endswith("/pods"):
            return listing(1) if "watch" not in request.query else await self._stream(request, None)
        self.asked.append(dict(request.query))
        answer = self.answers.pop(0) if self.answers else None
        return answer if isinstance(answer, web.Response) else await self._stream(request, answer)

    async def _stream(self, request: web.Request, parts: Sequence[bytes] | None) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for part in parts or ():
            await response.write(part)
            await asyncio.sleep(0.01)
        if parts is None:
            await asyncio.sleep(60)
        return response


@asynccontextmanager
async def streaming(api: FakeApi) -> AsyncIterator[ApiStream]:
    async with serving(api.answer) as url, connect(ApiClient(Configuration(host=url))) as connection:
        yield ApiStream(connection)


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(1500):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError("it did not come")


async def follow(api: FakeApi, check: Callable[[ChildWatches, list[Any]], Awaitable[None]]) -> None:
    """Have the pods of one namespace watched while `check` runs."""
    told: list[Any] = []
    watches = ChildWatches(("default",), Telemetry(), told.append)
    async with streaming(api) as stream:
        tasks = watches.start(stream)
        try:
            await watches.wait_until_filled()
            await check(watches, told)
        finally:
            for task in tasks:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks)


def names(watches: ChildWatches) -> list[str]:
    return [pod.name for pod in watches.indexes["pods"].of(DEMO)]


def test_a_list_comes_in_pages_and_only_what_views_read_of_it_is_decoded() -> None:
    pod = {**make_pod(**running()), "spec": {"containers": [{"image": "x" * 10_000}]}}
    api = FakeApi(listing(7, pod, more="next"), listing(8, make_pod(index=1)))

    async def ask() -> tuple[list[Any], str]:
        async with streaming(api) as stream:
            return await stream.list(PODS)

    bodies, version = asyncio.run(ask())

    assert version == "8"
    assert [pod_view(body) for body in bodies] == [pod_view(pod), pod_view(make_pod(index=1))]
    assert bodies[0]["spec"] == {}
    assert [query.get("continue") for query in api.asked] == [None, "next"]
    assert {query["labelSelector"] for query in api.asked} == {"prorl.dev/job"}


def test_a_watch_is_read_across_chunks_and_the_next_goes_on_where_it_ended() -> None:
    news = line("ADDED", versioned(make_pod(), 5)) + line("MODIFIED", versioned(make_pod(**running()), 6))
    bookmark = line("BOOKMARK", {"metadata": {"resourceVersion": "9"}})
    api = FakeApi(listing(4), [news[:40], news[40:-10], news[-10:] + bookmark])

    async def check(watches: ChildWatches, told: list[Any]) -> None:
        await until(lambda: len(api.asked) == 3)
        assert [pod.is_ready for pod in watches.indexes["pods"].of(DEMO)] == [True]
        assert told == [DEMO, DEMO]

    asyncio.run(follow(api, check))

    assert [query.get("resourceVersion") for query in api.asked] == [None, "4", "9"]


def test_a_burst_of_changes_is_taken_together_however_many_pieces_it_comes_in() -> None:
    pieces = [line("ADDED", versioned(make_pod(index=index), 5 + index)) for index in range(200)]
    api = FakeApi(listing(4), pieces)

    async def check(watches: ChildWatches, _: list[Any]) -> None:
        begun = time.monotonic()
        await until(lambda: len(names(watches)) == len(pieces))
        # They take two seconds and a bit to be sent; one at a time, with a pause after each, they would take twenty.
        assert time.monotonic() - begun < len(pieces) * PAUSE_SECONDS / 2

    asyncio.run(follow(api, check))


class Transport:
    """Of a connection; notes when it is left alone."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.told.append("pause")

    def resume_reading(self) -> None:
        self.told.append("resume")


@pytest.mark.parametrize(("size", "told"), [(1000, ["pause", "resume"]), (100_000, [])])
def test_a_flood_of_changes_is_read_without_pauses(size: int, told: list[str]) -> None:
    transport = Transport()

    async def iter_any() -> AsyncIterator[bytes]:
        yield b"x" * size + b"\n"

    answer = SimpleNamespace(
        content=SimpleNamespace(iter_any=iter_any), connection=SimpleNamespace(transport=transport)
    )

    async def read() -> list[bytes]:
        return [found async for found in stream._lines(cast("Any", answer))]

    assert [len(found) for found in asyncio.run(read())] == [size]
    assert transport.told == told


def test_what_went_while_nobody_watched_is_dropped_and_told() -> None:
    expired = {"code": 410, "message": "too old resource version"}
    kept, lost = make_pod(index=0), make_pod(index=1)
    api = FakeApi(listing(4, kept, lost), [line("ERROR", expired)], listing(20, kept))

    async def check(watches: ChildWatches, told: list[Any]) -> None:
        assert names(watches) == ["demo-learner-1-0", "demo-learner-1-1"]
        told.clear()
        await until(lambda: len(api.asked) == 4)
        assert names(watches) == ["demo-learner-1-0"]
        assert told == [DEMO]

    asyncio.run(follow(api, check))

    assert [query.get("resourceVersion") for query in api.asked] == [None, "4", None, "20"]


def test_a_deleted_object_goes_and_the_last_of_a_job_leaves_nothing() -> None:
    pod = make_pod()
    api = FakeApi(listing(4, pod), [line("DELETED", versioned(pod, 5))])

    async def check(watches: ChildWatches, told: list[Any]) -> None:
        await until(lambda: not names(watches))
        assert told == [DEMO, DEMO]

    asyncio.run(follow(api, check))


@pytest.mark.parametrize(
    "broken", [[b'{"type": "ADDED", "obj'], [b"not json\n"], []], ids=["cut", "nonsense", "at once"]
)
def test_a_broken_watch_begins_again_with_a_list(broken: list[bytes]) -> None:
    api = FakeApi(listing(4), broken, listing(5, make_pod()))

    async def check(watches: ChildWatches, told: list[Any]) -> None:
        await until(lambda: names(watches) == ["demo-learner-1-0"])

    asyncio.run(follow(api, check))


def test_a_refusal_names_the_verb_that_is_missing_and_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    refusal = {"kind": "Status", "code": 403, "message": 'pods is forbidden: User "x" cannot list resource "pods"'}
    api = FakeApi(web.json_response(refusal, status=403), listing(4, make_pod()))

    async def check(watches: ChildWatches, told: list[Any]) -> None:
        assert names(watches) == ["demo-learner-1-0"]

    asyncio.run(follow(api, check))

    assert "the operator's role lacks verb `list` on pods" in caplog.text


def test_the_errors_of_a_watch_are_typed() -> None:
    async def first(parts: Sequence[bytes]) -> None:
        async with streaming(FakeApi(parts)) as stream:
            async for _ in stream.watch(PODS, "4"):
                pass

    with pytest.raises(GoneError, match="too old"):
        asyncio.run(first([line("ERROR", {"code": 410, "message": "too old"})]))
    with pytest.raises(ApiError, match="etcd is slow"):
        asyncio.run(first([line("ERROR", {"code": 500, "message": "etcd is slow", "status": "Failure"})]))


def test_hosts_that_bypass_the_proxy_are_asked_directly() -> None:
    async def ask() -> str:
        async with serving(FakeApi(listing(4)).answer) as url:
            settings = Configuration(host=url, proxy="http://127.0.0.1:9", no_proxy="127.0.0.1")
            async with connect(ApiClient(settings)) as connection:
                return (await ApiStream(connection).list(PODS))[1]

    assert asyncio.run(ask()) == "4"


def test_nulls_are_taken_for_absence() -> None:
    nothing: dict[str, Any] = {"phase": None, "podIP": None, "conditions": None, "containerStatuses": None}
    pod = {**make_pod(**nothing), "spec": None, "data": None}
    page = {"metadata": {"resourceVersion": "4", "continue": None}, "items": None}

    async def ask() -> tuple[Any, Any]:
        async with streaming(FakeApi(listing(3, pod), web.json_response(page))) as stream:
            return (await stream.list(PODS))[0], (await stream.list(PODS))[0]

    (found,), none = asyncio.run(ask())

    assert pod_view(found) == pod_view(make_pod())
    assert none == []


def test_a_watch_that_brings_nothing_any_more_is_given_up_and_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_watches, "SILENCE_SECONDS", 0.3)
    api = FakeApi(listing(4), None, listing(5, make_pod()))

    async def check(watches: ChildWatches, told: list[Any]) -> None:
        await until(lambda: names(watches) == ["demo-learner-1-0"])
        assert told == [DEMO]

    asyncio.run(follow(api, check))


def test_silence_is_counted_from_what_was_heard_last() -> None:
    api = FakeApi(listing(4), [line("ADDED", versioned(make_pod(), 5))])

    async def check(watches: ChildWatches, told: list[Any]) -> None:
        begun = time.monotonic()
        await until(lambda: len(api.asked) == 3)
        await asyncio.sleep(0.2)
        assert 0.2 <= watches.silent_seconds <= time.monotonic() - begun + 1.0

    asyncio.run(follow(api, check))


@pytest.mark.parametrize(("silent", "status"), [(299.0, 200), (301.0, 503)])
def test_the_process_is_sick_when_children_are_not_watched(silent: float, status: int) -> None:
    watches = SimpleNamespace(last_event=time.monotonic())
    app = create_app(cast("Any", watches), cast("Any", SimpleNamespace(silent_seconds=silent)), Telemetry(), bool)

    async def ask() -> tuple[int, str]:
        async with TestClient(TestServer(app)) as client:
            answer = await client.get("/healthz")
            metrics = await (await client.get("/metrics")).text()
            assert f"prorl_operator_children_age_seconds {silent}" in metrics
            return answer.status, await answer.text()

    found, text = asyncio.run(ask())

    assert found == status
    assert ("children have not been watched for 301 s" in text) == (status == 503)


class TestChildIndex:
    def test_an_object_that_cannot_be_read_stops_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        index, told = self.make()
        broken = make_pod(conditions=[{"status": "True"}])
        index.put(make_pod())
        index.put(broken)
        index.put(make_pod(index=1))
        assert [pod.index for pod in index.of(DEMO)] == [1]
        assert "default/demo-learner-1-0 cannot be read" in caplog.text
        assert told == [DEMO] * 3

    def make(self) -> tuple[ChildIndex[PodView], list[Any]]:
        told: list[Any] = []
        return ChildIndex(pod_view, told.append), told

    def test_a_change_that_no_view_shows_is_no_news(self) -> None:
        index, told = self.make()
        index.put(versioned(make_pod(), 1))
        index.put(versioned(make_pod(), 2))
        assert told == [DEMO]

    def test_an_object_that_changes_its_job_leaves_the_old_one(self) -> None:
        index, told = self.make()
        index.put(make_pod())
        moved = make_pod()
        moved["metadata"]["labels"]["prorl.dev/job"] = "other"
        index.put(moved)
        assert index.of(DEMO) == ()
        assert [pod.name for pod in index.of(("default", "other"))] == ["demo-learner-1-0"]
        assert told == [DEMO, DEMO, ("default", "other")]

    def test_an_object_that_loses_its_role_is_dropped(self) -> None:
        index, _ = self.make()
        index.put(make_pod())
        stranger = make_pod()
        del stranger["metadata"]["labels"]["prorl.dev/role"]
        index.put(stranger)
        assert index.of(DEMO) == ()

    def test_the_list_of_one_namespace_leaves_the_others_alone(self) -> None:
        index, _ = self.make()
        elsewhere = make_pod()
        elsewhere["metadata"]["namespace"] = "research"
        index.put(make_pod())
        index.put(elsewhere)
        index.replace("default", [])
        assert index.of(DEMO) == ()
        assert len(index.of(("research", "demo"))) == 1
        index.replace(None, [])
        assert index.of(("research", "demo")) == ()
