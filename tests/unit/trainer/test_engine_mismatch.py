"""Whether engine and learner compute the same model: what is sent, and when a run ends."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest

from prorl_api.errors import EngineMismatchError, NonFiniteError
from prorl_trainer.algorithm.types import Batch, StepMetrics
from prorl_trainer.engine_mismatch import PROBE_TOKENS, make_probe, probe_tokens, raise_if_mismatched
from prorl_trainer.engines.ranks import RankedEngine
from tests.unit.trainer.trainer_builders import make_spec

ALGORITHM = make_spec().algorithm


class Engine:
    """Answers with what it is told, and remembers what it was asked."""

    def __init__(self, logprobs: list[float]) -> None:
        self.asked: list[Batch] = []
        self._logprobs = logprobs

    def logprobs(self, batch: Batch) -> list[float]:
        self.asked.append(batch)
        return self._logprobs


def probe(engine: Engine, *token_ids: int) -> Any:
    return make_probe(cast("RankedEngine", engine), token_ids, ALGORITHM, 7)


@pytest.mark.parametrize(
    ("prompts", "longest", "expected"),
    [
        ([(1, 2, 3), (4, 5)], 100, (1, 2, 3, 4, 5)),
        ([(1, 2, 3), (4, 5)], 5, (1, 2, 3, 4)),
        ([tuple(range(200))], 1000, tuple(range(PROBE_TOKENS))),
        ([], 100, (0, 0)),
        ([(7,)], 100, (0, 0)),
    ],
    ids=["joined", "no longer than a server takes, with one token to generate", "bounded", "nothing", "one token"],
)
def test_a_probe_is_what_the_model_is_used_on(
    prompts: list[tuple[int, ...]], longest: int, expected: tuple[int, ...]
) -> None:
    assert probe_tokens(prompts, longest) == expected


def test_a_probe_predicts_every_token_but_the_first_from_those_before() -> None:
    engine = Engine([-0.5, -1.5, -2.5])
    sent = probe(engine, 5, 6, 7, 8)
    assert (sent.token_ids, sent.logprobs, sent.max_distance) == ([5, 6, 7, 8], [-0.5, -1.5, -2.5], 0.3)
    (batch,) = engine.asked
    ((pack,),) = batch.minibatches[0].packs_by_rank
    assert batch.temperature == 1.0
    assert pack.input_ids.tolist() == [5, 6, 7]  # from the last one nothing is predicted
    assert pack.position_ids.tolist() == [0, 1, 2]
    assert pack.predict_from.tolist() == [0, 1, 2]
    assert pack.targets.tolist() == [6, 7, 8]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_spoilt_weights_are_not_published(value: float) -> None:
    with pytest.raises(NonFiniteError, match="step 7"):
        probe(Engine([-0.5, value]), 1, 2, 3)


@pytest.mark.parametrize("distance", [0.0, 1e-5, 0.06, 0.3])
def test_rounding_ends_no_run(distance: float) -> None:
    raise_if_mismatched(StepMetrics(values={"mismatch_logprob": distance}), ALGORITHM, 3)


@pytest.mark.parametrize("distance", [0.3001, 1.2, 10.0, math.inf, math.nan])
def test_another_model_ends_the_run_with_the_causes_to_look_at(distance: float) -> None:
    with pytest.raises(EngineMismatchError, match=r"step 3: engine mismatch.*spec\.rollout\.dtype.*maxLogprobDistance"):
        raise_if_mismatched(StepMetrics(values={"mismatch_logprob": distance}), ALGORITHM, 3)


def test_the_bound_is_the_manifests() -> None:
    algorithm = make_spec(algorithm={"engineMismatch": {"maxLogprobDistance": 5.0}}).algorithm
    raise_if_mismatched(StepMetrics(values={"mismatch_logprob": 4.9}), algorithm, 3)
    with pytest.raises(EngineMismatchError):
        raise_if_mismatched(StepMetrics(values={"mismatch_logprob": 5.1}), algorithm, 3)


def test_a_step_that_trained_nothing_has_no_distance() -> None:
    raise_if_mismatched(StepMetrics(values={}), ALGORITHM, 3)
