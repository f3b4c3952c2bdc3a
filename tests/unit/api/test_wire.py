"""Wire bodies: compact arrays, typed errors, the weights id, and the rule that a judge's failure is no score."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from prorl_api.wire.base import ErrorBody, ErrorInfo, ErrorKind, Float32List, Int32List, WeightsId
from prorl_api.wire.learner import MemberHeartbeat
from prorl_api.wire.rollout import GeneratedSegment, GenerateRequest, Sampling
from prorl_api.wire.sandbox import ScoreResult, Verdict

INTEGERS: TypeAdapter[list[int]] = TypeAdapter(Int32List)
REALS: TypeAdapter[list[float]] = TypeAdapter(Float32List)
DIGEST = "ab" * 32


def packed(layout: str, *values: float) -> str:
    return base64.b64encode(struct.pack(layout, *values)).decode()


@given(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=50))
def test_integers_come_back_as_they_were_sent(values: list[int]) -> None:
    assert INTEGERS.validate_json(INTEGERS.dump_json(values)) == values


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=50))
def test_float32_values_come_back_bit_by_bit(values: list[float]) -> None:
    assert REALS.validate_json(REALS.dump_json(values)) == values


def test_arrays_are_one_base64_string_of_little_endian_values() -> None:
    assert INTEGERS.dump_python([1, -1], mode="json") == "AQAAAP////8=" == packed("<ii", 1, -1)
    assert REALS.dump_python([-0.5], mode="json") == "AAAAvw==" == packed("<f", -0.5)


def test_a_json_list_is_accepted_as_well() -> None:
    assert INTEGERS.validate_json("[1, 2, 3]") == [1, 2, 3]
    assert REALS.validate_json("[-0.25, 0]") == [-0.25, 0.0]


@pytest.mark.parametrize(
    "value",
    [
        "AAAAAAA=",  # five bytes
        "AQAAAP////8",  # no padding
        "not base64!",
        "AQAA\nAA==",
        "é",
        [2**31],
        [-(2**31) - 1],
        [0.5],
        ["x"],
        [None],
        None,
        3,
        {},
    ],
)
def test_what_is_no_list_of_int32_is_a_validation_error(value: Any) -> None:
    with pytest.raises(ValidationError):
        INTEGERS.validate_json(json.dumps(value))


@pytest.mark.parametrize("value", ["AAAA", "!", [1e39], [-1e39], ["x"], [None], None])
def test_what_is_no_list_of_float32_is_a_validation_error(value: Any) -> None:
    with pytest.raises(ValidationError):
        REALS.validate_json(json.dumps(value))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_no_body_carries_a_number_that_is_not_finite(value: float) -> None:
    weights = WeightsId(attempt=1, step=0, digest=DIGEST)
    with pytest.raises(ValidationError):
        GeneratedSegment.model_validate({"token_ids": [1], "logprobs": packed("<f", value), "weights_id": weights})


def test_an_empty_prompt_is_refused_in_either_form() -> None:
    request: dict[str, Any] = {"request_id": "r", "sampling": Sampling(max_tokens=1, seed=0)}
    with pytest.raises(ValidationError, match="at least 1 item"):
        GenerateRequest.model_validate(request | {"prompt_token_ids": ""})
    with pytest.raises(ValidationError, match="at least 1 item"):
        GenerateRequest.model_validate(request | {"prompt_token_ids": []})


@pytest.mark.parametrize("verdict", Verdict)
def test_a_result_has_a_reward_exactly_when_the_verdict_speaks_about_the_answer(verdict: Verdict) -> None:
    judged = verdict not in (Verdict.SANDBOX_ERROR, Verdict.UNSUPPORTED)
    right, wrong = (0.0, None) if judged else (None, 0.0)
    assert ScoreResult(item_id="i", verdict=verdict, reward=right).reward == right
    with pytest.raises(ValidationError, match="contradict each other"):
        ScoreResult(item_id="i", verdict=verdict, reward=wrong)


@pytest.mark.parametrize("reward", [-0.01, 1.01])
def test_a_reward_lies_between_0_and_1(reward: float) -> None:
    with pytest.raises(ValidationError):
        ScoreResult(item_id="i", verdict=Verdict.PARTIAL, reward=reward)


def test_the_weights_digest_is_over_the_chunk_digests_in_order() -> None:
    # sha256sum of "a" and of "b", and of the two written one after the other
    first = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    second = "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"
    weights = WeightsId.of_chunks(2, 30, [first, second])
    assert weights.digest == "62af5c3cb8da3e4f25061e829ebeea5c7513c54949115b1acc225930a90154da"
    assert str(weights) == "2-30-62af5c3cb8da3e4f"
    assert WeightsId.of_chunks(2, 30, [second, first]).digest != weights.digest


@pytest.mark.parametrize(
    "changes", [{"attempt": 0}, {"step": -1}, {"digest": "AB" * 32}, {"digest": "ab"}, {"more": 1}]
)
def test_a_weights_id_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WeightsId.model_validate({"attempt": 1, "step": 0, "digest": DIGEST} | changes)


@pytest.mark.parametrize("address", ["10.0.0.1:80", "http://", "http://host/path", "ftp://host", "http://a b"])
def test_a_member_says_a_base_url_and_nothing_else(address: str) -> None:
    with pytest.raises(ValidationError):
        MemberHeartbeat(address=address, ready=True, weights_id=None)


def test_every_error_is_the_same_body() -> None:
    info = ErrorInfo(kind=ErrorKind.BUSY, message="later", retryable=True, retry_after_seconds=2)
    assert ErrorBody(error=info).model_dump(mode="json") == {
        "error": {"kind": "busy", "message": "later", "retryable": True, "retry_after_seconds": 2.0}
    }
