"""A tiny Llama with random weights and a tokenizer of single characters, made by the tests themselves."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

VOCABULARY = 128
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def write_tokenizer(folder: Path, *, extra_tokens: int = 0) -> None:
    """One token a printable character; `extra_tokens` more than the model knows, if asked for."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    symbols = ["<unk>", "</s>", *string.printable]
    symbols += [f"<extra-{number}>" for number in range(VOCABULARY - len(symbols) + extra_tokens)]
    tokenizer = Tokenizer(models.WordLevel({symbol: i for i, symbol in enumerate(symbols)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>")
    wrapped.chat_template = CHAT_TEMPLATE
    wrapped.save_pretrained(folder)


def write_model(folder: Path, *, seed: int = 0, tokenizer: bool = True, **config: Any) -> Path:
    """2 layers, hidden 64: about 100 000 parameters in float32, in Hugging Face format."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    settings: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": 1,
        "initializer_range": 0.1,
    }
    model = LlamaForCausalLM(LlamaConfig(**(settings | config)))
    model.save_pretrained(folder)
    if tokenizer:
        write_tokenizer(folder)
    return folder


def write_poisoned(folder: Path, token: int) -> Path:
    """A tiny model that turns everything after one token into NaN."""
    import torch
    from transformers import LlamaForCausalLM

    write_model(folder, tie_word_embeddings=False)
    model = LlamaForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.get_input_embeddings().weight[token] = torch.inf  # normalised, it is NaN
    model.save_pretrained(folder)
    return folder
