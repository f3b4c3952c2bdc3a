"""What the engines keep: checkpoints, a cleared optimizer, a new reference; and one process against two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from prorl_api.errors import CheckpointError, SpecError
from prorl_api.process.listen import bind
from prorl_api.spec.algorithm import AlgorithmSpec
from prorl_api.spec.roles import DeepSpeedSpec
from prorl_trainer.engines.build import build_engine, load_policy
from prorl_trainer.engines.reference import MappedReference
from prorl_trainer.engines.state_files import MASTER, MOMENTS, Snapshot, StoredState
from prorl_trainer.engines.weight_files import write_weights
from prorl_trainer.export.policy_weights import engine_weights
from prorl_trainer.storage.checkpoints import LearnerState
from tests.integration.engine_kit import (
    ALGORITHM,
    CPU,
    PLACES,
    RATE,
    WIDE,
    assert_sums_agree,
    distance,
    is_equal,
    learner_spec,
    make_batch,
    make_engine,
    reference_of,
    train,
    weights_of,
    world_of_one,
)
from tests.integration.engine_rank import CUT
from tests.integration.recipe_rank import OPTIMIZER, train_by_recipe
from tests.integration.tiny_families import write_family
from tests.integration.tiny_model import write_model
from tests.unit.trainer.trainer_builders import make_state

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.distributed.* is deprecated:FutureWarning"),
]
REPOSITORY = Path(__file__).parents[2]
FREE = AlgorithmSpec.model_validate({"kl": {"coefficient": 0}})
EXPERTS = {
    "hidden_size": 128,
    "moe_intermediate_size": 64,
    "num_experts": 16,
    "num_local_experts": 16,
    "num_experts_per_tok": 1,
    "num_hidden_layers": 2,
}
BOTH = pytest.mark.parametrize("kind", ["plain", "deepspeed"])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"), tokenizer=False)


@pytest.fixture(scope="module", autouse=True)
def world() -> Iterator[None]:
    with world_of_one():
        yield


@BOTH
def test_training_continues_from_a_checkpoint_as_if_nothing_had_happened(
    model: Path, tmp_path: Path, kind: str
) -> None:
    engine, again = make_engine(model, learner_spec(kind)), make_engine(model, learner_spec(kind))
    train(engine, [1, 2])
    engine.save(tmp_path)
    again.load(tmp_path)
    assert is_equal(weights_of(engine), weights_of(again))
    assert train(engine, [3]) == train(again, [3])
    assert is_equal(weights_of(engine), weights_of(again))


@BOTH
@pytest.mark.parametrize("cleared", [False, True], ids=["before the first step", "after clear_optimizer"])
def test_an_empty_optimizer_is_saved_and_loaded_too(model: Path, tmp_path: Path, kind: str, cleared: bool) -> None:
    engine, again = make_engine(model, learner_spec(kind)), make_engine(model, learner_spec(kind))
    if cleared:
        train(engine, [1])
        engine.clear_optimizer()
    train(again, [5])  # what is loaded over must leave no trace
    engine.save(tmp_path)
    again.load(tmp_path)
    assert_sums_agree(train(engine, [2]), train(again, [2]), 1e-6)
    assert is_equal(weights_of(engine), weights_of(again))


@BOTH
def test_a_cleared_optimizer_is_a_fresh_one(model: Path, tmp_path: Path, kind: str) -> None:
    """The first step after it moves every weight with a gradient by the rate, as Adam's first step does."""
    engine = make_engine(model, learner_spec(kind))
    train(engine, [1, 2])
    before = weights_of(engine)
    engine.clear_optimizer()
    batch = make_batch(3, minibatch=4)
    engine.prepare(batch)
    engine.update(0, ALGORITHM, RATE)
    moved = torch.cat([(value - before[name]).abs().flatten() for name, value in weights_of(engine).items()])
    assert float(moved.max()) <= RATE * 1.001
    assert float((moved > 0.9 * RATE).float().mean()) > 0.9


@BOTH
def test_a_reference_reset_brings_the_kl_back_to_zero(model: Path, kind: str) -> None:
    engine = make_engine(model, learner_spec(kind))
    train(engine, [1, 2])
    assert train(engine, [3])[0]["kl"] > 1e-3
    engine.reference_from_policy()
    first = train(engine, [3])[0]
    assert (first["kl"], first["kl_loss"]) == (0.0, 0.0), (
        "to the last bit: where no advantage pulls, Adam makes steps of it"
    )


def run_two_ranks(model: Path, out: Path, stage: int, reference: str) -> dict[str, Any]:
    (out / "saved").mkdir()
    result: dict[str, Any] = run_ranks("engine_rank", model, out, str(stage), "float32", reference)
    return result


def run_ranks(module: str, *arguments: Path | str, count: int = 2) -> Any:
    """Run a program of several ranks; what the first one wrote to `sums.json` in the second argument."""
    listening = bind("127.0.0.1", 0)
    port = listening.getsockname()[1]
    listening.close()
    base = {**os.environ, "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-m", f"tests.integration.{module}", *map(str, arguments)]
    names = map(str, range(count))
    ranks = [
        subprocess.Popen(command, cwd=REPOSITORY, env={**base, "RANK": name, "LOCAL_RANK": name}) for name in names
    ]
    try:
        assert [rank.wait(timeout=500) for rank in ranks] == [0] * count
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    return json.loads((Path(arguments[1]) / "sums.json").read_text())


def test_two_ranks_have_packs_of_different_length() -> None:
    batches = [make_batch(1, ranks=2), make_batch(2, ranks=2), make_batch(3, ranks=2, count=1)]
    slices = [
        [[-(-pack.num_loss_tokens // 4) for pack in packs] for packs in minibatch.packs_by_rank]
        for batch in batches
        for minibatch in batch.minibatches
    ]
    assert any(first != second for first, second in slices)
    assert any(0 in second for _, second in slices), "one has nothing but padding"


@pytest.mark.parametrize(
    ("stage", "tied", "reference"),
    [
        pytest.param(0, True, "resident", marks=pytest.mark.thorough),
        pytest.param(1, True, "resident", marks=pytest.mark.thorough),
        (2, False, "resident"),
        (3, True, "sharded"),
        pytest.param(3, False, "resident", marks=pytest.mark.thorough),
    ],
)
def test_two_processes_equal_one_on_the_same_global_batch(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, stage: int, tied: bool, reference: str
) -> None:
    cut = [make_batch(seed, ranks=2, microbatch_tokens=CUT, continue_prefixes=True) for seed in (1, 2, 4)]
    steps = [minibatch.packs_by_rank for batch in cut for minibatch in batch.minibatches]
    assert all(any(pack.num_continuations for packs in step for pack in packs) for step in steps)
    wide = write_model(tmp_path_factory.mktemp("wide"), tokenizer=False, tie_word_embeddings=tied, **WIDE)
    seen = run_two_ranks(wide, tmp_path, stage, reference)
    plain = make_engine(wide)
    assert min(tensor.numel() for _, tensor in plain.weights() if tensor.dim() > 1) > 100_000
    assert_sums_agree(seen["sums"], [*train(plain, [1, 2]), *train(plain, [3], count=1)], 1e-4)
    weights = weights_of(plain)
    stored, again = load_file(tmp_path / "weights.safetensors"), load_file(tmp_path / "again.safetensors")
    assert distance(weights, {name: stored[name] for name in weights}) < 1e-4
    assert distance(stored, {name: again[name] for name in stored}) < 1e-6, "and so after saving and loading"
    saved, exported = load_file(tmp_path / "as_saved.safetensors"), engine_weights(tmp_path / "saved", two_ranks(stage))
    assert is_equal(saved, exported), "one process reads what two have saved, without an engine"
    plain.reference_from_policy()
    plain.clear_optimizer()
    assert_sums_agree(seen["reset"], train(plain, [4]), 1e-4)
    before = reference_of(plain)
    plain.average_reference(0.25)
    averaged = reference_of(plain)
    assert distance(averaged, before) > 1e-3, "it has moved by more than what the ranks may differ by"
    stored = load_file(tmp_path / "averaged.safetensors")
    assert distance(averaged, {name: stored[name] for name in averaged}) < 1e-4
    assert_sums_agree(seen["averaged"], train(plain, [5]), 1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("place", PLACES)
def test_where_the_reference_lies_changes_no_number(
    model: Path, tmp_path: Path, place: str, dtype: torch.dtype
) -> None:
    """On one rank; `sharded` on two is in the test above. Its weights come from the model, a file and a policy."""
    spec = learner_spec(precision="float32" if dtype is torch.float32 else "bfloat16")
    engine, twin = make_engine(model, spec), make_engine(model, spec)
    whole = load_policy(str(model), spec, CPU)
    twin._reference = PLACES[place](whole)
    assert train(engine, [1]) == train(twin, [1])
    write_weights(tmp_path / "weights", engine.weights())
    for one in (engine, twin):
        one.reference_from_file(tmp_path / "weights")
    assert train(engine, [2]) == train(twin, [2])
    for one in (engine, twin):
        one.reference_from_policy()
    assert train(engine, [3]) == train(twin, [3])


def test_an_offloaded_reference_of_a_cpu_is_mapped_and_its_kept_file_is_whole(model: Path, tmp_path: Path) -> None:
    engine, twin = make_engine(model, learner_spec(reference="offloaded")), make_engine(model)
    assert isinstance(engine._reference, MappedReference)
    for one in (engine, twin):
        train(one, [1])
        one.reference_from_policy()
    digests = {write_weights(tmp_path / "kept", one.reference_weights()) for one in (engine, twin)}
    assert len(digests) == 1
    assert train(engine, [2]) == train(twin, [2])


def test_a_reference_that_nobody_asked_for_is_built_when_somebody_does(model: Path, tmp_path: Path) -> None:
    whole, engine = make_engine(model), build_engine(str(model), learner_spec(), CPU, None, with_reference=False)
    beats: list[int] = []
    engine.on_progress(lambda: beats.append(1))
    for one in (whole, engine):
        one.prepare(make_batch(1), with_reference=False)
        one.update(0, FREE, RATE)
    assert engine._reference is None
    write_weights(tmp_path / "weights", whole.weights())
    for one in (whole, engine):
        one.reference_from_file(tmp_path / "weights")
    assert engine._reference is None, "only the file is remembered"
    assert train(whole, [2]) == train(engine, [2])
    num_packs = sum(len(minibatch.packs_by_rank[0]) for minibatch in make_batch(2).minibatches)
    assert len(beats) > 2 * num_packs, "its passes are signs of life, too"


def test_the_best_weights_of_another_models_run_are_refused(
    model: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    other = write_model(tmp_path_factory.mktemp("other"), tokenizer=False, num_hidden_layers=1)
    engine = make_engine(other)
    write_weights(tmp_path / "best", engine.weights())
    assert engine.shapes() == {name: tuple(tensor.shape) for name, tensor in engine.weights()}
    with pytest.raises(SpecError, match=r"spec.initFrom.run: got .* does not fit the model: missing .*layers\.1"):
        build_engine(str(model), learner_spec(), CPU, tmp_path / "best")


def test_experts_that_only_one_rank_uses_hold_up_no_other(tmp_path: Path) -> None:
    """One expert a token and an empty pack: under ZeRO-3 every rank gathers what another one routes to."""
    model = write_family(tmp_path / "experts", "qwen3_moe", EXPERTS)
    seen, plain = run_two_ranks(model, tmp_path, 3, "resident"), make_engine(model)
    experts = [tensor for name, tensor in plain.weights() if "experts" in name]
    assert min(tensor.numel() for tensor in experts) > 100_000, "sharded, not kept whole"
    assert_sums_agree(seen["sums"], [*train(plain, [1, 2]), *train(plain, [3], count=1)], 1e-4)
    stored, weights = load_file(tmp_path / "weights.safetensors"), weights_of(plain)
    assert distance(weights, {name: stored[name] for name in weights}) < 1e-4


def two_ranks(stage: int) -> LearnerState:
    return make_state(engine="deepspeed", num_ranks=2, zero_stage=stage)


def test_a_missing_ranks_file_is_named(model: Path, tmp_path: Path) -> None:
    engine = make_engine(model, learner_spec("deepspeed", stage=3))
    Snapshot(engine._backend.runs(), 0, 2).write(tmp_path)
    with pytest.raises(CheckpointError, match=r"the files of 1 ranks, and 2 wrote it; .*--checkpoint best"):
        engine_weights(tmp_path, two_ranks(3))


ENGINES = [("plain", 0), ("deepspeed", 1), ("deepspeed", 2), ("deepspeed", 3)]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_zero_stage_goes_on_from_a_checkpoint_of_any_other(model: Path, tmp_path: Path, precision: str) -> None:
    """Each takes a step, and the next one its checkpoint; masters and moments come over to the last bit."""
    folders = [tmp_path / f"{kind}-{stage}" for kind, stage in ENGINES]
    for number, (kind, stage) in enumerate(ENGINES):
        engine = make_engine(model, learner_spec(kind, stage=stage, precision=precision))
        train(engine, [9])  # what is loaded over must leave no trace
        if number:
            engine.load(folders[number - 1])
            (tmp_path / "again").mkdir(exist_ok=True)
            engine.save(tmp_path / "again")
            assert_same_state(StoredState(tmp_path / "again"), StoredState(folders[number - 1]))
            weights, dtype = weights_of(engine), next(engine.weights())[1].dtype
            stored = StoredState(folders[number - 1])
            assert all(torch.equal(value, stored.whole(name).to(dtype).float()) for name, value in weights.items())
        train(engine, [number])
        folders[number].mkdir()
        engine.save(folders[number])


def assert_same_state(first: StoredState, second: StoredState) -> None:
    assert first.shapes == second.shapes
    for name, shape in first.shapes.items():
        assert first.step(name) == second.step(name) > 0
        length = torch.Size(shape).numel()
        for part in (MASTER, *MOMENTS):
            assert torch.equal(first.read(part, name, 0, length), second.read(part, name, 0, length)), (part, name)


def test_a_run_goes_on_with_other_ranks_and_stages_as_if_nothing_had_happened(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    """1 rank under stage 2, then 2 under stage 3, 1 and 2, then 1 under stage 0, against one engine throughout."""
    wide = write_model(tmp_path_factory.mktemp("wide"), tokenizer=False, **WIDE)
    first = make_engine(wide, learner_spec("deepspeed", stage=2))
    sums = train(first, [1, 2])
    (tmp_path / "first").mkdir()
    first.save(tmp_path / "first")
    sums += run_ranks("resharded_rank", wide, tmp_path, "first", "second", "3", "1", "2")
    last = make_engine(wide, learner_spec("deepspeed", stage=0))
    last.load(tmp_path / "second")
    sums += train(last, [6])
    plain = make_engine(wide)
    assert_sums_agree(sums, train(plain, [1, 2, 3, 4, 5, 6]), 1e-4)
    assert distance(weights_of(plain), weights_of(last)) < 1e-4


@pytest.mark.chaos  # four processes on two cores take a minute
@pytest.mark.parametrize(("count", "stage"), [(2, 2), (4, 0), (4, 1), (4, 2), (4, 3)])
def test_rate_clip_and_reset_are_the_same_for_1_2_and_4_ranks_on_the_same_global_batch(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, count: int, stage: int
) -> None:
    wide = write_model(tmp_path_factory.mktemp("wide"), tokenizer=False, **WIDE)
    seen = run_ranks("recipe_rank", wide, tmp_path, str(stage), count=count)
    one = train_by_recipe(make_engine(wide, learner_spec().model_copy(update={"optimizer": OPTIMIZER})), 1)
    third = OPTIMIZER.learning_rate / 3
    assert [result["rate"] for result in one] == pytest.approx([third, 2 * third, 3 * third, 3 * third] * 2)
    assert min(result["gradient_norm"] for result in one) > 2 * OPTIMIZER.gradient_clip, "it is clipped"
    assert_sums_agree(seen, one, 1e-4)


def test_a_rank_0_that_is_slow_trips_no_collective_and_a_rank_that_cannot_write_is_named(tmp_path: Path) -> None:
    seen = run_ranks("talking_rank", "", tmp_path)
    assert seen == {"total": 2.0, "failure": "rank 1: [Errno 28] No space left on device"}


def test_a_checkpoint_of_another_model_is_refused_before_anything_is_overwritten(
    model: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    other = write_model(tmp_path_factory.mktemp("other"), tokenizer=False, num_hidden_layers=1)
    make_engine(other).save(tmp_path)
    engine = make_engine(model)
    before = weights_of(engine)
    with pytest.raises(CheckpointError, match="holds the parameters of another model"):
        engine.load(tmp_path)
    assert is_equal(before, weights_of(engine))


def test_deepspeed_starts_within_a_minute(model: Path) -> None:
    started = time.monotonic()
    train(make_engine(model, learner_spec("deepspeed")), [1])
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("kind", ["plain", "deepspeed"])
def test_the_manifests_optimizer_settings_hold_after_a_load(model: Path, tmp_path: Path, kind: str) -> None:
    make_engine(model, learner_spec(kind)).save(tmp_path)
    optimizer = {"weightDecay": 0.25, "beta1": 0.5, "epsilon": 1e-4}
    engine = make_engine(model, learner_spec(kind, optimizer=optimizer))
    engine.load(tmp_path)
    backend: Any = engine._backend
    groups = backend._optimizer.param_groups if kind == "plain" else backend._engine.optimizer.param_groups
    assert [(group["weight_decay"], group["betas"][0], group["eps"]) for group in groups] == [(0.25, 0.5, 1e-4)]


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_an_optimizer_in_host_memory_trains_as_any_other_and_hands_its_state_on(
    model: Path, tmp_path: Path, stage: int
) -> None:
    offloaded = DeepSpeedSpec(zero_stage=stage, offload_optimizer=True)
    spec = learner_spec("deepspeed").model_copy(update={"deepspeed": offloaded})
    first = make_engine(model, spec)
    backend: Any = first._backend
    assert backend._engine.zero_offload_optimizer() is not None
    sums = train(first, [1])
    first.save(tmp_path)
    second = make_engine(model, spec)
    second.load(tmp_path)
    sums += train(second, [2])
    second.save(tmp_path)
    last = make_engine(model)
    last.load(tmp_path)
    plain = make_engine(model)
    assert_sums_agree(sums + train(last, [3]), train(plain, [1, 2, 3]), 1e-4)
    assert distance(weights_of(plain), weights_of(last)) < 1e-4
