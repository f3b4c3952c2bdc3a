"""Weights on offer: digests, chunks, the share that changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from prorl_api.names import ENV_SHARED_MEMORY_DIR
from prorl_api.wire.base import WeightsId
from prorl_api.wire.rollout import WeightsManifest, WeightsProbe
from prorl_trainer.service import publisher as module
from prorl_trainer.service.publisher import Publisher


def weights(*, changed: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Ten values in two tensors, some of them changed."""
    first, second = torch.arange(6.0).reshape(2, 3), torch.ones(4)
    first.view(-1)[:changed] += 1
    yield "first", first
    yield "second", second


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(ENV_SHARED_MEMORY_DIR, str(tmp_path))
    return tmp_path


def make_publisher() -> Publisher:
    return Publisher(2, "http://learner:1")


@pytest.mark.usefixtures("shared")
def test_the_manifest_describes_the_bytes_that_are_served() -> None:
    published = make_publisher().publish(7, weights())
    (chunk,) = published.manifest.chunks
    data = (published.folder / chunk.file_name).read_bytes()
    assert chunk.num_bytes == len(data)
    assert chunk.sha256 == hashlib.sha256(data).hexdigest()
    assert [(info.name, info.shape, info.dtype) for info in chunk.tensors] == [
        ("first", (2, 3), "float32"),
        ("second", (4,), "float32"),
    ]
    assert published.manifest.weights_id == WeightsId.of_chunks(2, 7, [chunk.sha256])
    assert WeightsManifest.model_validate_json((published.folder / "manifest.json").read_text()) == published.manifest
    stored = load_file(published.folder / chunk.file_name)
    assert all(torch.equal(stored[name], tensor) for name, tensor in weights())


@pytest.mark.usefixtures("shared")
def test_large_weights_are_cut_between_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK_BYTES", 30)
    published = make_publisher().publish(1, weights())
    assert [[info.name for info in chunk.tensors] for chunk in published.manifest.chunks] == [["first"], ["second"]]


@pytest.mark.usefixtures("shared")
def test_the_share_of_changed_values_by_hand() -> None:
    publisher = make_publisher()
    assert publisher.publish(0, weights()).changed_fraction is None
    assert publisher.publish(1, weights(changed=3)).changed_fraction == 3 / 10
    assert publisher.publish(2, weights(changed=3)).changed_fraction == 0.0


@pytest.mark.usefixtures("shared")
def test_a_change_below_the_served_precision_does_not_count() -> None:
    publisher = make_publisher()
    publisher.publish(0, [("w", torch.tensor([1.0, 1.0]).bfloat16())])
    # Next to 1, bfloat16 steps by 2^-7.
    assert publisher.publish(1, [("w", torch.tensor([1.0001, 1.01]).bfloat16())]).changed_fraction == 0.5


@pytest.mark.usefixtures("shared")
def test_every_tensor_is_served_in_its_own_number_format() -> None:
    tensors = {
        "parameter": torch.ones(2, dtype=torch.bfloat16),
        "buffer": torch.ones(2),
        "counts": torch.ones(2, dtype=torch.int64),
    }
    published = make_publisher().publish(0, tensors.items())
    infos = {info.name: info.dtype for chunk in published.manifest.chunks for info in chunk.tensors}
    assert infos == {"parameter": "bfloat16", "buffer": "float32", "counts": "int64"}


@pytest.mark.usefixtures("shared")
def test_the_probe_comes_with_the_weights_and_is_no_part_of_their_id() -> None:
    publisher = make_publisher()
    probe = WeightsProbe(token_ids=[1, 2, 3], logprobs=[-0.5, -2.0], max_distance=0.2)
    plain, probed = publisher.publish(0, weights()), publisher.publish(1, weights(), probe)
    assert (plain.manifest.probe, probed.manifest.probe) == (None, probe)
    assert plain.manifest.weights_id.digest == probed.manifest.weights_id.digest


@pytest.mark.usefixtures("shared")
def test_the_same_weights_have_the_same_digest_and_other_weights_another() -> None:
    publisher = make_publisher()
    digests = [
        publisher.publish(step, weights(changed=n)).manifest.weights_id.digest for step, n in enumerate((0, 0, 1))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_in_shared_memory_the_file_comes_first_and_only_the_newest_stays(shared: Path) -> None:
    publisher = make_publisher()
    first, second = publisher.publish(0, weights()), publisher.publish(1, weights())
    file, http = publisher.sources(second)
    assert (file.kind, file.location) == ("file", str(second.folder))
    assert (http.kind, http.location) == ("http", f"http://learner:1/v1/weights/{second.manifest.weights_id}")
    assert publisher.find(str(second.manifest.weights_id)) is second
    assert publisher.find(str(first.manifest.weights_id)) is None
    publisher.close()
    assert list(shared.iterdir()) == []


def test_over_http_the_version_before_stays_for_those_who_are_pulling_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ENV_SHARED_MEMORY_DIR, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    publisher = make_publisher()
    offers = [publisher.publish(step, weights()) for step in range(3)]
    assert [source.kind for source in publisher.sources(offers[2])] == ["http"]
    assert [publisher.find(str(offer.manifest.weights_id)) is offer for offer in offers] == [False, True, True]
    assert [offer.folder.exists() for offer in offers] == [False, True, True]
