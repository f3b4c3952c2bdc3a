"""The sizes of attention heads that the installed vLLM takes on a CPU: from its source; importing it takes long."""

from __future__ import annotations

import ast
import functools
import importlib.util
from pathlib import Path

from prorl_api.errors import Fault
from prorl_api.model.config import ModelConfig
from prorl_api.model.weight_files import MODEL_PATH

_SOURCE = Path("v1", "attention", "backends", "cpu_attn.py")
_FUNCTION = "get_supported_head_sizes"


def head_size_faults(config: ModelConfig, where: str, supported: frozenset[int] | None) -> list[Fault]:
    """Say that vLLM has no attention for heads of the model's size; nothing where either side does not tell."""
    size = config.head_size
    if supported is None or size is None or size in supported:
        return []
    got = f"{where}, with attention heads of size {size} (hidden_size / num_attention_heads, or head_dim)"
    want = f"one of {', '.join(map(str, sorted(supported)))}: vLLM has no other on a CPU. Another model, or a GPU"
    return [Fault(path=MODEL_PATH, got=got, want=want)]


@functools.cache
def cpu_head_sizes() -> frozenset[int] | None:
    """Return the sizes; None if no vLLM is installed here, or its source does not tell."""
    spec = importlib.util.find_spec("vllm")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    for folder in folders:
        try:
            tree = ast.parse((Path(folder) / _SOURCE).read_text(encoding="utf-8"))
        except (OSError, ValueError, SyntaxError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name == _FUNCTION and (found := _numbers(node)):
                return found
    return None


def _numbers(function: ast.FunctionDef) -> frozenset[int]:
    """Return what a function gives that does nothing but give a list of numbers."""
    last = function.body[-1]
    if not isinstance(last, ast.Return) or not isinstance(last.value, ast.List):
        return frozenset()
    items = [item.value for item in last.value.elts if isinstance(item, ast.Constant) and isinstance(item.value, int)]
    return frozenset(items) if len(items) == len(last.value.elts) else frozenset()
