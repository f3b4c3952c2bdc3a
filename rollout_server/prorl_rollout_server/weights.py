"""Brings one set of weights to where the engine can read it, and proves that it is what was announced.

Nothing here touches the engine: what fails here leaves the weights that are served as they are.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx
from pydantic import ValidationError

from prorl_api.errors import TransientError, WeightsError
from prorl_api.process.addresses import AddressError, Origin
from prorl_api.process.tokens import bearer_headers
from prorl_api.wire.base import WeightsId
from prorl_api.wire.rollout import WeightChunk, WeightsManifest, WeightSource, WeightsProbe
from prorl_api.wording import reason_of
from prorl_rollout_server.scratch import Scratch

MANIFEST_NAME = "manifest.json"
_MAX_MANIFEST_BYTES = 64 * 2**20
PARALLEL_CHUNKS = 4
"""Chunks in flight at once: one connection seldom fills a fast network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedWeights:
    """Checked safetensors files, readable until the context they came from ends."""

    files: tuple[Path, ...]
    num_bytes: int
    source_kind: Literal["http", "file"]
    probe: WeightsProbe | None
    """What the engine must make of them."""


class WeightsFetcher:
    """Fetches from the first source that has the wanted weights whole."""

    def __init__(self, http: httpx.AsyncClient, scratch: Scratch, learner: Origin | None = None) -> None:
        """`learner`: whose token may be presented there, and nowhere else; None: nobody's."""
        self._http = http
        self._scratch = scratch
        self._learner = learner

    @asynccontextmanager
    async def fetched(self, weights_id: WeightsId, source: WeightSource) -> AsyncIterator[FetchedWeights]:
        """Fetch the weights from one source.

        Raises:
            WeightsError: What the source has is not what its id says.
            TransientError: The source cannot be read now.
        """
        if source.kind == "file":
            folder = Path(source.location)
            manifest = _manifest(await _read(folder / MANIFEST_NAME), weights_id, source)
            yield await _checked(manifest, folder, source)
            return
        manifest = _manifest(await self._get(f"{source.location}/manifest"), weights_id, source)
        with self._scratch.folder_for(manifest.num_bytes) as folder:
            room = asyncio.Semaphore(PARALLEL_CHUNKS)
            try:
                async with asyncio.TaskGroup() as downloads:
                    for index, chunk in enumerate(manifest.chunks):
                        url = f"{source.location}/chunks/{index}"
                        downloads.create_task(self._download(url, folder / chunk.file_name, chunk, room))
            except ExceptionGroup as errors:
                raise errors.exceptions[0] from errors
            yield await _checked(manifest, folder, source)

    async def _get(self, url: str) -> bytes:
        content = bytearray()
        try:
            async with self._http.stream("GET", url, headers=self._headers(url)) as response:
                _plain(response)
                async for block in response.aiter_bytes():
                    content += block
                    if len(content) > _MAX_MANIFEST_BYTES:
                        raise WeightsError(f"{url} sends more than the {_MAX_MANIFEST_BYTES} bytes of a manifest")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise TransientError(f"GET {url}: {type(error).__name__} {error}") from error
        return bytes(content)

    def _headers(self, url: str) -> dict[str, str]:
        """Return the learner's token for the learner that this server was told of.

        Who else offers weights gets no token.

        Raises:
            WeightsError: It is no plain URL.
        """
        try:
            is_learner = Origin.of(url) == self._learner
        except AddressError as error:
            raise WeightsError(str(error)) from error
        return {"Accept-Encoding": "identity", **(bearer_headers("learner") if is_learner else {})}

    async def _download(self, url: str, path: Path, chunk: WeightChunk, room: asyncio.Semaphore) -> None:
        try:
            async with room, self._http.stream("GET", url, headers=self._headers(url)) as response:
                _plain(response)
                with path.open("wb") as file:  # into shared memory: a copy, no waiting
                    written = 0
                    async for block in response.aiter_bytes(2**20):
                        written += len(block)
                        if written > chunk.num_bytes:
                            raise WeightsError(f"{url} sends more than the announced {chunk.num_bytes} bytes")
                        file.write(block)
        except (httpx.HTTPError, OSError) as error:
            raise TransientError(f"GET {url}: {type(error).__name__} {error}") from error


def _plain(response: httpx.Response) -> None:
    """Raise for an answer that is an error, or packed: it could unpack to any size, and weights are dense anyway."""
    response.raise_for_status()
    if (packing := response.headers.get("Content-Encoding", "identity")) != "identity":
        raise WeightsError(f"{response.url} sends a body that is packed ({packing[:20]}), wanted it plain")


async def _read(path: Path) -> bytes:
    try:
        return await asyncio.to_thread(path.read_bytes)
    except OSError as error:
        raise TransientError(f"cannot read {path}: {error.strerror}") from error


def _manifest(content: bytes, wanted: WeightsId, source: WeightSource) -> WeightsManifest:
    try:
        manifest = WeightsManifest.model_validate_json(content)
    except ValidationError as error:
        raise WeightsError(f"the manifest at {source.location} is none: {reason_of(error)}") from error
    got = manifest.weights_id
    if got != wanted:
        raise WeightsError(f"{source.location} holds weights {got}, wanted {wanted}")
    computed = WeightsId.of_chunks(got.attempt, got.step, [chunk.sha256 for chunk in manifest.chunks])
    if computed != wanted:
        raise WeightsError(f"the chunks listed at {source.location} make weights {computed}, announced as {wanted}")
    return manifest


async def _checked(manifest: WeightsManifest, folder: Path, source: WeightSource) -> FetchedWeights:
    """Read every chunk once and compare it with the manifest, some at once: hashing holds no interpreter lock."""
    room = asyncio.Semaphore(PARALLEL_CHUNKS)

    async def check(chunk: WeightChunk) -> Path:
        path = folder / chunk.file_name
        async with room:
            try:
                num_bytes, digest = await asyncio.to_thread(_size_and_digest, path)
            except OSError as error:
                raise TransientError(f"cannot read {path}: {error.strerror}") from error
        if (num_bytes, digest) != (chunk.num_bytes, chunk.sha256):
            raise WeightsError(
                f"chunk {chunk.file_name} from {source.location} has {num_bytes} bytes with digest {digest[:16]}, "
                f"announced were {chunk.num_bytes} with {chunk.sha256[:16]}"
            )
        return path

    try:
        async with asyncio.TaskGroup() as group:
            checks = [group.create_task(check(chunk)) for chunk in manifest.chunks]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    files = tuple(task.result() for task in checks)
    return FetchedWeights(files=files, num_bytes=manifest.num_bytes, source_kind=source.kind, probe=manifest.probe)


def _size_and_digest(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), digest
