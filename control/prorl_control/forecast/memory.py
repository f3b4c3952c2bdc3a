"""Memory of learner and rollout servers, from the size of the model and how it is shared out.

With Adam a parameter has a weight, a gradient, two moments, and a master copy in float32 where a lower precision, or a
ZeRO stage, keeps one apart (ZeRO, arXiv 1910.02054, section 3). A stage says what ranks share: 1 optimizer, 2 and
gradients, 3 and weights. Gradients are float32 in every engine of ours. `tests/integration/test_forecast.py` holds
these bytes against those of the engines' tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

from prorl_api.logit_slices import logits_alive
from prorl_api.model.config import ModelConfig
from prorl_api.rows import CodeRow
from prorl_api.settings import SandboxSettings
from prorl_api.spec.job import ProRLJobSpec
from prorl_api.spec.merge import ever_measures_kl
from prorl_api.spec.values import EngineKind, Precision, RecomputeGranularity, ReferencePlace

BYTES = {Precision.FLOAT32: 4, Precision.BFLOAT16: 2}
_FLOAT32 = 4
_MOMENTS = 2 * _FLOAT32
CHECKPOINT_BYTES = _FLOAT32 + _MOMENTS
"""Of one parameter: its master and moments."""
SANDBOX_SERVICE = 2**30
"""For a sandbox's own process and the one that workers are forked from."""
_PROGRAM: int = CodeRow.model_fields["memory_bytes"].default
_BUCKET_ELEMENTS = 500_000_000
"""DeepSpeed's `reduce_bucket_size`, which it sets aside on a GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSize:
    """What memory depends on."""

    parameters: int
    config: ModelConfig | None = None
    """None: only the number of parameters is known, and neither activations nor a cache can be forecast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankMemory:
    """Bytes of one rank of the learner on its device (a GPU, or the machine where there is none), and beside it."""

    weights: int
    gradients: int
    optimizer: int
    """Moments and master copy."""
    reference: int
    """Where an offloaded one is on the device, activations are not."""
    activations: int | None
    """Of the longest pack, the head included; None: unknown."""
    buffers: int
    """DeepSpeed's, on a GPU."""
    on_host: int
    """In host memory although there is a GPU: optimizer's state, reference and inputs of layers, if offloaded. (A
    reference that is offloaded from a CPU lies on the disk.)"""
    checkpoint: int
    """In host memory while a checkpoint is written: a copy of what this rank writes."""
    is_reference_offloaded: bool = False

    @property
    def state(self) -> int:
        """Of the policy: weights, gradients, optimizer."""
        return self.weights + self.gradients + self.optimizer

    @property
    def device(self) -> int:
        """All of it on the device; without activations where they are unknown."""
        activations = self.activations or 0
        if self.is_reference_offloaded:
            return self.state + max(self.reference, activations) + self.buffers
        return self.state + self.reference + activations + self.buffers


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerMemory:
    """Bytes of one rollout server on each of its GPUs."""

    weights: int
    token: int | None
    """Keys and values of one token in the cache; None: unknown."""


def sandbox_memory(settings: SandboxSettings) -> int:
    """Return the bytes of one sandbox with all verifiers and programs at their limits, a program at the default one."""
    return SANDBOX_SERVICE + settings.workers * (settings.worker_memory_bytes + _PROGRAM)


def num_ranks(spec: ProRLJobSpec) -> int:
    """Return the learner's processes."""
    return spec.learner.replicas * spec.learner.processes_per_replica


def rank_memory(spec: ProRLJobSpec, size: ModelSize, pack_positions: int, *, on_gpu: bool) -> RankMemory:
    """Return what a rank takes when the longest pack has so many positions."""
    learner, ranks = spec.learner, num_ranks(spec)
    stage = learner.deepspeed.zero_stage if learner.engine is EngineKind.DEEPSPEED else 0
    count, item = size.parameters, BYTES[learner.precision]
    has_master = stage > 0 or learner.precision is Precision.BFLOAT16
    gradients = _share(_FLOAT32 * count, ranks if stage >= 2 else 1)
    optimizer = _share((_MOMENTS + (_FLOAT32 if has_master else 0)) * count, ranks if stage >= 1 else 1)
    place, reference = learner.reference, item * count if ever_measures_kl(spec) else 0
    is_away = place is ReferencePlace.OFFLOADED and reference > 0
    is_offloaded = learner.deepspeed.offload_optimizer and on_gpu
    activations = _activations(spec, size.config, pack_positions, on_gpu=on_gpu)
    inputs = _layer_inputs(spec, size.config, pack_positions)
    inputs_away = inputs if learner.offload_activations and on_gpu else 0
    return RankMemory(
        weights=_share(item * count, ranks if stage == 3 else 1),
        gradients=gradients,
        optimizer=0 if is_offloaded else optimizer,
        reference=_share(reference, ranks if place is ReferencePlace.SHARDED else 1),
        activations=None if activations is None else activations + inputs - inputs_away,
        buffers=item * min(_BUCKET_ELEMENTS, count) if on_gpu and stage > 0 else 0,
        on_host=(optimizer if is_offloaded else 0) + (reference if is_away and on_gpu else 0) + inputs_away,
        checkpoint=_share(CHECKPOINT_BYTES * count, ranks),
        is_reference_offloaded=is_away,
    )


def server_memory(spec: ProRLJobSpec, size: ModelSize) -> ServerMemory:
    """Return what a server holds of the model, and what a token takes in its cache."""
    width, item = spec.rollout.tensor_parallel_size, BYTES[spec.rollout.dtype]
    return ServerMemory(weights=_share(item * size.parameters, width), token=_cached_token(size.config, width, item))


def published_bytes(spec: ProRLJobSpec, size: ModelSize) -> int:
    """Return the bytes of the weights that each rollout server loads after a step."""
    return BYTES[spec.rollout.dtype] * size.parameters


def _share(total: int, ranks: int) -> int:
    return -(-total // ranks)


def _cached_token(config: ModelConfig | None, width: int, item: int) -> int | None:
    """Return a key and a value of each layer and head that a GPU has: heads are shared out, never cut."""
    if config is None or not (config.layers and config.key_value_heads and config.head_size):
        return None
    return 2 * config.layers * _share(config.key_value_heads, width) * config.head_size * item


def _activations(spec: ProRLJobSpec, config: ModelConfig | None, positions: int, *, on_gpu: bool) -> int | None:
    """Return what the backward pass needs of a pack, without what checkpointing stores (`_layer_inputs`).

    Of each of two norms: its input in float32, and what it gives before and after its weight. Queries and keys after
    the rotary embedding, values, the attention's output; twice the feed-forward part's width, whose activation is
    computed again, and twice more of the layer whose turn it is. With checkpointing: one layer whole, and of all what
    products and attention give if that is kept. As Llama, Qwen and Mistral are written in transformers and trained
    here. The head has two float32 buffers for the logits of a slice of rows, of one row at least.
    """
    if config is None or not (config.hidden_size and config.heads and config.head_size and config.layers):
        return None
    if not (config.intermediate_size and config.key_value_heads and config.vocabulary):
        return None
    item = BYTES[spec.learner.precision]
    queries, keys = config.heads * config.head_size, config.key_value_heads * config.head_size
    norms = 2 * config.hidden_size * (_FLOAT32 + 2 * item)
    layer = norms + item * (2 * queries + 2 * keys + 2 * config.intermediate_size)
    whole = 1 if spec.learner.gradient_checkpointing else config.layers
    if spec.learner.recompute_granularity is RecomputeGranularity.SELECTIVE:
        kept = item * (2 * config.hidden_size + 2 * queries + 2 * keys + 2 * config.intermediate_size)
    else:
        kept = 0
    alive = max(min(logits_alive(on_gpu=on_gpu), positions * config.vocabulary), config.vocabulary)
    again = 2 * item * config.intermediate_size
    return positions * (whole * layer + config.layers * kept + again) + 2 * _FLOAT32 * alive


def _layer_inputs(spec: ProRLJobSpec, config: ModelConfig | None, positions: int) -> int:
    """Return what gradient checkpointing stores of a pack: the input of each layer."""
    if config is None or not (config.hidden_size and config.layers and spec.learner.gradient_checkpointing):
        return 0
    return positions * config.layers * config.hidden_size * BYTES[spec.learner.precision]
