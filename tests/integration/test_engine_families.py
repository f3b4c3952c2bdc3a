"""Every architecture is right when it is run packed, or refused by name when it is loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prorl_api.errors import SpecError
from prorl_trainer.algorithm.types import Batch
from prorl_trainer.engines.attention.blocks import CALL_COST
from prorl_trainer.engines.build import load_policy
from prorl_trainer.engines.head_slices import LogitTreatment
from prorl_trainer.engines.masks import MaskPlan, Way, as_inputs
from prorl_trainer.engines.packed_policy import PackedPolicy
from prorl_trainer.engines.packing_proof import prove_packing
from tests.integration.engine_kit import CPU, learner_spec, make_batch, random_groups
from tests.integration.tiny_families import (
    DENSE,
    LAYERS,
    NOT_GATED,
    REFUSED,
    REPEATED,
    RIGHT,
    UNLIKE_THEMSELVES,
    WINDOW,
    write_configuration,
    write_family,
)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
SEED = 3


def packed_logprobs(policy: PackedPolicy, batch: Batch, **plan: Any) -> dict[int, list[float]]:
    """Log-probabilities of the loss tokens of each completion; `plan` changes the plan of masks."""
    masks = replace(policy.family.masks, **plan)
    seen: dict[int, list[float]] = {}
    for pack in batch.minibatches[0].packs_by_rank[0]:
        with torch.no_grad():
            output = policy(**as_inputs(pack, masks, CPU), temperature=batch.temperature)
        for completion, logprob in zip(pack.completion_ids.tolist(), output.logprobs.tolist(), strict=True):
            seen.setdefault(completion, []).append(logprob)
    return seen


def plain_logprobs(folder: Path, temperature: float) -> dict[int, list[float]]:
    """The same, each completion after its prompt in a forward pass of its own, by the model's own code, eager."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    answers: dict[int, list[float]] = {}
    for scored in random_groups(SEED):
        for rollout in scored.group.rollouts:
            ids, wanted = list(scored.group.prompt.token_ids), []
            for segment in rollout.segments:
                wanted += [len(ids) + number for number in range(len(segment.token_ids)) if segment.loss_mask]
                ids += segment.token_ids
            with torch.no_grad():
                table = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0].double() / temperature, -1)
            answers[len(answers)] = [float(table[place - 1, ids[place]]) for place in wanted]
    return answers


@pytest.mark.parametrize("name", RIGHT)
def test_packed_logprobs_are_those_of_one_sequence_at_a_time(name: str, tmp_path: Path) -> None:
    folder = write_family(tmp_path, name, RIGHT[name])
    policy = load_policy(str(folder), learner_spec(), CPU)
    batch = make_batch(SEED, minibatch=4, microbatch_tokens=90)
    plain = plain_logprobs(folder, batch.temperature)
    for call_cost in (0, CALL_COST):  # everything apart, and short groups under one mask
        packed = packed_logprobs(policy, batch, call_cost=call_cost)
        assert packed.keys() == plain.keys()
        differences = np.abs(np.concatenate([np.array(packed[key]) - plain[key] for key in plain]))
        assert differences.mean() < 3e-6
        assert differences.max() < 2e-5
    assert np.std(np.concatenate(list(plain.values()))) > 0.05, "the model tells tokens apart"
    assert prove_packing(policy, name) < 5e-6  # deep recurrence (hrm_text) enlarges rounding
    assert policy.family.masks.way is (Way.DENSE if name in DENSE else Way.SEGMENTS)
    assert len(policy._gated) == (0 if name in NOT_GATED else 2 * LAYERS if name == "hrm_text" else LAYERS)
    if name in DENSE or name in REPEATED:
        with pytest.raises(SpecError, match=r"a packed pass fails \((TypeError|ValueError)"):
            prove_packing(policy, name, is_continued=True)
    else:
        assert prove_packing(policy, name, is_continued=True) < 5e-6


@pytest.mark.parametrize("name", [name for name in RIGHT if name not in NOT_GATED])
def test_what_waits_for_the_backward_pass_changes_no_gradient(name: str, tmp_path: Path) -> None:
    """Gated blocks that compute again what they do not keep, against the model's own, to the last bit."""
    policy = load_policy(str(write_family(tmp_path, name, RIGHT[name])), learner_spec(), CPU)
    (pack,) = make_batch(SEED, count=1, minibatch=1, microbatch_tokens=90).minibatches[0].packs_by_rank[0]
    found = []
    for keeps_all in (False, True):
        policy._have_blocks_keep_all(keeps_all)
        policy.zero_grad()
        given = as_inputs(pack, policy.family.masks, CPU)
        decoder = policy.model.get_decoder()
        hidden = decoder(
            input_ids=given["input_ids"], position_ids=given["position_ids"], attention_mask=given["masks"],
            use_cache=False,
        ).last_hidden_state  # fmt: skip
        (hidden * torch.linspace(-1.0, 1.0, hidden.numel()).view(hidden.shape)).sum().backward()
        found.append({label: one.grad for label, one in policy.named_parameters() if one.grad is not None})
    ours, theirs = found
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[label], theirs[label]) for label in ours)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_packed_is_refused_by_name_before_weights_are_read(name: str, tmp_path: Path) -> None:
    changes, reason = REFUSED[name]
    folder = write_configuration(tmp_path, name, changes)
    with pytest.raises(SpecError, match=reason):
        load_policy(str(folder), learner_spec(), CPU)


@pytest.mark.parametrize("name", UNLIKE_THEMSELVES)
def test_what_nobody_has_thought_of_is_refused_by_the_proof(name: str, tmp_path: Path) -> None:
    folder = write_family(tmp_path, name, UNLIKE_THEMSELVES[name])
    with pytest.raises(SpecError, match=r"packed log-probabilities differ|a packed pass fails|output head"):
        prove_packing(load_policy(str(folder), learner_spec(), CPU), name)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("granite", {"logits": LogitTreatment()}),
        ("cohere", {"logits": LogitTreatment(scale=16.0)}),
        ("gemma2", {"logits": LogitTreatment()}),
        ("gemma2", {"masks": MaskPlan(additive_dtype=torch.float32)}),
        ("gemma3_text", {"masks": MaskPlan()}),
        ("gemma3_text", {"masks": MaskPlan(window=WINDOW)}),
        ("mistral", {"masks": MaskPlan()}),
    ],
)
def test_the_proof_notices_what_the_family_was_not_told(name: str, wrong: dict[str, Any], tmp_path: Path) -> None:
    policy = load_policy(str(write_family(tmp_path, name, RIGHT[name])), learner_spec(), CPU)
    policy.family = replace(policy.family, **wrong)
    message = r"spec\.model\.path: got .*: packed log-probabilities differ .* nats"
    policy.family = replace(policy.family, masks=replace(policy.family.masks, way=Way.SEGMENTS))
    with pytest.raises(SpecError, match=message):
        prove_packing(policy, name)
    policy.attend_densely()
    with pytest.raises(SpecError, match=message):
        prove_packing(policy, name)


@pytest.mark.parametrize("name", ["mistral", "gemma3_text", "gpt_oss"])
def test_the_proof_narrows_windows_that_no_short_sequence_reaches(name: str, tmp_path: Path) -> None:
    wide = {**RIGHT[name], "sliding_window": 256}
    policy = load_policy(str(write_family(tmp_path, name, wide)), learner_spec(), CPU)
    assert prove_packing(policy, name) < 3e-6
    assert policy.model.config.sliding_window == 256
    policy.family = replace(policy.family, masks=replace(policy.family.masks, window=None, by_layer_type=False))
    policy.model.config.sliding_window = WINDOW
    with pytest.raises(SpecError, match="packed log-probabilities differ"):
        prove_packing(policy, name)
