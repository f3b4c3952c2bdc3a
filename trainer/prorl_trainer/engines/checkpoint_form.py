"""Weights under the names and in the shapes of a checkpoint, which is how every other program reads them.

transformers renames and fuses some tensors when it loads a model: since version 5 the experts of a layer are one
tensor. An engine that reads checkpoints does not know those. Here a model's weights are turned back one by one, as
`save_pretrained` does with all of them at once, so that no second copy of the model comes to be. Persistent buffers
belong to a checkpoint too: the router's `e_score_correction_bias` of DeepSeek-V3 and GLM-4-MoE is one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

Weights = Iterator[tuple[str, Tensor]]


def in_checkpoint_form(model: Any, parameters: Iterable[tuple[str, Tensor]], dtype: torch.dtype) -> Weights:
    """Give a model's parameters and persistent buffers as its checkpoint holds them, in a fixed order.

    Args:
        model: The transformers model they belong to; only its names, conversions and buffers are read.
        parameters: All of its parameters, whole, by the names of `named_parameters`. Each is needed only until the
            next one is asked for, unless the checkpoint makes one tensor of several.
        dtype: Number format of the parameters. Buffers keep their own: an engine holds them as the model does.
    """
    group_of = _groups(model)
    names = [name for name, _ in model.named_parameters()] + [name for name, _ in persistent_buffers(model)]
    missing = Counter(group_of(name) for name in names)
    waiting: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in _chained(((name, tensor.to(dtype)) for name, tensor in parameters), persistent_buffers(model)):
        group = group_of(name)
        missing[group] -= 1
        if missing[group] > 0:
            waiting[group][name] = tensor.detach().clone()
        else:
            yield from _reverted(model, {**waiting.pop(group, {}), name: tensor.detach()})


def persistent_buffers(model: nn.Module) -> Weights:
    """Give the buffers that a checkpoint holds; one that is shared comes once."""
    for prefix, module in model.named_modules():
        for name, buffer in module._buffers.items():
            if buffer is not None and name not in module._non_persistent_buffers_set:
                yield f"{prefix}.{name}" if prefix else name, buffer


def _chained(*parts: Iterable[tuple[str, Tensor]]) -> Weights:
    for part in parts:
        yield from part


def _groups(model: Any) -> Callable[[str], str]:
    """Give a function from the name of a tensor to what it shares with those it must be converted together with."""
    from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

    reverse = [conversion.reverse_transform() for conversion in reversed(_conversions(model))]
    renamings = [entry for entry in reverse if isinstance(entry, WeightRenaming)]
    converters = [entry for entry in reverse if isinstance(entry, WeightConverter)]
    return lambda name: str(rename_source_key(name, renamings, converters, reverse=True)[0])


def _conversions(model: Any) -> list[Any]:
    """Give what transformers did to the checkpoint on loading, or would have done: see `revert_weight_conversion`."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import PrefixChange

    done = getattr(model, "_weight_conversions", None)
    if done is not None:
        return list(done)
    known = get_model_conversion_mapping(model, add_legacy=False)
    return [conversion for conversion in known if not isinstance(conversion, PrefixChange)]


def _reverted(model: Any, tensors: dict[str, Tensor]) -> Iterable[tuple[str, Tensor]]:
    from transformers.core_model_loading import revert_weight_conversion

    converted: dict[str, Tensor] = revert_weight_conversion(model, tensors)
    return converted.items()
