"""The forecast's bytes against those of the engines' tensors, and of what waits for a backward pass."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from prorl_api.manifest import validate_job
from prorl_api.model.config import ModelConfig
from prorl_control.forecast.memory import ModelSize, rank_memory
from prorl_trainer.engines.gated_blocks import keep_products_alone
from tests.integration.engine_kit import ALGORITHM, RATE, WIDE, learner_spec, make_batch, make_engine, world_of_one
from tests.integration.tiny_model import write_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.distributed.* is deprecated:FutureWarning"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("wide"), tokenizer=False, tie_word_embeddings=False, **WIDE)


@pytest.fixture(scope="module", autouse=True)
def world() -> Iterator[None]:
    with world_of_one():
        yield


def storages() -> dict[int, int]:
    """Bytes of every tensor's memory that Python knows of, by its address."""
    gc.collect()
    tensors = [thing for thing in gc.get_objects() if issubclass(type(thing), Tensor) and thing.device.type == "cpu"]
    tensors += [tensor.grad for tensor in tensors if tensor.is_leaf and tensor.grad is not None]
    return {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("engine", ["plain", "deepspeed"])
def test_state_and_reference_are_what_the_engines_tensors_take(model: Path, engine: str, precision: str) -> None:
    """At the moment with the most of them: gradients are summed, and the optimizer has its moments."""
    before, seen = storages(), dict[int, int]()
    built = make_engine(model, learner_spec(engine, precision=precision))
    backend: Any = built._backend
    step = backend.step

    def look(rate: float) -> float:
        seen.clear()
        seen.update(storages())
        norm: float = step(rate)
        return norm

    backend.step = look
    built.prepare(make_batch(1))
    for index in range(2):  # the second one: the first makes the moments
        built.update(index, ALGORITHM, RATE)
    size = ModelSize(parameters=sum(tensor.numel() for _, tensor in built.weights()))
    spec = job_spec({"engine": engine, "precision": precision})
    rank = rank_memory(spec, size, 0, on_gpu=False)
    taken = sum(size for address, size in seen.items() if address not in before)
    assert taken == pytest.approx(rank.state + rank.reference, rel=0.05)


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_activations_are_what_waits_for_the_backward_pass(precision: str, dtype: torch.dtype) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    settings: dict[str, Any] = {
        "vocab_size": 64, "hidden_size": 128, "intermediate_size": 320, "num_attention_heads": 8,
        "num_key_value_heads": 2, "num_hidden_layers": 3, "max_position_embeddings": 512,
    }  # fmt: skip
    config = AutoConfig.for_model("llama", **settings)
    config._attn_implementation = "sdpa"
    decoder = AutoModelForCausalLM.from_config(config, dtype=dtype).model
    assert len(keep_products_alone(decoder)) == settings["num_hidden_layers"]
    weights = {parameter.untyped_storage().data_ptr() for parameter in decoder.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    positions = 256
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        decoder(input_ids=torch.zeros(1, positions, dtype=torch.int64), use_cache=False)
    taken = sum(tensor.untyped_storage().nbytes() for address, tensor in kept.items() if address not in weights)
    size = ModelSize(parameters=1, config=ModelConfig({"model_type": "llama", **settings}))
    forecast = rank_memory(job_spec({"engine": "plain", "precision": precision}), size, positions, on_gpu=False)
    head = 8 * positions * settings["vocab_size"]
    again = 2 * dtype.itemsize * positions * settings["intermediate_size"]
    assert forecast.activations is not None
    assert taken == pytest.approx(forecast.activations - head - again, rel=0.1)


def job_spec(learner: dict[str, Any]) -> Any:
    source = {"name": "sums", "domain": "logic", "reasoningGym": {"tasks": [{"name": "chain_sum"}]}}
    return validate_job(
        {
            "apiVersion": "prorl.dev/v1alpha1",
            "kind": "ProRLJob",
            "metadata": {"name": "demo"},
            "spec": {"model": {"path": "./model"}, "data": {"sources": [source]}, "learner": learner},
        }
    ).spec
