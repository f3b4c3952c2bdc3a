"""What a step makes of the size of its vocabulary's matrices: the gradient itself, and nothing else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from prorl_trainer.engines import head_gradients
from tests.integration.engine_kit import (
    ALGORITHM,
    RATE,
    assert_sums_agree,
    distance,
    learner_spec,
    make_batch,
    make_engine,
    weights_of,
)
from tests.integration.tiny_model import write_model

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
VOCABULARY, HIDDEN = 512, 64


class NewStorages(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the memory that operations take for results of at least so many entries."""

    def __init__(self, entries: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._entries = entries
        self.by_operation: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {leaf.untyped_storage().data_ptr() for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.numel() >= self._entries:
                self.by_operation[str(func)] += leaf.untyped_storage().data_ptr() not in given
        return result


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_packs_make_no_matrix_of_the_vocabulary_but_the_gradient(
    tmp_path: Path, tied: bool, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bfloat16 on a CPU the head's weights are converted once a pack, for logits in float32."""
    monkeypatch.setattr(head_gradients, "_ROWS_AT_ONCE", 100)
    model = write_model(
        tmp_path / "model", tokenizer=False, vocab_size=VOCABULARY, hidden_size=HIDDEN, tie_word_embeddings=tied
    )
    engine, batch = make_engine(model, learner_spec(precision=precision)), make_batch(1, minibatch=4)
    packs = len(batch.minibatches[0].packs_by_rank[0])
    assert packs > 2
    backend: Any = engine._backend
    backend.step = lambda rate: 0.0  # an optimizer has its own memory
    engine.prepare(batch)
    with NewStorages(VOCABULARY * HIDDEN) as new:
        engine.update(0, ALGORITHM, RATE)
    converted = new.by_operation.pop("aten._to_copy.default", 0)
    assert converted == (packs if precision == "bfloat16" else 0)
    assert new.by_operation.total() == (1 if tied else 2), new.by_operation


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_gradients_added_in_place_train_as_autograds_do(tmp_path: Path, tied: bool) -> None:
    model = write_model(tmp_path / "model", tokenizer=False, tie_word_embeddings=tied)
    summed, autograds = make_engine(model), make_engine(model)
    policy = autograds._backend.policy.model
    policy.get_output_embeddings().gradient_sum = None
    policy.get_input_embeddings().gradient_sum = None
    results = []
    for engine in (summed, autograds):
        engine.prepare(make_batch(1))
        results.append([engine.update(index, ALGORITHM, RATE) for index in range(2)])
    assert_sums_agree(results[0], results[1], 1e-5)
    assert distance(weights_of(summed), weights_of(autograds)) < 1e-5


def test_a_loss_that_is_no_number_moves_nothing(tmp_path: Path) -> None:
    """The vocabulary's gradient is summed before the loss of a pack is known: the norm must tell."""
    engine = make_engine(write_model(tmp_path / "model", tokenizer=False))
    before = weights_of(engine)
    engine.prepare(make_batch(1))
    engine._ref_logprobs = [[torch.full_like(one, float("nan")) for one in packs] for packs in engine._ref_logprobs]  # type: ignore[arg-type]
    assert not torch.isfinite(torch.tensor(engine.update(0, ALGORITHM, RATE)["gradient_norm"]))
    assert all(torch.equal(before[name], after) for name, after in weights_of(engine).items())
