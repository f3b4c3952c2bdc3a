"""What a model's configuration says about its size and its longest sequence, under the names that families use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from prorl_api.errors import Fault

_LENGTHS = (
    "max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length", "max_target_positions",
    "max_sequence_length", "max_seq_length", "seq_len",
)  # fmt: skip
"""Names of the longest sequence, as vLLM looks for them."""
_UNSCALED = frozenset(
    {"su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling", "default", "mrope"}
)
"""Kinds of rotary embedding whose `max_position_embeddings` is the scaled length already."""

_COUNTED = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""Families whose parameters can be counted from the configuration alone."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """`config.json`."""

    raw: dict[str, Any]

    @property
    def text(self) -> dict[str, Any]:
        """The part about the language model, where others are beside it."""
        inner = self.raw.get("text_config")
        return inner if isinstance(inner, dict) else self.raw

    @property
    def quantization(self) -> str | None:
        """How the weights are quantised; None if they are not."""
        found = self.raw.get("quantization_config")
        return str(found.get("quant_method", "unknown")) if isinstance(found, dict) else None

    @property
    def longest_sequence(self) -> int | None:
        """Prompt and completion together that the model was made for; None if it does not say."""
        lengths = [self.text[name] for name in _LENGTHS if _is_count(self.text.get(name))]
        if not lengths:
            return None
        return int(min(lengths) * max([1.0, *self._scales()]))

    @property
    def head_size(self) -> int | None:
        """Numbers of one attention head; None where heads are no plain ones, or it does not say."""
        if self.text.get("kv_lora_rank") is not None:
            return None
        given = self._count("head_dim")
        if given is not None:
            return given
        hidden, heads = self._count("hidden_size"), self._count("num_attention_heads")
        return hidden // heads if hidden is not None and heads is not None else None

    @property
    def hidden_size(self) -> int | None:
        """Numbers that go from layer to layer, of one token."""
        return self._count("hidden_size", "n_embd", "d_model")

    @property
    def intermediate_size(self) -> int | None:
        """Numbers inside the feed-forward part of a layer, of one token."""
        return self._count("intermediate_size", "ffn_dim", "n_inner")

    @property
    def heads(self) -> int | None:
        """Attention heads of a layer."""
        return self._count("num_attention_heads", "n_head")

    @property
    def key_value_heads(self) -> int | None:
        """Heads of keys and values; as many as of queries where it does not say."""
        return self._count("num_key_value_heads") or self.heads

    @property
    def counted_parameters(self) -> int | None:
        """The number of parameters of the plain decoders whose layers are known here; None of other families.

        Embedding, layers of four projections of attention, three of a gated feed-forward part and two norms, a last
        norm, and a head of its own where embedding and head are not tied. Qwen2 adds to queries, keys and values.
        """
        hidden, inner, heads, head = self.hidden_size, self.intermediate_size, self.heads, self.head_size
        layers, vocabulary, shared = self.layers, self.vocabulary, self.key_value_heads
        if self.raw.get("model_type") not in _COUNTED or self.text.get("mlp_bias"):
            return None
        if not (hidden and inner and heads and head and layers and vocabulary and shared):
            return None
        queries, keys = heads * head, shared * head
        layer = 2 * hidden * (queries + keys) + 3 * hidden * inner + 2 * hidden
        kind = self.raw["model_type"]
        if kind == "qwen2" or (kind != "mistral" and self.text.get("attention_bias")):
            layer += queries + 2 * keys + (0 if kind == "qwen2" else hidden)
        if kind == "qwen3":
            layer += 2 * head
        tables = 1 if self.text.get("tie_word_embeddings") else 2
        return tables * vocabulary * hidden + layers * layer + hidden

    @property
    def layers(self) -> int | None:
        """Decoder layers."""
        return self._count("num_hidden_layers", "n_layer", "num_layers")

    @property
    def vocabulary(self) -> int | None:
        """Rows of the embedding."""
        return self._count("vocab_size")

    def _count(self, *names: str) -> int | None:
        return next((int(self.text[name]) for name in names if _is_count(self.text.get(name))), None)

    def _scales(self) -> Iterator[float]:
        parameters = self.text.get("rope_parameters") or self.text.get("rope_scaling") or {}
        if not isinstance(parameters, dict) or "gemma3" in str(self.raw.get("model_type")):
            return
        for one in (parameters, *(value for value in parameters.values() if isinstance(value, dict))):
            kind, factor = one.get("rope_type", one.get("type", "default")), one.get("factor")
            if kind not in _UNSCALED and isinstance(factor, int | float):
                yield float(factor)


def length_faults(
    config: ModelConfig, where: str, max_sequence_tokens: int, max_prompt_tokens: int | None = None
) -> list[Fault]:
    """Say that a job's sequences are longer than the model takes.

    Args:
        config: Of the model.
        where: Its folder.
        max_sequence_tokens: Longest prompt plus the longest completion of any stage.
        max_prompt_tokens: `spec.rollout.maxPromptTokens`, if it is known here.
    """
    longest = config.longest_sequence
    if longest is None or max_sequence_tokens <= longest:
        return []
    got = f"{max_sequence_tokens} tokens of prompt and completion together"
    lower = "lower it, in stages, too, or maxPromptTokens"
    if max_prompt_tokens is not None:
        completion, room = max_sequence_tokens - max_prompt_tokens, longest - max_prompt_tokens
        got = f"{max_prompt_tokens} tokens of prompt + {completion} of completion = {max_sequence_tokens}"
        if room > 0:
            lower = f"lower it to at most {room}, in stages, too, or maxPromptTokens"
    want = f"at most {longest} together, which the model in {where} was made for (max_position_embeddings); {lower}"
    return [Fault(path="spec.rollout.maxCompletionTokens", got=got, want=want)]


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
