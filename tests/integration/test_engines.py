"""The engines' numbers on a tiny Llama: packed against one by one, plain against DeepSpeed, nothing but finite."""

from __future__ import annotations

import random
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from prorl_api.errors import SpecError
from prorl_api.spec.values import LossAggregation
from prorl_trainer.algorithm.packing import build_batch
from prorl_trainer.algorithm.types import Rollout, ScoredGroup, Segment
from prorl_trainer.engines.build import load_policy
from prorl_trainer.engines.head_slices import Slope
from prorl_trainer.engines.masks import as_inputs
from prorl_trainer.engines.prefix import Prefix
from tests.integration.engine_kit import (
    ALGORITHM,
    CPU,
    RATE,
    assert_sums_agree,
    distance,
    learner_spec,
    make_batch,
    make_engine,
    random_groups,
    train,
    weights_of,
    world_of_one,
)
from tests.integration.tiny_model import VOCABULARY, write_model
from tests.unit.trainer.trainer_builders import make_rollout, make_scored, make_segment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.distributed.* is deprecated:FutureWarning"),
]
BOTH = pytest.mark.parametrize("kind", ["plain", "deepspeed"])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"), tokenizer=False)


@pytest.fixture(scope="module", autouse=True)
def world() -> Iterator[None]:
    with world_of_one():
        yield


def one_by_one(model: Path, seed: int, temperature: float) -> dict[int, list[tuple[float, float]]]:
    """Log-probability and entropy of each loss token of each completion, each in a forward pass of its own."""
    from transformers import AutoModelForCausalLM

    policy = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, attn_implementation="eager").eval()
    answers: dict[int, list[tuple[float, float]]] = {}
    for scored in random_groups(seed):
        for rollout in scored.group.rollouts:
            ids = list(scored.group.prompt.token_ids)
            trained = [False] * len(ids)
            for segment in rollout.segments:
                ids += segment.token_ids
                trained += [segment.loss_mask] * len(segment.token_ids)
            with torch.no_grad():
                logits = policy(input_ids=torch.tensor([ids])).logits[0].double() / temperature
            table = torch.log_softmax(logits, -1)
            entropy = -(table.exp() * table).sum(-1)
            wanted = [place for place, is_trained in enumerate(trained) if is_trained]
            values = [(float(table[place - 1, ids[place]]), float(entropy[place - 1])) for place in wanted]
            answers[len(answers)] = values
    return answers


def no_loss(logprobs: Tensor, entropies: Tensor, names: Tensor) -> Slope:
    return Slope(torch.zeros(()), torch.zeros(len(names)), None)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("share", [False, True])
def test_packed_logprobs_and_entropies_equal_plain_forward_passes(
    model: Path, checkpointing: bool, share: bool
) -> None:
    policy = load_policy(str(model), learner_spec(), CPU)
    if checkpointing:
        policy.recompute_activations()
    batch = make_batch(1, minibatch=4, share_prompts=share, microbatch_tokens=90)
    expected = one_by_one(model, 1, batch.temperature)
    seen: dict[int, list[tuple[float, float]]] = {}
    for pack in batch.minibatches[0].packs_by_rank[0]:
        inputs = as_inputs(pack, policy.family.masks, CPU)
        logprobs, entropies, _ = policy(**inputs, temperature=batch.temperature, slope=no_loss)
        values = zip(pack.completion_ids.tolist(), logprobs.tolist(), entropies.tolist(), strict=True)
        for completion, logprob, entropy in values:
            seen.setdefault(completion, []).append((logprob, entropy))
    assert seen.keys() == expected.keys()
    for completion, values_of_one in expected.items():
        assert np.allclose(seen[completion], values_of_one, atol=1e-5)


def test_gradient_checkpointing_and_prompt_sharing_change_no_gradient(model: Path) -> None:
    plain, checkpointed = make_engine(model), make_engine(model, learner_spec(gradientCheckpointing=True))
    repeated = make_engine(model)
    for engine, share in ((plain, True), (checkpointed, True), (repeated, False)):
        batch = make_batch(1, minibatch=4, share_prompts=share)
        engine.prepare(batch)
        engine.update(0, ALGORITHM, RATE)
    assert distance(weights_of(plain), weights_of(checkpointed)) < 1e-5
    assert distance(weights_of(plain), weights_of(repeated)) < 1e-5


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("recomputed", ["nothing", "selective", "full"])
@pytest.mark.parametrize(("kind", "stage"), [("plain", 0), ("deepspeed", 1), ("deepspeed", 2)])
def test_continued_prefixes_train_as_prompts_that_are_repeated(
    model: Path, kind: str, stage: int, recomputed: str, precision: str
) -> None:
    """Two optimizer steps, so that old log-probabilities count, too."""
    how = {} if recomputed == "nothing" else {"gradientCheckpointing": True, "recomputeGranularity": recomputed}
    spec = learner_spec(kind, stage=stage, precision=precision, **how)
    engines, results, positions = [make_engine(model, spec) for _ in range(2)], [], []
    for engine, is_continued in zip(engines, (True, False), strict=True):
        batch = make_batch(1, minibatch=2, microbatch_tokens=36, continue_prefixes=is_continued)
        engine.prepare(batch)
        results.append([engine.update(index, ALGORITHM, RATE) for index in range(2)])
        positions.append(sum(one.num_positions for one in batch.minibatches))
    if precision == "float32":
        assert_sums_agree(results[0], results[1], 1e-5)
    else:
        assert_sums_agree(results[0], results[1], 0.03, tokens_at_the_bound=2)
    assert distance(*(weights_of(engine) for engine in engines)) < (1e-5 if precision == "float32" else 2**-7)
    assert positions[0] < positions[1]


def test_a_continuation_whose_loss_is_no_number_moves_nothing_and_the_next_batch_trains(model: Path) -> None:
    engine, other = make_engine(model), make_engine(model)
    before = weights_of(engine)
    batch = make_batch(1, minibatch=4, microbatch_tokens=40, continue_prefixes=True)
    packs = batch.minibatches[0].packs_by_rank[0]
    continuation = next(index for index, pack in enumerate(packs) if pack.prefix_length)
    engine.prepare(batch)
    references = list(engine._ref_logprobs[0])
    wrong = references[continuation]
    assert wrong is not None
    references[continuation] = torch.full_like(wrong, torch.nan)
    engine._ref_logprobs[0] = references
    assert np.isnan(engine.update(0, ALGORITHM, RATE)["gradient_norm"])
    assert distance(weights_of(engine), before) == 0.0
    assert train(engine, [2]) == train(other, [2])


def test_a_prefix_is_let_go_before_the_optimizer_step(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[torch.Tensor]] = []
    keep = Prefix.keep

    def kept(
        self: Prefix, layer: torch.nn.Module, key: torch.Tensor, value: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        made.append(weakref.ref(key))
        return keep(self, layer, key, value)

    monkeypatch.setattr(Prefix, "keep", kept)
    engine = make_engine(model)
    made.clear()
    step, alive = engine._backend.step, []

    def look(rate: float) -> float:
        alive.append(sum(map(is_alive, made)))
        return step(rate)

    monkeypatch.setattr(engine._backend, "step", look)
    batch = make_batch(1, minibatch=4, microbatch_tokens=40, continue_prefixes=True)
    engine.prepare(batch)
    made.clear()
    engine.update(0, ALGORITHM, RATE)
    assert made
    assert alive == [0]


def is_alive(tensor: weakref.ref[torch.Tensor]) -> bool:
    return tensor() is not None


@pytest.mark.parametrize(
    ("kind", "stage", "continues"), [("plain", 0, True), ("deepspeed", 2, True), ("deepspeed", 3, False)]
)
def test_prefixes_are_continued_below_zero_3(model: Path, kind: str, stage: int, continues: bool) -> None:
    assert make_engine(model, learner_spec(kind, stage=stage)).continues_prefixes == continues


@pytest.mark.parametrize(("kind", "stage"), [("plain", 0), ("deepspeed", 2), ("deepspeed", 3)])
def test_offloaded_activations_change_no_number(model: Path, kind: str, stage: int) -> None:
    """Host and device are both this machine; what is stored is a copy all the same."""
    spec = learner_spec(kind, stage=stage, gradientCheckpointing=True)
    kept, offloaded = make_engine(model, spec), make_engine(model, spec)
    offloaded._backend.policy.recompute_activations(offload=True)
    assert train(kept, [1, 2]) == train(offloaded, [1, 2])
    assert distance(weights_of(kept), weights_of(offloaded)) == 0.0


@pytest.mark.parametrize("offload", [False, True], ids=["inputs here", "inputs on the host"])
@pytest.mark.parametrize(("kind", "stage"), [("plain", 0), ("deepspeed", 1), ("deepspeed", 2)])
def test_what_is_computed_again_changes_no_number(model: Path, kind: str, stage: int, offload: bool) -> None:
    """Nothing, everything, and what is cheap."""
    fields: list[dict[str, Any]] = [
        {},
        {"gradientCheckpointing": True},
        {"gradientCheckpointing": True, "recomputeGranularity": "selective"},
    ]
    engines = [make_engine(model, learner_spec(kind, stage=stage, **each)) for each in fields]
    if offload:
        engines[2]._backend.policy.recompute_activations(offload=True, keep_products=True)
    results = [train(engine, [1, 2]) for engine in engines]
    assert results[0] == results[1] == results[2]
    assert distance(weights_of(engines[0]), weights_of(engines[2])) == 0.0


def test_every_matrix_of_the_plain_engine_has_its_gradient_summed_in_place(model: Path) -> None:
    engine = make_engine(model)
    kinds = Counter(type(module).__name__ for module in engine._backend.policy.modules())
    layers = engine._backend.policy.model.config.num_hidden_layers
    found = {name: kinds[name] for name in ("Linear", "SummedLinear", "GatedLinear", "SummedEmbedding", "FusedHead")}
    assert found == {
        "Linear": 0, "SummedLinear": 6 * layers, "GatedLinear": layers, "SummedEmbedding": 1, "FusedHead": 1
    }  # fmt: skip
    sums: list[Any] = [getattr(module, "gradient_sum", None) for module in engine._backend.policy.modules()]
    assert sum(each is not None for each in sums) == sum(found.values())


def test_no_product_and_no_attention_is_computed_again(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # DeepSpeed's ZeRO-3 leaves a function of its own there, for the whole process.
    monkeypatch.setattr(torch.nn.functional, "linear", torch._C._nn.linear)
    counts = {}
    for recomputed in ("nothing", "selective", "full"):
        policy = load_policy(str(model), learner_spec(), CPU)
        if recomputed != "nothing":
            policy.recompute_activations(keep_products=recomputed == "selective")
        batch = make_batch(1)
        given = as_inputs(batch.minibatches[0].packs_by_rank[0][0], policy.family.masks, CPU)
        loss = policy(**given, temperature=batch.temperature, slope=no_loss).loss
        with Counted() as seen:
            loss.backward()
        counts[recomputed] = seen.counts
    layers = policy.model.config.num_hidden_layers
    attention = "aten::_scaled_dot_product_flash_attention_for_cpu"
    assert attention not in counts["selective"]
    assert counts["full"][attention] >= layers
    assert counts["nothing"]["aten::mm"] == counts["selective"]["aten::mm"] == counts["full"]["aten::mm"] - layers * 6
    assert counts["nothing"]["aten::silu"] < counts["selective"]["aten::silu"]


class Counted(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Operators that are computed, by name."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func._schema.name] += 1
        return func(*args, **(kwargs or {}))


def test_the_device_keeps_no_input_of_a_layer_that_is_offloaded(model: Path) -> None:
    policy = load_policy(str(model), learner_spec(), CPU)
    policy.recompute_activations()
    inputs: list[weakref.ref[torch.Tensor]] = []
    for layer in policy.model.get_decoder().layers:
        layer.register_forward_pre_hook(lambda _, given: inputs.append(weakref.ref(given[0])))
    batch = make_batch(1)
    given = as_inputs(batch.minibatches[0].packs_by_rank[0][0], policy.family.masks, CPU)

    def alive() -> list[bool]:
        inputs.clear()
        output = policy(**given, temperature=batch.temperature, slope=no_loss)
        assert output.loss.requires_grad
        return [tensor() is not None for tensor in inputs]

    num_layers = policy.model.config.num_hidden_layers
    assert alive() == [True] * num_layers
    policy.recompute_activations(offload=True)
    assert alive() == [False] * num_layers


def test_offloaded_activations_need_a_gpu(model: Path) -> None:
    spec = learner_spec(gradientCheckpointing=True, offloadActivations=True)
    with pytest.raises(SpecError, match=r"spec.learner.offloadActivations: got true; false .*there is no GPU here"):
        make_engine(model, spec)


@pytest.mark.parametrize(("kind", "stage"), [("plain", 2), ("deepspeed", 2)])
def test_completions_that_begin_alike_train_as_if_each_were_computed(model: Path, kind: str, stage: int) -> None:
    """Each with advantages of its own, in two optimizer steps, so that old log-probabilities count, too."""
    groups = [beginning_alike(scored) for scored in random_groups(1)]
    engines, results, positions = [make_engine(model, learner_spec(kind, stage=stage)) for _ in range(2)], [], []
    for engine, share in zip(engines, (True, False), strict=True):
        batch = build_batch(
            groups, minibatch_prompts=2, microbatch_tokens=256, num_ranks=1, aggregation=LossAggregation.TOKEN_MEAN,
            temperature=0.9, share_prompts=share,
        )  # fmt: skip
        engine.prepare(batch)
        results.append([engine.update(index, ALGORITHM, RATE) for index in range(2)])
        positions.append(sum(one.num_positions for one in batch.minibatches))
    assert_sums_agree(results[0], results[1], 1e-5)
    assert distance(*(weights_of(engine) for engine in engines)) < 1e-5
    assert positions[0] < positions[1] / 2


def beginning_alike(scored: ScoredGroup) -> ScoredGroup:
    """After two tokens that all open with, each completion twice, its first half, and one whose last token differs."""
    dice = random.Random(scored.group.prompt.index)
    opening = make_segment([3, 7], logprobs=[-4.0, -5.0])

    def after_it(segments: Sequence[Segment]) -> Rollout:
        return make_rollout(opening, *segments)

    rollouts: list[Rollout] = []
    for rollout in scored.group.rollouts:
        *before, last = rollout.segments
        size = len(last.token_ids) // 2
        half = replace(last, token_ids=last.token_ids[:size], logprobs=last.logprobs[:size])
        other = replace(last, token_ids=(*last.token_ids[:-1], dice.randrange(2, VOCABULARY)))
        rollouts += [after_it(one) for one in (rollout.segments, rollout.segments, [*before, half], [*before, other])]
    advantages = [0.3 * number - 1.0 for number in range(len(rollouts))]
    return make_scored(replace(scored.group, rollouts=tuple(rollouts)), advantages)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_deepspeed_equals_plain_over_several_optimizer_steps_in_float32(model: Path, stage: int) -> None:
    plain, deepspeed = make_engine(model), make_engine(model, learner_spec("deepspeed", stage=stage))
    assert_sums_agree(train(deepspeed, [1, 2, 3]), train(plain, [1, 2, 3]), 1e-5)
    assert distance(weights_of(plain), weights_of(deepspeed)) < 1e-5
    assert distance(weights_of(plain), weights_of(make_engine(model))) > 1e-2, "it has trained"


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_deepspeed_equals_plain_within_tolerance_in_bfloat16(model: Path, stage: int) -> None:
    plain = make_engine(model, learner_spec(precision="bfloat16"))
    deepspeed = make_engine(model, learner_spec("deepspeed", stage=stage, precision="bfloat16"))
    assert_sums_agree(train(deepspeed, [1]), train(plain, [1]), 0.03, tokens_at_the_bound=2)
    assert distance(weights_of(plain), weights_of(deepspeed)) < 2**-7
