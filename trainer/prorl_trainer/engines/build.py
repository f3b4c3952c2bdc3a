"""From a model folder to a training engine."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from prorl_api.errors import Fault, SpecError, WeightsError
from prorl_api.spec.roles import LearnerSpec
from prorl_api.spec.values import EngineKind, Precision, RecomputeGranularity
from prorl_trainer.engines.backend import Backend
from prorl_trainer.engines.engine import TrainingEngine
from prorl_trainer.engines.families import family_of, refusals
from prorl_trainer.engines.masks import Way
from prorl_trainer.engines.packed_policy import PackedPolicy
from prorl_trainer.engines.packing_proof import prove_packing
from prorl_trainer.engines.placement import raise_if_misplaced
from prorl_trainer.engines.plain import PlainBackend
from prorl_trainer.engines.reference import Reference, make_reference
from prorl_trainer.engines.weight_files import read_weights

_logger = logging.getLogger(__name__)
DTYPES = {Precision.BFLOAT16: torch.bfloat16, Precision.FLOAT32: torch.float32}


def training_device() -> torch.device:
    """Return the GPU of this rank if there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def load_policy(model_path: str, learner: LearnerSpec, device: torch.device) -> PackedPolicy:
    """Return a causal language model in training precision.

    Raises:
        SpecError: The folder does not hold a model that transformers can load, or one that cannot be trained packed;
            nothing is left behind.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    is_local, dtype = Path(model_path).is_dir(), DTYPES[learner.precision]
    try:
        config = AutoConfig.from_pretrained(model_path, local_files_only=is_local, trust_remote_code=False)
        decoder = config.get_text_config(decoder=True)
        model_class = AutoModelForCausalLM._model_mapping[type(config)]
        _raise_if_refused(model_path, refusals(decoder))
        family = family_of(decoder, model_class, dtype, device)
        model, loaded = AutoModelForCausalLM.from_pretrained(
            model_path,
            dtype=dtype,
            attn_implementation=family.attention,
            local_files_only=is_local,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (SpecError, MemoryError):
        raise
    except Exception as error:  # the library raises whatever it stumbles over, bare ones of its parts among it
        if "memory" in str(error).lower():
            raise
        want = "a folder with config.json, tokenizer and safetensors of a causal language model, which belong together"
        got = f"{model_path} ({type(error).__name__}: {_short(error)})"
        raise SpecError([Fault(path="spec.model.path", got=got, want=want)], source="the model") from error
    _raise_if_not_whole(model_path, loaded)
    head = model.get_output_embeddings()
    if type(head) is not torch.nn.Linear:
        _raise_if_refused(model_path, [f"its output head is a {type(head).__name__}, not one linear layer"])
    return PackedPolicy(model.to(device), family, head_in_float32=learner.head_precision is Precision.FLOAT32)


def _short(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines)[:400]


def _raise_if_not_whole(model_path: str, loaded: dict[str, Any]) -> None:
    """Refuse weights that are not all of the model's: the library makes up what is missing, at random."""
    missing = sorted(map(str, loaded.get("missing_keys") or ()))
    if missing:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        got = f"{model_path}: its weights lack {shown}"
        want = "config.json and weights of the same model: the architecture it names has these parts"
        raise SpecError([Fault(path="spec.model.path", got=got, want=want)], source="the model")


def _raise_if_refused(model_path: str, reasons: Iterable[str]) -> None:
    want = "an architecture that can be trained packed: docs/models.md"
    faults = [Fault(path="spec.model.path", got=f"{model_path}: {reason}", want=want) for reason in reasons]
    if faults:
        raise SpecError(faults, source="the model")


def build_engine(
    model_path: str,
    learner: LearnerSpec,
    device: torch.device,
    initial_weights: Path | None,
    *,
    with_reference: bool = True,
) -> TrainingEngine:
    """Return the engine of this rank, policy and reference both at the base model (or at `initial_weights`).

    `torch.distributed` must be initialised for engine `deepspeed`. Without a reference, one is built once asked for.

    Raises:
        SpecError: The model cannot be loaded, or reads differently when packed, or activations cannot lie where they
            are wanted.
        OSError: The disk has no room for a reference that is offloaded to it.
    """
    raise_if_misplaced(learner, device)

    def whole_policy() -> PackedPolicy:
        loaded = load_policy(model_path, learner, device)
        if initial_weights is not None:
            _begin_at(initial_weights, loaded)
        return loaded

    def late_reference() -> Reference:
        loaded = whole_policy()
        if policy.family.masks.way is Way.DENSE:  # the two read the same masks
            loaded.attend_densely()
        return make_reference(loaded, learner, device)

    policy = whole_policy()
    difference = _proven(policy, model_path)
    _logger.info(
        "packed log-probabilities are the model's own",
        extra={"mean_difference_nats": difference, "attention": policy.family.masks.way.value},
    )
    reference = make_reference(copy.deepcopy(policy), learner, device) if with_reference else None
    if learner.gradient_checkpointing:
        policy.recompute_activations(
            offload=learner.offload_activations,
            keep_products=learner.recompute_granularity is RecomputeGranularity.SELECTIVE,
        )
    return TrainingEngine(_backend(policy, learner, device), reference, late_reference)


def _begin_at(weights: Path, policy: PackedPolicy) -> None:
    """Overwrite the base model with another run's weights."""
    try:
        read_weights(weights, policy)
    except WeightsError as error:
        want = "a run of the model in spec.model.path"
        raise SpecError([Fault(path="spec.initFrom.run", got=str(error), want=want)], source="the job") from error


def _proven(policy: PackedPolicy, model_path: str) -> float:
    """Prove the packing with attention in linear memory, and prefixes that packs continue.

    Where the first fails, dense masks are proven; where the second fails, prompts are repeated.
    """
    way = policy.family.masks.way
    if way is not Way.DENSE:
        try:
            difference = prove_packing(policy, model_path)
        except SpecError as error:
            _logger.warning(
                "attention goes by dense masks: memory and time grow with the square of spec.learner.microbatchTokens",
                extra={"attention": way.value, "reason": str(error)},
            )
            policy.attend_densely()
        else:
            return max(difference, _proven_to_continue(policy, model_path))
    return prove_packing(policy, model_path)


def _proven_to_continue(policy: PackedPolicy, model_path: str) -> float:
    try:
        return prove_packing(policy, model_path, is_continued=True)
    except SpecError as error:
        _logger.warning("prompts are computed once in each pack", extra={"reason": str(error)})
        policy.repeat_prompts()
        return 0.0


def _backend(policy: PackedPolicy, learner: LearnerSpec, device: torch.device) -> Backend:
    if learner.engine is EngineKind.PLAIN:
        return PlainBackend(policy, learner.optimizer, device)
    rank, num_ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    if learner.deepspeed.zero_stage == 0:  # nothing to shard: DeepSpeed has no part in it
        return PlainBackend(policy, learner.optimizer, device, rank=rank, num_ranks=num_ranks)
    from prorl_trainer.engines.deepspeed_backend import DeepSpeedBackend

    return DeepSpeedBackend(policy, learner, device)
