"""What is published has the names, shapes and values of a checkpoint: `save_pretrained` is the independent writer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from prorl_api.spec.roles import LearnerSpec
from prorl_trainer.engines.build import build_engine
from prorl_trainer.engines.checkpoint_form import in_checkpoint_form
from tests.integration.model_families import FAMILIES, make_config, write_family
from tests.integration.tiny_model import write_model

OTHER_FAMILIES: dict[str, dict[str, Any]] = {
    # Fused otherwise, fused in the checkpoint itself, or renamed: none of them is served wrongly for want of a test.
    "olmoe": {"model_type": "olmoe", "num_experts": 4, "num_experts_per_tok": 2},
    "granite-moe": {"model_type": "granitemoe", "num_local_experts": 4, "num_experts_per_tok": 2},
    "ernie-moe": {"model_type": "ernie4_5_moe", "moe_num_experts": 4, "moe_intermediate_size": 64},
    "gpt2": {"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 2},
    "gpt-neox": {"model_type": "gpt_neox"},
    "phi3": {"model_type": "phi3", "pad_token_id": 0},
    "llama4": {"model_type": "llama4_text", "num_local_experts": 4, "intermediate_size_mlp": 64},
}


def make_model(family: str) -> Any:
    from transformers import AutoModelForCausalLM

    torch.manual_seed(3)
    config = make_config((FAMILIES | OTHER_FAMILIES)[family])
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def assert_equal(got: dict[str, torch.Tensor], want: dict[str, torch.Tensor]) -> None:
    assert sorted(got) == sorted(want)
    for name, tensor in want.items():
        assert torch.equal(got[name], tensor), name


@pytest.mark.parametrize("family", [*FAMILIES, *OTHER_FAMILIES])
def test_every_family_is_streamed_as_save_pretrained_writes_it(family: str, tmp_path: Path) -> None:
    """Both of a model that was made from its configuration and of one that was read from a checkpoint."""
    from transformers import AutoModelForCausalLM

    model = make_model(family)
    for _ in range(2):
        model.save_pretrained(tmp_path)
        stored = load_file(tmp_path / "model.safetensors")
        streamed = list(in_checkpoint_form(model, model.named_parameters(), torch.float32))
        assert len(streamed) == len({name for name, _ in streamed})
        assert_equal(dict(streamed), stored)
        model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)


def test_experts_are_named_one_by_one() -> None:
    model = make_model("mixtral")
    assert "model.layers.0.mlp.experts.gate_up_proj" in dict(model.named_parameters())
    names = [name for name, _ in in_checkpoint_form(model, model.named_parameters(), torch.float32)]
    assert "model.layers.0.block_sparse_moe.experts.3.w2.weight" in names


@pytest.mark.parametrize("family", ["glm4-moe", "deepseek-v3"])
def test_parameters_take_the_served_precision_and_persistent_buffers_keep_theirs(family: str) -> None:
    model = make_model(family)
    streamed = dict(in_checkpoint_form(model, model.named_parameters(), torch.bfloat16))
    name = "model.layers.1.mlp.gate.e_score_correction_bias"
    assert {key for key, tensor in streamed.items() if tensor.dtype != torch.bfloat16} == {name}
    assert streamed[name].dtype == torch.float32


def test_a_tensor_that_the_checkpoint_splits_is_not_kept_until_the_end() -> None:
    """A second copy of a model of experts would not fit: each tensor comes out before the next one is asked for."""
    model = make_model("qwen3-moe")
    asked: list[str] = []

    def parameters() -> Any:
        for name, tensor in model.named_parameters():
            asked.append(name)
            yield name, tensor

    stream = in_checkpoint_form(model, parameters(), torch.float32)
    seen = {name: len(asked) for name, _ in stream}
    order = [name for name, _ in model.named_parameters()]
    assert (
        seen["model.layers.0.mlp.experts.0.gate_proj.weight"]
        == order.index("model.layers.0.mlp.experts.gate_up_proj") + 1
    )


def test_what_an_engine_serves_is_its_checkpoint(tmp_path: Path) -> None:
    write_family(tmp_path, "mixtral", seed=1)
    learner = LearnerSpec.model_validate({"engine": "plain", "precision": "float32"})
    engine = build_engine(str(tmp_path), learner, torch.device("cpu"), None)
    assert_equal(dict(engine.served_weights(torch.float32)), load_file(tmp_path / "model.safetensors"))


def test_a_dense_model_costs_no_copy(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(write_model(tmp_path))
    parameters = dict(model.named_parameters())
    for name, tensor in in_checkpoint_form(model, parameters.items(), torch.float32):
        assert tensor.data_ptr() == parameters[name].data_ptr()
