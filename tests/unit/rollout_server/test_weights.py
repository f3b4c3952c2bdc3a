"""What a fetcher accepts and refuses, over both kinds of source."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from prorl_api.errors import TransientError, WeightsError
from prorl_api.process.addresses import base_url_origin
from prorl_api.wire.base import WeightsId
from prorl_api.wire.rollout import WeightChunk, WeightsManifest, WeightSource
from prorl_rollout_server.scratch import Scratch
from prorl_rollout_server.weights import WeightsFetcher
from tests.raw_words import RAW

CONTENTS = [b"first chunk", b"second"]


def make_manifest(contents: list[bytes] = CONTENTS, step: int = 3) -> WeightsManifest:
    digests = [hashlib.sha256(content).hexdigest() for content in contents]
    chunks = tuple(
        WeightChunk(file_name=f"{index}.safetensors", num_bytes=len(content), sha256=digest, tensors=())
        for index, (content, digest) in enumerate(zip(contents, digests, strict=True))
    )
    return WeightsManifest(weights_id=WeightsId.of_chunks(1, step, digests), chunks=chunks)


def publish(folder: Path, manifest: WeightsManifest, contents: list[bytes]) -> WeightSource:
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    for chunk, content in zip(manifest.chunks, contents, strict=True):
        (folder / chunk.file_name).write_bytes(content)
    return WeightSource(kind="file", location=str(folder))


class Origin:
    """Serves a manifest and chunks, as the learner does."""

    def __init__(self, manifest: WeightsManifest, contents: list[bytes]) -> None:
        self.manifest = manifest
        self.contents = contents
        self.source = WeightSource(kind="http", location="http://learner/w")

    def __call__(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.removeprefix("/w/")
        if name == "manifest":
            return httpx.Response(200, text=self.manifest.model_dump_json())
        index = int(name.removeprefix("chunks/"))
        return httpx.Response(200, content=self.contents[index]) if index < len(self.contents) else httpx.Response(404)


@pytest.fixture
def origin() -> Origin:
    return Origin(make_manifest(), list(CONTENTS))


@pytest.fixture
async def fetcher(origin: Origin, tmp_path: Path) -> AsyncIterator[WeightsFetcher]:
    temporary, shared = tmp_path / "tmp", tmp_path / "shm"
    temporary.mkdir()
    shared.mkdir()
    async with httpx.AsyncClient(transport=httpx.MockTransport(origin)) as http:
        yield WeightsFetcher(http, Scratch(temporary, shared))


async def test_chunks_come_whole_over_http_and_are_removed_afterwards(fetcher: WeightsFetcher, origin: Origin) -> None:
    async with fetcher.fetched(origin.manifest.weights_id, origin.source) as fetched:
        assert [file.read_bytes() for file in fetched.files] == CONTENTS
    assert not any(file.exists() for file in fetched.files)


async def test_files_are_read_in_place(fetcher: WeightsFetcher, tmp_path: Path) -> None:
    manifest = make_manifest()
    source = publish(tmp_path, manifest, CONTENTS)
    async with fetcher.fetched(manifest.weights_id, source) as fetched:
        assert [file.parent for file in fetched.files] == [tmp_path, tmp_path]
    assert all(file.exists() for file in fetched.files)


@pytest.mark.parametrize("wrong", [b"first chunK", b"first chun", b"first chunk and more"])
async def test_other_bytes_than_announced_are_refused(fetcher: WeightsFetcher, origin: Origin, wrong: bytes) -> None:
    origin.contents[0] = wrong
    with pytest.raises(WeightsError):
        async with fetcher.fetched(origin.manifest.weights_id, origin.source):
            pass


async def test_weights_of_another_step_are_refused(fetcher: WeightsFetcher, origin: Origin) -> None:
    with pytest.raises(WeightsError, match="holds weights"):
        async with fetcher.fetched(make_manifest(step=4).weights_id, origin.source):
            pass


async def test_a_manifest_that_is_none_is_told_of_in_our_words(fetcher: WeightsFetcher, tmp_path: Path) -> None:
    source = publish(tmp_path, make_manifest(), CONTENTS)
    for content in ("{", "[]", '{"weights_id": 3}'):
        (tmp_path / "manifest.json").write_text(content)
        with pytest.raises(WeightsError, match="is none") as caught:
            async with fetcher.fetched(make_manifest().weights_id, source):
                pass
        assert not RAW.search(str(caught.value))


async def test_chunks_that_do_not_make_the_id_are_refused(fetcher: WeightsFetcher, tmp_path: Path) -> None:
    other = make_manifest([b"x", b"y"])
    lying = WeightsManifest(weights_id=make_manifest().weights_id, chunks=other.chunks)
    source = publish(tmp_path, lying, [b"x", b"y"])
    with pytest.raises(WeightsError, match="make weights"):
        async with fetcher.fetched(lying.weights_id, source):
            pass


async def test_a_source_that_is_gone_may_come_back(fetcher: WeightsFetcher, origin: Origin, tmp_path: Path) -> None:
    wanted = origin.manifest.weights_id
    origin.contents.pop()
    for source in (origin.source, WeightSource(kind="file", location=str(tmp_path / "nowhere"))):
        with pytest.raises(TransientError):
            async with fetcher.fetched(wanted, source):
                pass


class Host:
    """Offers weights wherever it is asked, and remembers who was presented a token."""

    def __init__(self) -> None:
        self.inner = Origin(make_manifest(), list(CONTENTS))
        self.tokens: dict[str, str | None] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.tokens[f"{request.url.host}:{request.url.port}"] = request.headers.get("Authorization")
        return self.inner(request)


@pytest.mark.parametrize(
    ("location", "is_learner"),
    [
        ("http://learner:8000/w", True),
        ("http://LEARNER:8000/w", True),
        ("http://learner:8001/w", False),
        ("https://learner:8000/w", False),
        ("http://learner.evil.example:8000/w", False),
        ("http://10.0.0.9:8000/w", False),
    ],
)
async def test_the_learner_s_token_is_for_the_learner_alone(
    location: str, is_learner: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRORL_TOKEN_LEARNER", "secret")
    host = Host()
    source = WeightSource(kind="http", location=location)
    async with httpx.AsyncClient(transport=httpx.MockTransport(host)) as http:
        fetcher = WeightsFetcher(http, Scratch(tmp_path), base_url_origin("http://learner:8000"))
        async with fetcher.fetched(host.inner.manifest.weights_id, source) as fetched:
            assert [file.read_bytes() for file in fetched.files] == CONTENTS
    assert set(host.tokens.values()) == ({"Bearer secret"} if is_learner else {None})


@pytest.mark.parametrize(
    "location",
    [
        "http://learner:8000@10.0.0.9/w",
        "http://user:password@learner:8000/w",
        "http://10.0.0.9\\@learner:8000/w",
        "nowhere",
    ],
)
async def test_a_source_that_could_be_read_in_two_ways_is_not_asked(location: str, tmp_path: Path) -> None:
    host = Host()
    source = WeightSource(kind="http", location=location)
    async with httpx.AsyncClient(transport=httpx.MockTransport(host)) as http:
        fetcher = WeightsFetcher(http, Scratch(tmp_path), base_url_origin("http://learner:8000"))
        with pytest.raises(WeightsError):
            async with fetcher.fetched(host.inner.manifest.weights_id, source):
                pass
    assert host.tokens == {}


async def test_a_manifest_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 256:
            sent += 1
            yield b" " * 2**20

    async with httpx.AsyncClient(
        transport=httpx.MockTransport(lambda _: httpx.Response(200, content=endless()))
    ) as http:
        fetcher = WeightsFetcher(http, Scratch(tmp_path))
        with pytest.raises(WeightsError, match="of a manifest"):
            async with fetcher.fetched(
                make_manifest().weights_id, WeightSource(kind="http", location="http://learner:1/w")
            ):
                pass
    assert sent < 80
