"""A tiny random model of every architecture that a user may bring, made by transformers itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.integration.tiny_model import VOCABULARY

WINDOW = 8
LAYERS = 4
MIXED = ["sliding_attention", "full_attention"] * (LAYERS // 2)

_SIZES: dict[str, Any] = {
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), VOCABULARY),
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "word_embed_proj_dim"), 64),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "ffn_hidden_size", "intermediate_size_mlp"), 96),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), LAYERS),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "expert_ffn_hidden_size"), 32),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_k"), 2),
    **dict.fromkeys(("n_group", "topk_group", "n_shared_experts", "first_k_dense_replace"), 1),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len"), 512),
    "num_key_value_heads": 2,
    "head_dim": 16,
    "sliding_window": WINDOW,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
    "shared_intermediate_size": 48,
    "query_pre_attn_scalar": 16,
    "rotary_dim": 8,
    "initializer_range": 0.15,
}
"""Set where a configuration has the field."""

_LATENT = {"num_key_value_heads": 4, "q_lora_rank": 32, "kv_lora_rank": 16, "qk_nope_head_dim": 16,
           "qk_rope_head_dim": 8, "v_head_dim": 16, "head_dim": 8}  # fmt: skip
_WINDOWS = {"layer_types": MIXED, "sliding_window": WINDOW}
_SCALES = {"logits_scaling": 8.0, "embedding_multiplier": 2.0, "residual_multiplier": 0.5, "attention_multiplier": 0.2}
_NARROW_EMBEDDING = {"hidden_size_per_layer_input": 16, "num_kv_shared_layers": 0}

_LIKE_LLAMA = (
    "apertus",
    "arcee",
    "aria_text",
    "biogpt",
    "bitnet",
    "codegen",
    "ctrl",
    "diffllama",
    "ernie4_5",
    "ernie4_5_moe",
    "flex_olmo",
    "gemma",
    "glm",
    "glm4",
    "glm4_moe",
    "gpt2",
    "gpt_bigcode",
    "gpt_neox",
    "gptj",
    "helium",
    "hrm_text",
    "hunyuan_v1_dense",
    "hunyuan_v1_moe",
    "hy_v3",
    "jais2",
    "jetmoe",
    "llama",
    "minimax_m2",
    "nemotron",
    "olmo",
    "olmo2",
    "olmoe",
    "opt",
    "persimmon",
    "phi",
    "seed_oss",
    "solar_open",
    "stablelm",
    "xglm",
)
_ONE_WINDOW = ("doge", "mistral", "mixtral", "ministral3", "phi3", "phimoe", "starcoder2")
_MIXED_WINDOWS = (
    "afmoe",
    "cohere2",
    "cwm",
    "dots1",
    "exaone4",
    "gpt_oss",
    "laguna",
    "mellum",
    "ministral",
    "olmo3",
    "smollm3",
)

RIGHT: dict[str, dict[str, Any]] = {
    **{name: {} for name in (*_LIKE_LLAMA, *_ONE_WINDOW)},
    **dict.fromkeys(_MIXED_WINDOWS, _WINDOWS),
    **{name: {**_WINDOWS, "use_sliding_window": True} for name in ("qwen2", "qwen2_moe", "qwen3")},
    **dict.fromkeys(("deepseek_v2", "deepseek_v3", "youtu"), _LATENT),
    **dict.fromkeys(("granite", "granitemoe", "granitemoeshared"), _SCALES),
    "cohere": {"logit_scale": 0.0625},
    "cohere2_moe": {**_WINDOWS, "logit_scale": 0.25},
    "falcon": {"head_dim": None},
    "gemma2": {**_WINDOWS, "final_logit_softcapping": 3.0, "attn_logit_softcapping": 0.5},
    "gemma3_text": {**_WINDOWS, "final_logit_softcapping": None},
    "gemma3n_text": {**_WINDOWS, **_NARROW_EMBEDDING, "laurel_rank": 8, "final_logit_softcapping": 3.0},
    "granite_swa": {**_SCALES, **_WINDOWS},
    "hyperclovax": {**_SCALES, "logits_scaling": 0.5},
    "minicpm3": {**_LATENT, "dim_model_base": 16},
    "nanochat": {"final_logit_softcapping": 2.0},
    "qwen3_moe": {"use_sliding_window": True},
    "vaultgemma": {**_WINDOWS, "final_logit_softcapping": 3.0, "attn_logit_softcapping": 0.5},
}  # fmt: skip
"""Architectures that are trained packed, with the settings in which they differ from Llama."""

DENSE = frozenset({"biogpt", "codegen", "doge", "falcon", "gptj", "stablelm", "xglm"})
"""Of those the ones whose attention takes a dense mask: it is not behind transformers' interface, or edits masks."""

REPEATED = frozenset({"diffllama", "hrm_text"})
"""Of those the ones whose packs have a prompt each: a layer of theirs attends several times in one pass."""

NOT_GATED = frozenset(
    {"apertus", "arcee", "biogpt", "bitnet", "codegen", "cohere2_moe", "ctrl", "falcon", "flex_olmo", "gpt2",
     "gpt_bigcode", "gpt_neox", "gpt_oss", "gptj", "granitemoe", "granitemoeshared", "jais2", "jetmoe", "mellum",
     "minimax_m2", "mixtral", "nanochat", "nemotron", "olmoe", "opt", "persimmon", "phi", "phimoe", "qwen3_moe",
     "starcoder2", "xglm"}
)  # fmt: skip
"""Of those the ones whose feed-forward blocks have no gate, or are not put together as Llama's or Phi-3's: experts that
are computed together among them."""

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    **dict.fromkeys(
        ("qwen3_next", "lfm2", "lfm2_moe", "jamba", "bamba", "falcon_h1", "nemotron_h", "minimax", "recurrent_gemma",
         "falcon_mamba", "mamba", "mamba2", "zamba2", "granitemoehybrid", "kimi_linear", "olmo_hybrid", "rwkv",
         "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text", "xlstm", "zamba", "zaya"),
        ({}, "carry a state from one position to the next"),
    ),
    **dict.fromkeys(("deepseek_v32", "glm_moe_dsa"), ({}, "indexed_attention take no mask by position")),
    "qwen4_exp": ({}, "indexed_attention, linear_attention take no mask by position"),
    "deepseek_v4": ({}, "heavily_compressed_attention take no mask by position"),
    "llama4_text": ({}, "chunked attention is by place in the pack"),
    "bloom": ({}, r"\(alibi\)"),
    "mpt": ({}, r"\(alibi\)"),
    "falcon": ({"alibi": True}, r"\(alibi\)"),
    "gpt_neo": ({}, "local attention is by place in the pack"),
    "bart": ({}, "it has an encoder"),
    "gemma3_text": ({"use_bidirectional_attention": True}, "looks ahead"),
    "llama": (
        {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
        r"rotary embedding \(dynamic\) changes with the longest sequence",
    ),
    "phi3": (
        {
            "rope_parameters": {
                "rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 8, "long_factor": [2.0] * 8,
                "original_max_position_embeddings": 64,
            },
            "hidden_size": 64, "num_attention_heads": 4,
        },
        r"rotary embedding \(longrope\) changes with the longest sequence",
    ),
}  # fmt: skip
"""Architectures that are refused when they are loaded, from their configuration, and what is said of them."""

UNLIKE_THEMSELVES: dict[str, dict[str, Any]] = {"bert": {}, "modernbert-decoder": {}, "openai-gpt": {}}
"""Architectures that no table knows and the proof at start refuses."""


def write_family(folder: Path, model_type: str, changes: dict[str, Any]) -> Path:
    """A random model of this architecture in Hugging Face format."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    kind = CONFIG_MAPPING[model_type]
    known = set(kind().to_dict()) | set(changes)
    settings = {name: value for name, value in (_SIZES | changes).items() if name in known and value is not None}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(kind(**settings), dtype=torch.float32)
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2 and "norm" not in name:  # biases and sinks are zero at the beginning
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    return folder


def write_configuration(folder: Path, model_type: str, changes: dict[str, Any]) -> Path:
    """The configuration alone: whoever reads weights fails."""
    from transformers import CONFIG_MAPPING

    CONFIG_MAPPING[model_type](**changes).save_pretrained(folder)
    return folder
