"""Where attention in linear memory is not the model's own, the learner takes dense masks; it never trains wrong."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from prorl_api.errors import SpecError
from prorl_trainer.engines.attention.kernels import FlashOnCpu, Part
from prorl_trainer.engines.build import build_engine
from prorl_trainer.engines.masks import Way
from prorl_trainer.engines.packed_policy import PackedPolicy
from prorl_trainer.engines.prefix import Prefix
from tests.integration.engine_kit import (
    ALGORITHM,
    CPU,
    RATE,
    assert_sums_agree,
    learner_spec,
    make_batch,
    make_engine,
)
from tests.integration.tiny_model import write_model

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"), tokenizer=False)


@pytest.fixture
def broken_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fused kernel that has changed its mind about causality, as another version of it might."""
    right = FlashOnCpu.forward

    def wrong(
        self: FlashOnCpu, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool
    ) -> Part:
        return right(self, query, key, value, mask, False)

    monkeypatch.setattr(FlashOnCpu, "forward", wrong)


@pytest.mark.usefixtures("broken_kernel")
@pytest.mark.parametrize("with_reference", [True, False])
def test_a_kernel_that_attends_wrongly_is_found_out_and_not_used(
    model: Path, with_reference: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The reference, too, also if it is built later."""
    with caplog.at_level(logging.WARNING):
        engine = build_engine(str(model), learner_spec(), CPU, None, with_reference=with_reference)
    assert [record.attention for record in caplog.records if hasattr(record, "attention")] == ["segments"]
    assert engine._backend.policy.family.masks.way is Way.DENSE
    reference = engine._asked_reference().module
    assert reference.family.masks.way is Way.DENSE
    assert reference.model.config._attn_implementation == reference.family.attention


def test_it_trains_the_same_by_dense_masks(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps, and the same two by the kernel that is right."""

    def two_steps(engine: Any) -> list[dict[str, float]]:
        engine.prepare(make_batch(1))
        return [engine.update(index, ALGORITHM, RATE) for index in range(2)]

    by_segments = two_steps(make_engine(model))
    right = FlashOnCpu.forward
    monkeypatch.setattr(FlashOnCpu, "forward", lambda self, q, k, v, mask, is_causal: right(self, q, k, v, mask, False))
    dense = make_engine(model)
    assert dense._backend.policy.family.masks.way is Way.DENSE
    assert_sums_agree(two_steps(dense), by_segments, relative=1e-4)


@pytest.mark.usefixtures("broken_kernel")
def test_where_dense_masks_are_wrong_too_nothing_is_trained(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other_model(self: PackedPolicy, ids: Tensor, temperature: float) -> Tensor:
        return torch.full((len(ids) - 1,), -1.0 / temperature)

    monkeypatch.setattr(PackedPolicy, "plain_logprobs", other_model)
    with pytest.raises(SpecError, match="differ from the model's own by"):
        make_engine(model)


def test_prompts_are_repeated_where_a_prefix_is_not_the_models_own(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As if a layer changed its keys after it has attended to them."""
    assert make_engine(model).continues_prefixes
    right = Prefix.before

    def wrong(self: Prefix, layer: torch.nn.Module, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = right(self, layer, key, value)
        return keys.roll(1, 2), values

    monkeypatch.setattr(Prefix, "before", wrong)
    with caplog.at_level(logging.WARNING):
        engine = make_engine(model)
    (reason,) = [record.reason for record in caplog.records if hasattr(record, "reason")]
    assert "packed log-probabilities differ from the model's own" in reason
    assert engine._backend.policy.family.masks.way is Way.SEGMENTS
    assert not engine.continues_prefixes
