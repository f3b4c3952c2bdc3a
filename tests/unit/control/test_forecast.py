"""The forecast of a job, with values worked by hand: the quickstart, and a 7B model on eight nodes."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prorl_api.manifest import read_job
from prorl_api.model.config import ModelConfig
from prorl_api.spec.job import ProRLJobSpec
from prorl_api.spec.values import LossAggregation
from prorl_control.forecast.batches import Lengths, stage_batches
from prorl_control.forecast.fitting import Devices, cache_bytes, misfits, wastes
from prorl_control.forecast.memory import ModelSize, published_bytes, rank_memory, sandbox_memory, server_memory
from prorl_control.forecast.times import Throughput, step_time
from prorl_control.plan import plan
from prorl_trainer.algorithm.packing import build_batch
from prorl_trainer.algorithm.types import RolloutGroup
from tests.unit.trainer.trainer_builders import make_prompt, make_rollout, make_scored, make_segment

sys.path.insert(0, str(Path(__file__).parent))
from control_builders import make_job

EXAMPLES = Path(__file__).parents[3] / "examples"
LONGEST = Lengths()
SMOLLM = ModelConfig(
    {"model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "vocab_size": 49152,
     "num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": True, "max_position_embeddings": 8192}
)  # fmt: skip
QWEN_7B = ModelConfig(
    {"model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
     "vocab_size": 152064, "num_attention_heads": 28, "num_key_value_heads": 4, "tie_word_embeddings": False,
     "max_position_embeddings": 131072}
)  # fmt: skip
GPU_80 = Devices(memory=80 * 2**30, on_gpu=True)


def quickstart() -> ProRLJobSpec:
    return read_job(EXAMPLES / "quickstart.yaml").spec


def eight_nodes() -> ProRLJobSpec:
    return read_job(EXAMPLES / "recipes" / "eight-nodes-7b.yaml").spec


def size_of(config: ModelConfig) -> ModelSize:
    assert config.counted_parameters is not None
    return ModelSize(parameters=config.counted_parameters, config=config)


def test_parameters_are_counted_as_the_models_cards_say() -> None:
    """SmolLM2: 49,152 x 576 + 30 x (2 x 576 x (576 + 192) + 3 x 576 x 1,536 + 2 x 576) + 576. Qwen2.5-7B: 7.62 B."""
    assert SMOLLM.counted_parameters == 134_515_008
    assert QWEN_7B.counted_parameters == 7_615_616_512


def test_an_unknown_family_is_not_counted() -> None:
    assert ModelConfig({**QWEN_7B.raw, "model_type": "mixtral"}).counted_parameters is None


def test_the_quickstarts_batch_by_hand() -> None:
    """A group is one piece of 96 + 8 x 5 = 136 positions; seven of the eight of a minibatch fit into 1,024."""
    (stage,) = stage_batches(quickstart(), LONGEST)
    assert (stage.first_step, stage.last_step, stage.steps) == (1, 12, 12)
    assert (stage.prompts, stage.group_size, stage.completions, stage.optimizer_steps) == (16, 8, 128, 2)
    assert (stage.packs, stage.pack_positions) == (2, 952)
    assert (stage.sampled_tokens, stage.trained_positions) == (768, 2176)
    assert stage.most_prompts == 64
    assert stage.measures_kl


def test_the_quickstarts_memory_by_hand() -> None:
    """In float32 with DeepSpeed on one rank: weight 4, gradient 4, two moments and a master copy 12, reference 4."""
    spec, size, machine = quickstart(), size_of(SMOLLM), Devices(memory=24 * 2**30, on_gpu=False)
    rank, server = rank_memory(spec, size, 1008, on_gpu=False), server_memory(spec, size)
    assert (rank.weights, rank.gradients, rank.reference) == (538_060_032,) * 3
    assert (rank.optimizer, rank.buffers, rank.on_host) == (1_614_180_096, 0, 0)
    layer = 2 * 576 * 12 + 4 * (2 * 576 + 2 * 192 + 2 * 1536)
    assert (
        rank.activations == 1008 * (30 * layer + 2 * 4 * 1536) + 8 * 2**24
    )  # 1,008 rows of logits would be three times as many
    assert server.weights == published_bytes(spec, size) == 538_060_032
    assert server.token == 2 * 30 * 3 * 64 * 4
    assert cache_bytes(spec, server, machine) == 402_653_184
    assert misfits(spec, size, rank, server, machine) == []


def test_eight_nodes_batch_by_hand() -> None:
    """16,384 positions hold one completion of 8,192 with its prompt of 1,024, and no second such piece."""
    (stage,) = stage_batches(eight_nodes(), LONGEST)
    assert (stage.completions, stage.optimizer_steps, stage.steps) == (4096, 4, 2000)
    assert (stage.packs, stage.pack_positions) == (1024, 9215)
    assert (stage.sampled_tokens, stage.trained_positions) == (33_554_432, 37_744_640)
    assert stage.most_prompts == 2048
    assert list(wastes(eight_nodes(), [stage])) == []


def test_eight_nodes_memory_by_hand() -> None:
    """ZeRO-3 in bfloat16 on 32 ranks: (2, 4 and 12) x 7,615,616,512 / 32; the reference is a copy on each rank."""
    spec, size = eight_nodes(), size_of(QWEN_7B)
    rank, server = rank_memory(spec, size, 9216, on_gpu=True), server_memory(spec, size)
    assert (rank.weights, rank.gradients, rank.optimizer) == (475_976_032, 951_952_064, 2_855_856_192)
    assert rank.reference == published_bytes(spec, size) == server.weights == 15_231_233_024
    assert rank.buffers == 1_000_000_000
    layer = 2 * 3584 * 8 + 2 * (2 * 3584 + 2 * 512 + 2 * 18944)
    assert rank.activations == 9216 * (layer + 2 * 2 * 18944 + 28 * 3584 * 2) + 2**30
    assert server.token == 57_344
    cache = cache_bytes(spec, server, GPU_80)
    assert cache == 77_309_411_328 - 15_231_233_024
    assert cache // 57_344 // 9216 == 117
    assert misfits(spec, size, rank, server, GPU_80) == []


def test_eight_nodes_time_by_hand() -> None:
    """32 servers of 2,000 tokens/s; 32 ranks of 4,000 positions/s, a quarter of it forward; 1 GB/s."""
    spec = eight_nodes()
    (stage,) = stage_batches(spec, LONGEST)
    time = step_time(spec, stage, Throughput(server_tokens=2000, rank_positions=4000, link_bytes=1e9), 15_231_233_024)
    assert time.sampling == pytest.approx(33_554_432 / 64_000)
    assert time.updating == pytest.approx(294.88)
    assert time.scoring == pytest.approx(294.88 / 4 * (1 + 3 / 4))
    assert time.publishing == pytest.approx(15.231233024)
    assert time.known == pytest.approx(524.288 + 294.88 + 129.01 + 15.231233024)


def test_time_without_throughputs_is_not_invented() -> None:
    (stage,) = stage_batches(quickstart(), LONGEST)
    time = step_time(quickstart(), stage, Throughput(), None)
    assert (time.sampling, time.scoring, time.updating, time.publishing, time.known) == (None, None, None, None, 0)


def test_ranks_wait_for_the_one_with_the_most_packs() -> None:
    """Two packs on one rank take as long as three on two: one of them has two rounds."""
    job = make_job(
        rollout={"maxPromptTokens": 8, "maxCompletionTokens": 8},
        learner={"promptsPerStep": 3, "minibatchPrompts": 3, "groupSize": 2, "microbatchTokens": 24},
    )
    (stage,) = stage_batches(job.spec, LONGEST)
    assert (stage.packs, stage.trained_positions) == (3, 66)
    two = job.spec.model_copy(update={"learner": job.spec.learner.model_copy(update={"processes_per_replica": 2})})
    assert step_time(job.spec, stage, Throughput(rank_positions=1), None).updating == pytest.approx(66)
    (of_two,) = stage_batches(two, LONGEST)
    assert step_time(two, of_two, Throughput(rank_positions=1), None).updating == pytest.approx(44)


@pytest.mark.parametrize("stage_of_zero", [2, 3])
@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
def test_packs_are_those_that_the_learner_builds(ranks: int, stage_of_zero: int) -> None:
    """Over groups that share packs, fill one, and are cut."""
    sizes = [*((limit, 7, 9) for limit in (20, 24, 40, 48, 57, 64, 200)), (3000, 7, 400), (3000, 11, 400), (16, 9, 1)]
    for limit, prompt, completion in sizes:
        job = make_job(
            rollout={"maxPromptTokens": prompt, "maxCompletionTokens": completion},
            learner={
                "promptsPerStep": 6, "minibatchPrompts": 3, "groupSize": 5, "microbatchTokens": limit,
                "processesPerReplica": ranks, "deepspeed": {"zeroStage": stage_of_zero}, "engine": "deepspeed",
            },
        )  # fmt: skip
        (stage,) = stage_batches(job.spec, LONGEST)
        rollouts = tuple(
            make_rollout(make_segment([number] * completion, logprobs=[0.0] * completion)) for number in range(5)
        )
        groups = [
            make_scored(RolloutGroup(prompt=make_prompt(index, token_ids=[1] * prompt), rollouts=rollouts), [1.0] * 5)
            for index in range(6)
        ]
        batch = build_batch(
            groups, minibatch_prompts=3, microbatch_tokens=limit, num_ranks=ranks,
            aggregation=LossAggregation.TOKEN_MEAN, temperature=1.0, continue_prefixes=stage_of_zero < 3,
        )  # fmt: skip
        built = [
            [[pack for pack in packs if pack.group_ids[0] >= 0] for packs in minibatch.packs_by_rank]
            for minibatch in batch.minibatches
        ]
        packs = [pack for of_rank in built[0] for pack in of_rank]
        positions = [sum(pack.num_positions for pack in of_rank) for of_rank in built[0]]
        assert len(packs) == stage.packs
        assert max(pack.prefix_length + pack.num_positions for pack in packs) == stage.pack_positions
        assert sum(positions) * stage.optimizer_steps == stage.trained_positions
        assert max(positions) * stage.optimizer_steps == stage.rank_positions
        assert sum(not of_rank for of_rank in built[0]) == stage.idle_ranks


def test_stages_have_their_own_arithmetic() -> None:
    stages: list[dict[str, Any]] = [
        {"name": "wide", "fromStep": 11, "overrides": {"groupSize": 8, "maxCompletionTokens": 128}},
        {"name": "free", "fromStep": 16, "overrides": {"klCoefficient": 0}},
    ]
    spec = make_job(
        schedule={"totalSteps": 20, "stages": stages}, referenceReset={"mode": "disabled", "triggers": []}
    ).spec
    first, wide, free = stage_batches(spec, LONGEST)
    assert [(stage.name, stage.first_step, stage.last_step) for stage in (first, wide, free)] == [
        ("", 1, 10), ("wide", 11, 15), ("free", 16, 20),
    ]  # fmt: skip
    assert (first.sampled_tokens, wide.sampled_tokens) == (8 * 4 * 64, 8 * 8 * 128)
    assert [stage.measures_kl for stage in (first, wide, free)] == [True, True, False]


def test_a_stage_at_step_one_leaves_nothing_before_it() -> None:
    spec = make_job(schedule={"totalSteps": 20, "stages": [{"name": "all", "fromStep": 1}]}).spec
    assert [stage.name for stage in stage_batches(spec, LONGEST)] == ["all"]


def test_mean_lengths_are_cut_at_the_longest() -> None:
    (stage,) = stage_batches(quickstart(), Lengths(prompt=40, completion=1000))
    assert (stage.prompt_tokens, stage.completion_tokens) == (40, 6)


@pytest.mark.parametrize(
    ("learner", "state"),
    [
        ({"engine": "plain", "precision": "float32"}, 16),
        ({"engine": "plain", "precision": "bfloat16"}, 18),
        ({"precision": "float32", "deepspeed": {"zeroStage": 0}}, 16),
        ({"precision": "float32", "deepspeed": {"zeroStage": 2}}, 20),
        ({"precision": "bfloat16", "deepspeed": {"zeroStage": 1}, "processesPerReplica": 4}, 2 + 4 + 12 / 4),
        ({"precision": "bfloat16", "deepspeed": {"zeroStage": 2}, "processesPerReplica": 4}, 2 + 16 / 4),
        ({"precision": "bfloat16", "deepspeed": {"zeroStage": 3}, "processesPerReplica": 4}, 18 / 4),
    ],
)
def test_bytes_a_parameter_by_engine_stage_and_precision(learner: dict[str, Any], state: float) -> None:
    spec = make_job(learner=learner).spec
    assert rank_memory(spec, ModelSize(parameters=1000), 0, on_gpu=False).state == pytest.approx(1000 * state)


def test_an_offloaded_optimizer_lies_on_the_host_of_a_gpu() -> None:
    spec = make_job(learner={"deepspeed": {"zeroStage": 2, "offloadOptimizer": True}}).spec
    rank = rank_memory(spec, ModelSize(parameters=1000), 0, on_gpu=True)
    assert (rank.optimizer, rank.on_host) == (0, 12_000)


@pytest.mark.parametrize(
    ("place", "on_device", "on_host", "device"),
    [
        ("resident", 2000, 0, 4500 + 2000 + 2000),
        ("sharded", 500, 0, 4500 + 500 + 2000),
        ("offloaded", 2000, 2000, 8500),
    ],
)
def test_the_reference_is_forecast_where_it_lies(place: str, on_device: int, on_host: int, device: int) -> None:
    """Of 1,000 parameters in bfloat16 on four ranks with ZeRO-3: state 18 / 4 a parameter, buffers 2."""
    learner = {"processesPerReplica": 4, "deepspeed": {"zeroStage": 3}, "reference": place}
    rank = rank_memory(make_job(learner=learner).spec, ModelSize(parameters=1000), 0, on_gpu=True)
    assert (rank.reference, rank.on_host, rank.device) == (on_device, on_host, device)


def test_an_offloaded_reference_is_not_beside_the_activations() -> None:
    learner = {"reference": "offloaded", "engine": "plain"}
    spec, size = make_job(learner=learner).spec, size_of(SMOLLM)
    rank = rank_memory(spec, size, 1008, on_gpu=True)
    assert rank.activations is not None
    assert rank.activations > rank.reference
    assert rank.device == rank.state + rank.activations


def test_a_reference_that_is_offloaded_from_a_cpu_lies_on_the_disk() -> None:
    learner = {"reference": "offloaded", "engine": "plain", "precision": "float32"}
    rank = rank_memory(make_job(learner=learner).spec, ModelSize(parameters=1000), 0, on_gpu=False)
    assert (rank.reference, rank.on_host, rank.device) == (4000, 0, 16_000 + 4000)


@pytest.mark.parametrize(
    ("learner", "on_gpu", "advice"),
    [
        ({}, False, "reference: offloaded,"),
        ({}, True, "reference: offloaded,"),
        ({"deepspeed": {"zeroStage": 3}}, False, "reference: offloaded,"),
        ({"deepspeed": {"zeroStage": 3}, "processesPerReplica": 2}, False, "reference: sharded or offloaded,"),
        ({"reference": "offloaded"}, False, ""),
    ],
)
def test_a_reference_that_could_lie_elsewhere_is_advised(learner: dict[str, Any], on_gpu: bool, advice: str) -> None:
    spec, size = make_job(learner=learner).spec, size_of(SMOLLM)
    rank, server = rank_memory(spec, size, 1008, on_gpu=on_gpu), server_memory(spec, size)
    found = misfits(spec, size, rank, server, Devices(memory=2**28, on_gpu=on_gpu))
    (fault,) = (fault for fault in found if fault.path == "spec.learner")
    assert ("reference:" in fault.want) == bool(advice)
    assert advice in fault.want


def test_offloaded_inputs_of_layers_lie_on_the_host_of_a_gpu() -> None:
    """Of 1,008 positions through 30 layers of 576 in float32."""
    size, ranks = size_of(SMOLLM), {}
    for is_offloaded in (False, True):
        learner = {"precision": "float32", "gradientCheckpointing": True, "offloadActivations": is_offloaded}
        ranks[is_offloaded] = rank_memory(make_job(learner=learner).spec, size, 1008, on_gpu=True)
    kept, offloaded = ranks[False], ranks[True]
    assert kept.activations is not None
    assert (offloaded.activations, offloaded.on_host) == (kept.activations - 1008 * 30 * 576 * 4, 1008 * 30 * 576 * 4)
    assert kept.on_host == 0


def test_products_that_are_kept_are_forecast_by_hand() -> None:
    """Beside the input of each layer and one layer whole: queries 576, keys and values 192 each, attention's output
    576, two outputs of 576, gate and up of 1,536, of 30 layers and 1,008 positions in float32; and no third more time.
    """
    ranks, times = [], []
    for granularity in ("full", "selective"):
        learner = {"precision": "float32", "gradientCheckpointing": True, "recomputeGranularity": granularity}
        spec = make_job(learner=learner).spec
        ranks.append(rank_memory(spec, size_of(SMOLLM), 1008, on_gpu=False).activations)
        (stage,) = stage_batches(spec, LONGEST)
        times.append(step_time(spec, stage, Throughput(rank_positions=1), None))
    full, selective = ranks
    assert full is not None
    assert selective == full + 1008 * 30 * 4 * (576 + 2 * 192 + 576 + 2 * 576 + 2 * 1536)
    of_full, of_selective = times[0].scoring, times[1].scoring
    assert of_full is not None
    assert of_selective == pytest.approx(of_full * 4 / 3)


def test_no_reference_is_forecast_where_nobody_asks_for_the_kl() -> None:
    spec = make_job(algorithm={"kl": {"coefficient": 0}}, referenceReset={"mode": "disabled"}).spec
    assert rank_memory(spec, ModelSize(parameters=1000), 0, on_gpu=False).reference == 0


def test_what_does_not_fit_is_named_with_its_path() -> None:
    spec, size = eight_nodes(), size_of(QWEN_7B)
    rank, server = rank_memory(spec, size, 9216, on_gpu=True), server_memory(spec, size)
    (learner,) = misfits(spec, size, rank, server, Devices(memory=24 * 2**30, on_gpu=True))
    assert learner.path == "spec.learner"
    assert "of the learner" in learner.got
    both = misfits(spec, size, rank, server, Devices(memory=16 * 2**30, on_gpu=True))
    assert [fault.path for fault in both] == ["spec.rollout.gpuMemoryUtilization", "spec.learner"]
    assert both[0].got == "room for 4022 tokens beside the weights"  # (16 GiB x 0.9 - 15,231,233,024) / 57,344


def test_unknown_memory_is_not_judged() -> None:
    spec, size = eight_nodes(), size_of(QWEN_7B)
    rank, server = rank_memory(spec, size, 9216, on_gpu=True), server_memory(spec, size)
    assert misfits(spec, size, rank, server, Devices(memory=None, on_gpu=True)) == []


def test_servers_and_learner_on_one_gpu_are_judged_together() -> None:
    spec, size = quickstart(), size_of(SMOLLM)
    rank, server = rank_memory(spec, size, 1008, on_gpu=True), server_memory(spec, size)
    card = Devices(memory=7 * 2**30, on_gpu=True)
    assert misfits(spec, size, rank, server, card) == []
    (fault,) = misfits(spec, size, rank, server, replace(card, shares=True))
    assert "beside 2.3 GB of rollout servers" in fault.got


@pytest.mark.parametrize(
    ("rollout", "path"),
    [
        ({"tensorParallelSize": 8}, "spec.rollout.tensorParallelSize"),
        ({"maxCompletionTokens": 200_000}, "spec.rollout.maxCompletionTokens"),
    ],
)
def test_what_the_model_cannot_do_does_not_fit(rollout: dict[str, Any], path: str) -> None:
    spec = make_job(rollout=rollout, learner={"microbatchTokens": 400_000}).spec
    faults = misfits(spec, size_of(QWEN_7B), None, None, Devices(memory=None, on_gpu=True))
    assert [fault.path for fault in faults] == [path]


def test_a_cache_that_does_not_hold_the_longest_sequence_does_not_fit() -> None:
    spec, size = make_job(rollout={"cpuKvCacheBytes": 64 * 2**20, "dtype": "float32"}).spec, size_of(QWEN_7B)
    rank, server = rank_memory(spec, size, 0, on_gpu=False), server_memory(spec, size)
    spec = spec.model_copy(update={"rollout": spec.rollout.model_copy(update={"max_completion_tokens": 2000})})
    (fault,) = misfits(spec, size, rank, server, Devices(memory=None, on_gpu=False))
    assert (fault.path, fault.got) == ("spec.rollout.cpuKvCacheBytes", "room for 585 tokens beside the weights")


def test_a_sandbox_by_hand() -> None:
    """1 GiB for the service, and for each of three workers 2 GiB for the verifier and 512 MiB for a program."""
    settings = plan(make_job(sandbox={"workers": 3})).sandbox_settings
    assert sandbox_memory(settings) == 2**30 + 3 * (2 * 2**30 + 512 * 2**20)


@pytest.mark.parametrize(
    ("minibatch", "corrected", "overrides", "is_said"),
    [
        (16, True, {"learningRate": 1e-6}, True),
        (8, True, {"learningRate": 1e-6}, False),
        (8, True, {"minibatchPrompts": 16}, False),
        (16, True, {"minibatchPrompts": 4}, False),
        (8, True, {"promptsPerStep": 8}, False),
        (16, False, {"learningRate": 1e-6}, False),
    ],
)
def test_a_correction_of_stale_samples_is_wasted_where_there_never_are_any(
    minibatch: int, corrected: bool, overrides: dict[str, Any], is_said: bool
) -> None:
    stage = {"name": "later", "fromStep": 5, "overrides": overrides}
    spec = make_job(
        algorithm={"kl": {"coefficient": 0.01, "correctStale": corrected}},
        learner={"promptsPerStep": 16, "minibatchPrompts": minibatch, "deepspeed": {"zeroStage": 0}},
        schedule={"totalSteps": 10, "stages": [stage]},
    ).spec
    found = [text for text in wastes(spec, stage_batches(spec, LONGEST)) if "correctStale has nothing" in text]
    assert len(found) == int(is_said)


def test_ranks_without_packs_are_wasted() -> None:
    spec = make_job(learner={"processesPerReplica": 4}).spec
    (said,) = wastes(spec, stage_batches(spec, LONGEST))
    assert "1 packs for 4 ranks, so that 3 compute nothing" in said


def test_ranks_are_wasted_where_groups_stay_together() -> None:
    """Three groups of 7 pieces: on four ranks each is 7 x 30 - 6 x 20 = 90 positions, apart 180 on the busiest."""
    spec = make_job(
        rollout={"maxPromptTokens": 21, "maxCompletionTokens": 10},
        learner={
            "promptsPerStep": 3, "minibatchPrompts": 3, "groupSize": 7, "microbatchTokens": 31,
            "processesPerReplica": 4,
        },
    ).spec  # fmt: skip
    (stage,) = stage_batches(spec, LONGEST)
    assert (stage.packs, stage.idle_ranks, stage.rank_positions) == (24, 1, 90)
    (said,) = wastes(spec, [stage])
    assert said.endswith("where its packs continue one prefix; raise minibatchPrompts")


@pytest.mark.parametrize(
    ("learner", "is_said"),
    [
        ({}, True),
        ({"deepspeed": {"zeroStage": 3}}, True),
        ({"deepspeed": {"zeroStage": 0}}, False),
        ({"engine": "plain"}, False),
        ({"deepspeed": {"zeroStage": 2, "offloadOptimizer": True}}, False),
        ({"processesPerReplica": 2}, False),
    ],
)
def test_one_rank_is_told_that_it_has_nobody_to_share_with(learner: dict[str, Any], is_said: bool) -> None:
    spec = make_job(learner=learner).spec
    said = [line for line in wastes(spec, ()) if "nobody to share with" in line]
    assert len(said) == is_said
