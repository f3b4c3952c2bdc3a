"""vLLM plugin: replaces the model's weights by those of safetensors files, inside vLLM's worker processes.

vLLM finds `register` through the entry point `vllm.general_plugins` in every process it starts, and builds the engine
named `prorl` when `weight_transfer_config` asks for it. Layerwise reloading (vLLM's own) keeps the addresses of the
parameters, so compiled graphs stay valid, and packs them again where the platform wants packed weights. What this
module adds is the proof that every parameter was covered, and a model that a later load can repair after a failed one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

from prorl_api.errors import WeightsError
from prorl_rollout_server.false_alarms import without_false_alarms
from prorl_rollout_server.unread_ranks import leave_out_ranks

ENGINE_NAME = "prorl"
MAX_NAMES_IN_MESSAGE = 8


def register() -> None:
    """Make the engine known under its name; safe to call in a process where it already is."""
    if ENGINE_NAME not in WeightTransferEngineFactory._registry:
        WeightTransferEngineFactory.register_engine(ENGINE_NAME, SafetensorsTransferEngine)


@dataclass
class InitInfo(WeightTransferInitInfo):  # type: ignore[misc]  # vLLM's types are followed as Any
    """What vLLM asks for before the first transfer: there is nothing to agree on."""


@dataclass
class UpdateInfo(WeightTransferUpdateInfo):  # type: ignore[misc]
    """The paths of safetensors files which together hold every parameter."""

    paths: list[str]


class SafetensorsTransferEngine(WeightTransferEngine):  # type: ignore[misc]
    """Reads whole models from files that are mapped, not copied: in shared memory nothing is read twice."""

    init_info_cls = InitInfo
    update_info_cls = UpdateInfo
    supports_draft_weight_update = False

    def __init__(self, config: Any, vllm_config: Any, device: torch.device, model: torch.nn.Module) -> None:
        super().__init__(config, vllm_config, device, model)
        if device.type == "cpu":
            leave_out_ranks()
        # Taken now, while tied parameters are still one object and therefore one name.
        self._parameter_names = frozenset(_loaded_parameters(model))

    def init_transfer_engine(self, init_info: InitInfo) -> None:
        """Do nothing: files need no connection."""

    def start_weight_update(self) -> None:
        """Make the parameters wait for their new values, layer by layer."""
        from vllm.model_executor.model_loader.reload.layerwise import initialize_layerwise_reload

        if self.device.type == "cpu":
            _forget_expert_kernels(self.model)
        initialize_layerwise_reload(self.model)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Load the files.

        The base class synchronizes the accelerator unconditionally, which raises where there is none.

        Raises:
            WeightsError: A parameter is missing or has the wrong shape.
        """
        self.receive_weights(self.parse_update_info(update_info))
        if self.device.type != "cpu":
            torch.accelerator.synchronize()

    def receive_weights(self, update_info: UpdateInfo) -> None:
        """Load all files in one pass, then prove that nothing is missing."""
        from safetensors import SafetensorError, safe_open

        try:
            with ExitStack() as stack:
                files = [
                    stack.enter_context(safe_open(path, framework="pt", device="cpu")) for path in update_info.paths
                ]
                loaded = self.model.load_weights(_tensors(files))
            missing = _missing_parameters(self.model, self._parameter_names, loaded)
            if missing:
                shown = ", ".join(missing[:MAX_NAMES_IN_MESSAGE])
                raise WeightsError(f"{len(missing)} parameters were not covered, among them {shown}")
        except (WeightsError, SafetensorError, AssertionError, OSError, RuntimeError, ValueError, KeyError) as error:
            # vLLM's loaders report wrong shapes and unknown names by any of these.
            _abandon(self.model)
            if isinstance(error, WeightsError):
                raise
            raise WeightsError(f"{type(error).__name__}: {error}") from error

    def finish_weight_update(self) -> None:
        """Put the new values where the kernels expect them."""
        from vllm.model_executor.model_loader.reload.layerwise import finalize_layerwise_reload

        with without_false_alarms():
            finalize_layerwise_reload(self.model, self.model_config)
        if self.device.type == "cpu":
            _repack_tied_layers(self.model)

    def shutdown(self) -> None:
        """Do nothing: no resource is held between updates."""


def _forget_expert_kernels(model: torch.nn.Module) -> None:
    """Have vLLM pack the experts of every load as it packs those of the first.

    On a CPU vLLM computes with packed experts, and packs them when it builds a layer's kernel; a later load finds a
    kernel and puts the experts in place as they came, which the kernel then reads as if they were packed.
    """
    from vllm.model_executor.layers.fused_moe.unquantized_fused_moe_method import UnquantizedFusedMoEMethod

    for layer in model.modules():
        method = getattr(layer, "quant_method", None)
        if isinstance(method, UnquantizedFusedMoEMethod):
            method.moe_kernel = None


def _repack_tied_layers(model: torch.nn.Module) -> None:
    """Pack the weights of tied layers again.

    On a CPU vLLM computes with a packed copy of each layer's weight. An output head tied to the embedding receives no
    weights of its own, so a reload changes its weight but not its packed copy, and it goes on with the old one.
    """
    sharing: dict[int, list[torch.nn.Module]] = {}
    for layer in model.modules():
        weight = getattr(layer, "weight", None)
        if isinstance(weight, torch.Tensor) and weight.numel() and hasattr(layer, "quant_method"):
            sharing.setdefault(weight.data_ptr(), []).append(layer)
    for layers in sharing.values():
        if len(layers) > 1:
            for layer in layers:
                layer.quant_method.process_weights_after_loading(layer)  # type: ignore[union-attr,operator]


def _loaded_parameters(model: torch.nn.Module) -> Iterator[str]:
    """Give the names of parameters that a checkpoint fills; vLLM makes others of those, as multi-head latent attention.

    Which those are tells the record that vLLM took of each layer before it processed any weight; tensors that are
    never taken apart are not in the record.
    """
    from vllm.model_executor.model_loader.reload.layerwise import get_layerwise_info
    from vllm.model_executor.model_loader.reload.meta import SKIP_TENSORS

    for name, _ in model.named_parameters():
        prefix, _, own = name.rpartition(".")
        recorded, _ = get_layerwise_info(model.get_submodule(prefix)).restore_metadata
        if own in recorded or own in SKIP_TENSORS:
            yield name


def _tensors(files: Sequence[Any]) -> Iterator[tuple[str, torch.Tensor]]:
    for file in files:
        for name in file.keys():  # noqa: SIM118  # a safetensors file is no mapping
            yield name, file.get_tensor(name)


def _missing_parameters(model: torch.nn.Module, expected: frozenset[str], loaded: set[str] | None) -> list[str]:
    """Name the parameters that got no value, and the layers that got only a part of theirs."""
    missing = sorted(expected - loaded) if loaded is not None else []
    return missing + [name for name, layer in model.named_modules() if _is_partly_loaded(layer)]


def _is_partly_loaded(layer: torch.nn.Module) -> bool:
    """Tell whether some but not all elements of a layer arrived: a fused projection that lacks one of its parts.

    Vocabulary layers are left out: their padding rows never arrive, and their one tensor is checked by its shape.
    """
    from vllm.model_executor.layers.attention import is_deferred_attention_layer
    from vllm.model_executor.model_loader.reload.layerwise import get_layerwise_info

    info = get_layerwise_info(layer)
    if info.load_numel_total is None or is_deferred_attention_layer(layer) or hasattr(layer, "num_embeddings_padded"):
        return False
    return bool(0 < info.load_numel < info.load_numel_total)


def _abandon(model: torch.nn.Module) -> None:
    """Give every layer that still waits for values its old tensors back, so that the next update starts clean.

    Without this the next `initialize_layerwise_reload` would skip those layers and keep their buffered tensors.
    """
    from vllm.model_executor.model_loader.reload.layerwise import _place_kernel_tensors, get_layerwise_info

    for layer in model.modules():
        info = get_layerwise_info(layer)
        if info.load_numel_total is not None:
            if info.kernel_tensors is not None:
                _place_kernel_tensors(layer, info)
            info.reset()
