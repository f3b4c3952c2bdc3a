"""The base model: where it is, its tokenizer, and whether the two belong together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prorl_api.errors import Fault, SpecError
from prorl_api.model.weight_files import MODEL_PATH

_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx")


def resolve_model(path: str, base: Path) -> Path:
    """Return the model's folder: a path relative to `base`, or a snapshot from the hub if there is no such folder.

    Raises:
        SpecError: Neither a folder nor a model that the hub gives.
    """
    folder = Path(path) if Path(path).is_absolute() else base / path
    if folder.exists():
        return folder
    want = "a folder in Hugging Face format, or a hub name while the hub is reachable"
    if path.startswith((".", "/")) or path.count("/") != 1:
        raise SpecError([Fault(path=MODEL_PATH, got=f"{folder} (no such folder)", want=want)])
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(path))
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError) as error:
        raise SpecError([Fault(path=MODEL_PATH, got=f"{path} ({type(error).__name__})", want=want)]) from error


def companion_files(folder: Path) -> dict[str, Path]:
    """Return everything of a model's folder but the weights, by name: configuration, tokenizer, templates."""
    return {
        path.name: path
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.endswith(_WEIGHT_SUFFIXES) and "index.json" not in path.name
    }


def load_tokenizer(folder: Path) -> Any:
    """Return the folder's tokenizer, checked against its model.

    Raises:
        SpecError: There is none, or it knows tokens that the model does not.
    """
    from transformers import AutoConfig, AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        config: Any = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        vocabulary = config.get_text_config().vocab_size
    except Exception as error:  # the library raises whatever it stumbles over, bare ones among it
        want = "a folder with config.json and tokenizer of a model that the installed transformers knows"
        got = f"{folder} ({type(error).__name__}: {_short(error)})"
        raise SpecError([Fault(path=MODEL_PATH, got=got, want=want)], source="the model") from error
    highest = max(tokenizer.get_vocab().values(), default=-1)
    if highest >= vocabulary:
        got = f"a tokenizer with token id {highest} and a model with {vocabulary} embeddings"
        raise SpecError([Fault(path=MODEL_PATH, got=got, want="model and tokenizer that belong together")])
    if tokenizer.eos_token_id is None:
        want = "an end token: `eos_token` in tokenizer_config.json"
        raise SpecError([Fault(path=MODEL_PATH, got=f"{folder}: a tokenizer without an end token", want=want)])
    return tokenizer


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
