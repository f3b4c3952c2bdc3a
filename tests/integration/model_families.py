"""Tiny models of many families with random weights, for tests that compare an engine with plain forward passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

VOCABULARY = 300
"""No multiple of 64, so that vLLM pads it."""
END_TOKEN = VOCABULARY - 1
WINDOW = 16
"""Of the windowed families: shorter than what the tests generate."""

_SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 128,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 1024,
    "initializer_range": 0.15,
    "bos_token_id": 0,
    "eos_token_id": END_TOKEN,
    "pad_token_id": None,
    "tie_word_embeddings": False,
}
_EXPERTS: dict[str, Any] = {"num_experts_per_tok": 2, "moe_intermediate_size": 64}
_ROUTED: dict[str, Any] = _EXPERTS | {
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "n_group": 2,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "norm_topk_prob": True,
}

FAMILIES: dict[str, dict[str, Any]] = {
    "llama-tied": {"model_type": "llama", "tie_word_embeddings": True},
    "qwen2": {"model_type": "qwen2"},
    "qwen3-tied": {"model_type": "qwen3", "tie_word_embeddings": True},
    "mistral-window": {"model_type": "mistral", "sliding_window": WINDOW},
    "gemma3-window": {
        "model_type": "gemma3_text",
        "sliding_window": WINDOW,
        "layer_types": ["sliding_attention", "full_attention"],
        "query_pre_attn_scalar": 32,
        "tie_word_embeddings": True,
    },
    "mixtral": {"model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2-moe": {
        "model_type": "qwen2_moe",
        "num_experts": 4,
        "shared_expert_intermediate_size": 96,
        **_EXPERTS,
    },
    # On a CPU vLLM fills experts up to a multiple of 32.
    "qwen3-moe": {"model_type": "qwen3_moe", "num_experts": 4, **_EXPERTS, "moe_intermediate_size": 48},
    "glm4-moe": {"model_type": "glm4_moe", **_ROUTED},
    "deepseek-v3": {
        "model_type": "deepseek_v3",
        **_ROUTED,
        "q_lora_rank": 32,
        "head_dim": 64,
        # vLLM's kernels of latent attention know the published model's sizes only.
        "kv_lora_rank": 512,
        "qk_rope_head_dim": 64,
        "qk_nope_head_dim": 128,
        "v_head_dim": 128,
        "num_key_value_heads": 4,
        # vLLM reads these from the published models' configuration; transformers takes them as given.
        "topk_method": "noaux_tc",
        "scoring_func": "sigmoid",
    },
}


def make_config(family: dict[str, Any]) -> Any:
    """Give transformers' configuration of a tiny model: `model_type`, and what differs from the usual shape."""
    from transformers import AutoConfig

    settings = {**_SHAPE, **family}
    return AutoConfig.for_model(settings.pop("model_type"), **settings)


def write_family(folder: Path, family: str, *, seed: int) -> Path:
    """Write a model of random float32 weights in Hugging Face format; its buffers are random too."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model: Any = AutoModelForCausalLM.from_config(make_config(FAMILIES[family]), dtype=torch.float32)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("bias"):  # zero at first, among them the routers' correction
                tensor.normal_(std=0.1)
    model.save_pretrained(folder)
    return folder
