"""Weights as safetensors files: chunks to publish, snapshots to keep. Digests are of the bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from prorl_api.errors import WeightsError
from prorl_trainer.engines.packed_policy import PackedPolicy

_READ_BYTES = 8 * 2**20


def write_weights(file: Path, weights: Iterable[tuple[str, Tensor]]) -> str:
    """Write named parameters to one safetensors file; return the sha256 of its bytes.

    Raises:
        OSError: The file system refuses.
    """
    tensors = {name: tensor.detach().to("cpu").contiguous() for name, tensor in weights}
    try:
        save_file(tensors, file, metadata={"format": "pt"})
    except SafetensorError as error:  # it wraps the operating system's error
        raise OSError(str(error)) from error
    return file_digest(file)


def file_digest(file: Path) -> str:
    """Give the sha256 of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


@torch.no_grad()
def read_weights(
    file: Path,
    target: PackedPolicy,
    whole: Callable[[torch.nn.Parameter], AbstractContextManager[object]] = nullcontext,
) -> None:
    """Overwrite every parameter of a model with those of a safetensors file.

    Args:
        file: With all of them, by the names of `named_parameters`.
        target: The model.
        whole: Within what it gives, a parameter is whole: of a sharded model they are not by themselves.

    Raises:
        WeightsError: A parameter is missing, left over, or of another shape; nothing is promised about the model then.
    """
    parameters = dict(target.model.named_parameters())
    with safe_open(file, framework="pt") as stored:
        names = set(stored.keys())
        if names != set(parameters):
            missing, extra = sorted(set(parameters) - names)[:3], sorted(names - set(parameters))[:3]
            raise WeightsError(f"{file} does not fit the model: missing {missing}, not expected {extra}")
        for name, parameter in parameters.items():
            tensor = stored.get_tensor(name)
            with whole(parameter):
                wanted = tuple(parameter.shape)
                if tuple(tensor.shape) != wanted:
                    raise WeightsError(f"{file}: {name} has shape {tuple(tensor.shape)}, wanted {wanted}")
                parameter.copy_(tensor)
