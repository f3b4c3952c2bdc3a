"""Weights for the rollout servers: written once as safetensors chunks, offered as files and over HTTP.

On one machine the chunks lie in shared memory and are read in place; elsewhere they are pulled in chunks with
digests, and the last two versions stay, so that a server that is just pulling the older one is not cut off.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from prorl_api.names import ENV_SHARED_MEMORY_DIR
from prorl_api.wire.base import WeightsId
from prorl_api.wire.rollout import TensorInfo, WeightChunk, WeightsManifest, WeightSource, WeightsProbe
from prorl_trainer.engines.weight_files import write_weights
from prorl_trainer.storage.durable import explained

_CHUNK_BYTES = 128 * 2**20
"""To write a chunk takes its size again in memory, to load one as much at the rollout server."""
_THREADS = max(2, min(4, (os.cpu_count() or 1) // 2))
"""Chunks written at once, each of which takes memory: two save a third of the time on two cores."""
_KEPT_FOR_HTTP = 2
_DTYPE_NAMES = {
    torch.float32: "float32",
    torch.bfloat16: "bfloat16",
    torch.float16: "float16",
    torch.int64: "int64",
    torch.int32: "int32",
    torch.bool: "bool",
}

_Chunk = tuple[int, dict[str, Tensor]]
_Written = tuple[WeightChunk, int, int]


@dataclass(frozen=True, slots=True)
class Published:
    """One set of weights on offer."""

    manifest: WeightsManifest
    folder: Path
    changed_fraction: float | None
    """Share of served values that differ from the publish before; None at the first."""


class Publisher:
    """Writes chunks and knows where they are."""

    def __init__(self, attempt: int, base_url: str) -> None:
        """Publish under shared memory if a folder there was given, else under the temporary folder.

        Args:
            attempt: Of the learner; part of every weights id.
            base_url: The learner's own URL as rollout servers reach it.
        """
        self._attempt = attempt
        self._base_url = base_url
        shared = os.environ.get(ENV_SHARED_MEMORY_DIR)
        self._is_shared = shared is not None
        if shared is not None:  # the run's own folder: what killed attempts left there only takes memory
            for leftover in Path(shared).glob("weights-*"):
                shutil.rmtree(leftover, ignore_errors=True)
        self._root = Path(tempfile.mkdtemp(prefix=f"weights-{attempt}-", dir=shared))
        self._published: list[Published] = []

    def publish(self, step: int, weights: Iterable[tuple[str, Tensor]], probe: WeightsProbe | None = None) -> Published:
        """Write the weights after training step `step`, with what an engine must make of them.

        Raises:
            CheckpointError: There is no room for them.
        """
        folder = self._root / f"step-{step}"
        with explained(folder):
            return self._publish(step, weights, probe, folder)

    def _publish(
        self, step: int, weights: Iterable[tuple[str, Tensor]], probe: WeightsProbe | None, folder: Path
    ) -> Published:
        target = folder.with_name(folder.name + ".partial")
        shutil.rmtree(target, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        target.mkdir()
        previous = self._published[-1].folder if self._published else None
        written = list(_in_threads(partial(_write_chunk, target, previous), _chunked(weights)))
        chunks = tuple(chunk for chunk, _, _ in written)
        changed, total = sum(changed for _, changed, _ in written), sum(count for _, _, count in written)
        weights_id = WeightsId.of_chunks(self._attempt, step, [chunk.sha256 for chunk in chunks])
        manifest = WeightsManifest(weights_id=weights_id, chunks=chunks, probe=probe)
        (target / "manifest.json").write_text(manifest.model_dump_json(), encoding="utf-8")
        target.rename(folder)
        published = Published(manifest, folder, changed / total if previous and total else None)
        self._published.append(published)
        # A file in shared memory stays readable for whoever has it open; over HTTP the next chunk must still be there.
        while len(self._published) > (1 if self._is_shared else _KEPT_FOR_HTTP):
            shutil.rmtree(self._published.pop(0).folder, ignore_errors=True)
        return published

    def sources(self, published: Published) -> tuple[WeightSource, ...]:
        """Say where servers can get it: the file first where they share the memory."""
        http = WeightSource(kind="http", location=f"{self._base_url}/v1/weights/{published.manifest.weights_id}")
        if self._is_shared:
            return (WeightSource(kind="file", location=str(published.folder)), http)
        return (http,)

    def find(self, weights_id: str) -> Published | None:
        """Find what is on offer under an id, in its text form."""
        return next((item for item in self._published if str(item.manifest.weights_id) == weights_id), None)

    def close(self) -> None:
        """Remove everything that was published."""
        shutil.rmtree(self._root, ignore_errors=True)


def _in_threads(write: Callable[[_Chunk], _Written], chunks: Iterable[dict[str, Tensor]]) -> Iterator[_Written]:
    """Write chunks at the same time, in their order. Each that is being written is held once, and no other."""
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="publish") as pool:
        waiting: deque[Future[_Written]] = deque()
        index = 0
        for tensors in chunks:
            waiting.append(pool.submit(write, (index, tensors)))
            index += 1  # noqa: SIM113 - enumerate keeps its last pair, and so the chunk, until it has the next one
            del tensors
            if len(waiting) == _THREADS:
                yield waiting.popleft().result()
        for future in waiting:
            yield future.result()


def _write_chunk(folder: Path, previous: Path | None, chunk: _Chunk) -> _Written:
    """Write one chunk; return it, how many of its values differ from `previous` (0 without), and how many it has."""
    index, tensors = chunk
    name = f"chunk-{index:05d}.safetensors"
    digest = write_weights(folder / name, tensors.items())
    changed = _count_changed(previous / name, tensors) if previous else 0
    return _describe(folder / name, digest, tensors), changed, sum(tensor.numel() for tensor in tensors.values())


def _chunked(weights: Iterable[tuple[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    chunk: dict[str, Tensor] = {}
    size = 0
    for name, tensor in weights:
        served = tensor.detach().to("cpu")
        num_bytes = served.numel() * served.element_size()
        if chunk and size + num_bytes > _CHUNK_BYTES:
            yield chunk
            chunk, size = {}, 0
        chunk[name] = served
        size += num_bytes
    if chunk:
        yield chunk


def _describe(file: Path, digest: str, tensors: dict[str, Tensor]) -> WeightChunk:
    infos = tuple(
        TensorInfo.model_validate({"name": name, "shape": tuple(tensor.shape), "dtype": _DTYPE_NAMES[tensor.dtype]})
        for name, tensor in tensors.items()
    )
    return WeightChunk(file_name=file.name, num_bytes=file.stat().st_size, sha256=digest, tensors=infos)


def _count_changed(previous: Path, tensors: dict[str, Tensor]) -> int:
    """Return how many values differ. Counted by NumPy: PyTorch takes eight times as long to sum truth values."""
    with safe_open(previous, framework="pt") as stored:
        return sum(
            int(np.count_nonzero((stored.get_tensor(name) != tensor).numpy())) for name, tensor in tensors.items()
        )
