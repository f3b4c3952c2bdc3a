"""What a model's architecture needs to be run packed, and which architectures cannot be: refused by name.

Decided from the configuration alone, before any weight is read. What this table does not know is caught by the proof
(`packing_proof`). docs/models.md lists what was run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from prorl_trainer.engines.attention.varlen import WIDEST_HEAD
from prorl_trainer.engines.head_slices import LogitTreatment
from prorl_trainer.engines.masks import FULL, SLIDING, MaskPlan, Way


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How a model is run packed."""

    name: str
    """`config.model_type`."""
    attention: str = "sdpa"
    """transformers' attention implementation, for plain passes and under dense masks."""
    masks: MaskPlan = field(default_factory=MaskPlan)
    logits: LogitTreatment = field(default_factory=LogitTreatment)


_SCALES: dict[str, Callable[[Any], float]] = {
    **dict.fromkeys(
        ("granite", "granite_swa", "granitemoe", "granitemoe_swa", "granitemoeshared", "granitemoehybrid", "minicpm3"),
        lambda config: 1.0 / config.logits_scaling,
    ),
    **dict.fromkeys(("cohere", "cohere2", "cohere2_moe", "cohere_compass"), lambda config: float(config.logit_scale)),
    "hyperclovax": lambda config: float(config.logits_scaling),
}
"""Families that scale the head's output. minicpm3 divides the hidden states, which is the same."""

_RECURRENT = frozenset(
    {"falcon_h1", "falcon_mamba", "jamba", "mamba", "mamba2", "recurrent_gemma", "rwkv", "xlstm", "zamba", "zamba2",
     "bamba", "lfm2", "lfm2_moe", "qwen3_next", "nemotron_h", "minimax", "granitemoehybrid", "kimi_linear",
     "olmo_hybrid", "zaya", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text"}
)  # fmt: skip
"""Families with layers that carry a state from position to position, also where `layer_types` does not say so."""

_RELATIVE_TO_THE_PACK = {
    "bloom": "its attention bias (alibi) is by place in the pack",
    "mpt": "its attention bias (alibi) is by place in the pack",
    "gpt_neo": "its local attention is by place in the pack",
    "llama4": "its chunked attention is by place in the pack",
    "llama4_text": "its chunked attention is by place in the pack",
}

_ROPES_BY_LENGTH = frozenset({"dynamic", "longrope"})
"""Rotary embeddings that change with the longest sequence of a forward pass."""


def refusals(config: Any) -> Iterator[str]:
    """Return why a model of this configuration cannot be run packed, each as a clause.

    None: as far as is known it can.
    """
    name = config.model_type
    layers = tuple(getattr(config, "layer_types", None) or ())
    odd = sorted(set(layers) - {FULL, SLIDING})
    if name in _RECURRENT:
        yield "layers that carry a state from one position to the next would mix the sequences of a pack"
    elif odd:
        yield f"layers of kind {', '.join(odd)} take no mask by position"
    if name in _RELATIVE_TO_THE_PACK:
        yield _RELATIVE_TO_THE_PACK[name]
    elif getattr(config, "alibi", False):
        yield "its attention bias (alibi) is by place in the pack"
    for rope in sorted(_rope_types(config) & _ROPES_BY_LENGTH):
        yield f"its rotary embedding ({rope}) changes with the longest sequence of the pack"
    if getattr(config, "use_bidirectional_attention", False):
        yield "its attention looks ahead"
    if getattr(config, "is_encoder_decoder", False):
        yield "it has an encoder"


_OWN_MASKS = frozenset({"doge"})
"""Families that call attention by transformers' interface and edit the mask before."""


def family_of(config: Any, model_class: Any, dtype: torch.dtype, device: torch.device) -> Family:
    """Return how a model of this configuration, none of `refusals`, is run.

    Args:
        config: The decoder's configuration, of transformers.
        model_class: The class that transformers loads it as.
        dtype: Of the computation.
        device: Of the computation.
    """
    # scaled_dot_product_attention knows neither soft caps of scores nor sinks: such models say so, or would be wrong.
    capped = getattr(config, "attn_logit_softcapping", None) is not None
    attention = "sdpa" if model_class._supports_sdpa and not capped else "eager"
    scale = _SCALES.get(config.model_type, lambda config: 1.0)(config)
    return Family(
        name=config.model_type,
        attention=attention,
        masks=replace(
            mask_plan(config, dtype if attention == "eager" else None),
            way=_way(config, model_class, dtype, device),
        ),
        logits=LogitTreatment(scale=scale, cap=getattr(config, "final_logit_softcapping", None)),
    )


def _way(config: Any, model_class: Any, dtype: torch.dtype, device: torch.device) -> Way:
    """Return the fastest that model and device have.

    On a GPU the small calls of `SEGMENTS` take longer than one dense call does.
    """
    if not model_class._supports_attention_backend or config.model_type in _OWN_MASKS:
        return Way.DENSE
    if device.type == "cpu":
        return Way.SEGMENTS
    heads = (getattr(config, "head_dim", None), getattr(config, "v_head_dim", None))
    plain = getattr(config, "attn_logit_softcapping", None) is None and model_class._supports_sdpa  # without sinks
    fits = heads[1] is None and (heads[0] or config.hidden_size // config.num_attention_heads) <= WIDEST_HEAD
    return Way.VARLEN if plain and fits and dtype is not torch.float32 else Way.DENSE


def mask_plan(config: Any, dtype: torch.dtype | None) -> MaskPlan:
    """Return the masks that a model of this configuration takes; `dtype` as `MaskPlan.additive_dtype`."""
    window = getattr(config, "sliding_window", None)
    layers = getattr(config, "layer_types", None)
    if layers is not None:  # they decide, whatever `use_sliding_window` says
        slides = SLIDING in layers
        return MaskPlan(window=window if slides else None, by_layer_type=slides, additive_dtype=dtype)
    if getattr(config, "use_sliding_window", True) is False:
        window = None
    return MaskPlan(window=window, additive_dtype=dtype)


def _rope_types(config: Any) -> set[str]:
    """Return all kinds of rotary embedding in a configuration; it has one, or one for each kind of layer."""
    parameters = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    nested = [value for value in parameters.values() if isinstance(value, dict)]
    return {str(one.get("rope_type", one.get("type", "default"))) for one in (parameters, *nested)}
