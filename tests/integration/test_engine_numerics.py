"""What an optimizer step computes: against a naive loop, in float32 sums, without dropout, after a loss of NaN."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from prorl_api.spec.algorithm import AlgorithmSpec
from prorl_api.spec.values import LossAggregation
from prorl_trainer.algorithm.losses import LossInputs, token_losses
from prorl_trainer.algorithm.packing import build_batch
from prorl_trainer.algorithm.types import Batch
from prorl_trainer.engines.attention.blocks import CALL_COST
from prorl_trainer.engines.masks import Way
from tests.integration.engine_kit import (
    ADAM_EPSILON,
    ALGORITHM,
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
from tests.integration.tiny_families import RIGHT, write_family
from tests.integration.tiny_model import write_model

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
PATHS = pytest.mark.parametrize(("kind", "stage"), [("plain", 2), *(("deepspeed", stage) for stage in range(4))])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"), tokenizer=False)


@pytest.fixture(scope="module", autouse=True)
def world() -> Iterator[None]:
    with world_of_one():
        yield


def naive_training(folder: Path, batch: Batch, seed: int) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses and final weights of the batch's optimizer steps: one sequence at a time, everything by autograd."""
    from transformers import AutoModelForCausalLM

    load = AutoModelForCausalLM.from_pretrained
    policy, reference = (load(folder, dtype=torch.float32, attn_implementation="eager").eval() for _ in range(2))
    optimizer = torch.optim.AdamW(
        policy.parameters(), lr=RATE, eps=ADAM_EPSILON, weight_decay=0.0, fused=False, foreach=False
    )
    groups, starts = random_groups(seed), range(0, 4, 2)

    def logprobs(model: Any, ids: list[int], wanted: list[int]) -> torch.Tensor:
        table = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0] / batch.temperature, -1)
        return torch.stack([table[place - 1, ids[place]] for place in wanted])

    def rows(start: int) -> Iterator[tuple[list[int], list[int], list[float], float]]:
        for scored in groups[start : start + 2]:
            for rollout, advantage in zip(scored.group.rollouts, scored.advantages, strict=True):
                ids = list(scored.group.prompt.token_ids)
                wanted: list[int] = []
                rollout_logprobs: list[float] = []
                for segment in rollout.segments:
                    if segment.loss_mask:
                        wanted += range(len(ids), len(ids) + len(segment.token_ids))
                        rollout_logprobs += segment.logprobs
                    ids += segment.token_ids
                assert advantage is not None
                yield ids, wanted, rollout_logprobs, advantage

    with torch.no_grad():
        old = {start: [logprobs(policy, ids, wanted) for ids, wanted, _, _ in rows(start)] for start in starts}
        ref = {start: [logprobs(reference, ids, wanted) for ids, wanted, _, _ in rows(start)] for start in starts}
    losses = []
    for start in starts:
        total, loss = sum(len(wanted) for _, wanted, _, _ in rows(start)), torch.zeros(())
        for number, (ids, wanted, rollout_logprobs, advantage) in enumerate(rows(start)):
            inputs = LossInputs(
                old_logprobs=old[start][number],
                ref_logprobs=ref[start][number],
                rollout_logprobs=torch.tensor(rollout_logprobs),
                advantages=torch.full((len(wanted),), advantage),
                token_weights=torch.full((len(wanted),), 1 / total),
            )
            loss = loss + token_losses(ALGORITHM, logprobs(policy, ids, wanted), inputs).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses, {name: parameter.detach() for name, parameter in policy.named_parameters()}


@PATHS
def test_training_equals_a_naive_loop_over_single_sequences(model: Path, kind: str, stage: int) -> None:
    batch = make_batch(1)
    losses, weights = naive_training(model, batch, 1)
    engine = make_engine(model, learner_spec(kind, stage=stage))
    updates = train(engine, [1])
    assert [update["loss"] for update in updates] == pytest.approx(losses, rel=1e-4, abs=1e-6)
    assert distance(weights, weights_of(engine)) < 1e-4
    assert distance(weights, weights_of(make_engine(model))) > 1e-2, "it has trained"


@pytest.mark.parametrize("call_cost", [0, CALL_COST])
@pytest.mark.parametrize("name", ["granite", "gemma2", "cohere", "mistral", "gpt_oss", "deepseek_v3"])
def test_gradients_go_through_the_models_own_attention_and_treatment_of_logits(
    name: str, call_cost: int, tmp_path: Path
) -> None:
    folder = write_family(tmp_path, name, RIGHT[name])
    losses, weights = naive_training(folder, make_batch(1), 1)
    engine = make_engine(folder)
    policy = engine._backend.policy
    family = policy.family  # its plan is that of all passes
    policy.family = replace(family, masks=replace(family.masks, call_cost=call_cost))
    assert family.masks.way is Way.SEGMENTS
    assert [update["loss"] for update in train(engine, [1])] == pytest.approx(losses, rel=1e-3, abs=1e-6)
    assert distance(weights, weights_of(engine)) < 1e-3


def equal_packs(count: int) -> Batch:
    """One group, `count` times, each in a pack of its own: the mean gradient does not depend on the count."""
    (group,) = random_groups(1, 1)
    return build_batch(
        [group] * count,
        minibatch_prompts=count,
        microbatch_tokens=64,
        num_ranks=1,
        aggregation=LossAggregation.TOKEN_MEAN,
        temperature=1.0,
    )


@PATHS
def test_many_equal_packs_have_the_gradient_of_one_in_bfloat16_too(model: Path, kind: str, stage: int) -> None:
    engine = make_engine(model, learner_spec(kind, stage=stage, precision="bfloat16"))
    norms = []
    for count in (1, 512, 1024):
        engine.prepare(equal_packs(count))
        norms.append(engine.update(0, ALGORITHM, 1e-12)["gradient_norm"])
    assert norms[1:] == pytest.approx([norms[0]] * 2, rel=1e-3)


@pytest.mark.parametrize("kind", ["plain", "deepspeed"])
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(
    ("name", "dropout"),
    [
        ("gpt2", {"resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1}),
        ("seed_oss", {"residual_dropout": 0.1, "attention_dropout": 0.1}),
        ("opt", {"dropout": 0.1, "attention_dropout": 0.1, "layerdrop": 0.3}),
        ("phimoe", {"attention_dropout": 0.1, "router_jitter_noise": 0.1, "input_jitter_noise": 0.1}),
    ],
)
def test_nothing_is_dropped_while_training(
    name: str, dropout: dict[str, float], checkpointing: bool, kind: str, tmp_path: Path
) -> None:
    folder = write_family(tmp_path, name, dropout)
    engine = make_engine(folder, learner_spec(kind, gradientCheckpointing=checkpointing))
    first = train(engine, [1], rate=0.0)
    assert first[0]["kl"] == pytest.approx(0.0, abs=1e-9), "policy and reference are the same model"
    assert first[1]["kl"] == pytest.approx(0.0, abs=1e-9)
    assert_sums_agree(train(engine, [1], rate=0.0), first, 1e-7)


@PATHS
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_goes_on_after_a_loss_that_is_no_number_as_if_it_had_not_been(
    model: Path, kind: str, stage: int, precision: str
) -> None:
    spec = learner_spec(kind, stage=stage, precision=precision)
    engine, twin = make_engine(model, spec), make_engine(model, spec)
    for one in (engine, twin):
        train(one, [1])
    batch = make_batch(2)
    (*packs, last), minibatch = batch.minibatches[0].packs_by_rank[0], batch.minibatches[0]
    advantages = last.advantages.copy()
    advantages[0] = math.nan
    spoilt = replace(minibatch, packs_by_rank=((*packs, replace(last, advantages=advantages)),))
    engine.prepare(replace(batch, minibatches=(spoilt,)))
    assert packs, "gradients of good packs lie there when the bad one comes"
    assert not math.isfinite(engine.update(0, ALGORITHM, RATE)["gradient_norm"])
    assert_sums_agree(train(engine, [3]), train(twin, [3]), 1e-6)
    assert distance(weights_of(engine), weights_of(twin)) < 1e-6


@pytest.mark.parametrize("kind", ["plain", "deepspeed"])
def test_without_a_kl_the_reference_is_not_run_and_nothing_else_changes(
    model: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = AlgorithmSpec.model_validate({"kl": {"coefficient": 0}, "clip": {"low": 0.1, "high": 0.15}})
    engine, twin = make_engine(model, learner_spec(kind)), make_engine(model, learner_spec(kind))
    assert engine._reference is not None
    monkeypatch.setattr(engine._reference.module, "forward", None)  # whoever calls it fails
    for one, with_reference in ((engine, False), (twin, True)):
        one.prepare(make_batch(1), with_reference)
    first, second = engine.update(0, free, RATE), twin.update(0, free, RATE)
    assert second.pop("kl") == pytest.approx(0.0, abs=1e-6)
    assert_sums_agree([first], [second], 1e-7)
