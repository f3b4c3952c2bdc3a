"""A model's folder for tests in which no model is loaded: small, and whole as far as its files tell."""

from __future__ import annotations

import json
from pathlib import Path


def write_model_files(folder: Path, **config: object) -> Path:
    """Write configuration, tokenizer and weights of a Llama of no size."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"model_type": "llama", "hidden_size": 64, "num_attention_heads": 2, "vocab_size": 128} | config
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "tokenizer.json").write_text("{}")
    header = json.dumps({"weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    return folder
