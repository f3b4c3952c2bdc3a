"""The rollout server as a process, with vLLM on CPU, a tiny model with random weights and a learner that is a stub."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
import torch

from prorl_api.errors import ExitCode
from prorl_api.wire.base import ErrorBody, ErrorKind
from prorl_api.wire.rollout import (
    DoneEvent,
    FinishReason,
    RolloutServerState,
)
from prorl_rollout_server.scratch import PREFIX, SHARED_MEMORY, Scratch
from tests.integration.rollout_world import (
    START_SECONDS,
    World,
    make_request,
    make_world,
    running_server,
    until,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore:.*deprecated.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*deprecated.*:FutureWarning"),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with make_world(tmp_path_factory.mktemp("rollout"), tied=True) as shared:
        yield shared


def test_pulls_the_wanted_weights_and_says_so(world: World) -> None:
    world.load(0)
    assert (world.state().weights_id, world.state().ready) == (world.ids[0], True)
    until(lambda: world.learner.heartbeats[-1].weights_id == world.ids[0], 10, lambda: "no heartbeat")


def test_an_engine_that_is_eager_compiles_nothing(world: World) -> None:
    """vLLM would compile what counts ranks at the first sample, for ten seconds and more."""
    world.load(0)
    world.generate("compiled", num_completions=2)
    assert list((world.model.parent / "own").rglob("torchinductor*")) == []


def check_logprobs(world: World, step: int) -> None:
    """Every token's log-probability is transformers' on the weights that were loaded last."""
    assert world.load(step).status_code == 200
    sampling = {"temperature": 0.7, "max_tokens": 24, "seed": 3}
    events = world.generate(f"logprobs-{step}", num_completions=4, sampling=sampling)
    prompt = make_request("logprobs").prompt_token_ids
    for event in events:
        (segment,) = event.segments
        expected = world.expected_logprobs(step, prompt + segment.token_ids, 0.7)[len(prompt) - 1 :]
        torch.testing.assert_close(torch.tensor(segment.logprobs), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("step", [1, 0])
def test_logprobs_are_those_of_the_distribution_sampled(world: World, step: int) -> None:
    check_logprobs(world, step)


@pytest.mark.thorough
def test_a_head_of_its_own_is_replaced_too(tmp_path: Path) -> None:
    with make_world(tmp_path, tied=False) as untied:
        for step in (1, 0):
            check_logprobs(untied, step)


def test_seeds_repeat_and_differ_within_a_group(world: World) -> None:
    world.load(0)
    first = world.generate("seed-1", num_completions=4)
    again = world.generate("seed-2", num_completions=4)
    tokens = [[segment.token_ids for segment in event.segments] for event in first]
    assert tokens == [[segment.token_ids for segment in event.segments] for event in again]
    assert len({str(each) for each in tokens}) == 4


def test_other_weights_change_outputs_and_back_restores_them(world: World) -> None:
    world.load(0)
    before = world.greedy("before")
    assert world.load(1, world.learner.http_source(1)).json()["source_kind"] == "http"
    assert world.greedy("between") != before
    world.load(0)
    assert world.greedy("after") == before


def test_requests_for_other_weights_are_refused(world: World) -> None:
    world.load(0)
    answer = world.post("stale", weights_id=world.ids[1].model_dump())
    assert ErrorBody.model_validate_json(answer.content).error.kind is ErrorKind.WRONG_WEIGHTS


def test_a_repeated_request_is_answered_without_sampling(world: World) -> None:
    world.load(0)
    first = world.post("same", num_completions=2)
    sampled = world.metric("vllm:generation_tokens_total")
    assert world.post("same", num_completions=2).text == first.text
    assert world.metric("vllm:generation_tokens_total") == sampled


def test_stop_tokens_and_strings_end_a_completion_and_stay_in_it(world: World) -> None:
    world.load(0)
    tokens = world.greedy("whole")
    stop = next(index for index in range(1, len(tokens)) if tokens[index] not in tokens[:index])
    assert world.greedy("stop-id", stop_token_ids=[tokens[stop]]) == tokens[: stop + 1]
    (event,) = world.generate("stop-text", sampling={"temperature": 0.0, "stop": [f"w{tokens[stop]};"]})
    assert event.segments[0].token_ids == tokens[: stop + 1]
    assert event.finish_reason is FinishReason.STOP


def test_simultaneous_completions_share_their_prompt(world: World) -> None:
    world.load(0)
    prompt = list(range(1, 101))
    answer = world.post("shared", prompt_token_ids=prompt, num_completions=8)
    done = DoneEvent.model_validate_json(answer.text.splitlines()[-1])
    assert done.cached_prompt_tokens >= 7 * 64


def test_a_batch_longer_than_one_engine_step_is_sampled(world: World) -> None:
    """Prompts that vLLM would cut into chunks would end its engine, since they are seeded."""
    world.load(0)
    prompts = [[index, *list(range(1, 251)) * 12] for index in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda index: world.generate(f"long-{index}", prompt_token_ids=prompts[index]), range(4))
        assert all(len(events) == 1 for events in answers)


def test_cancelling_ends_the_request_in_the_engine(world: World) -> None:
    world.load(0)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(world.post, "cancelled", sampling={"temperature": 0.0, "max_tokens": 4000})
        until(lambda: world.state().running_requests == 1, 10, lambda: "never ran")
        assert world.http.delete("/v1/generate/cancelled").status_code == 204
        last = running.result(10).text.splitlines()[-1]
    assert ErrorBody.model_validate_json(last).error.kind is ErrorKind.CANCELLED
    until(lambda: world.metric("vllm:num_requests_running") == 0, 10, lambda: "still running in the engine")


def test_weights_changed_in_flight_give_segments_each_of_one_version(world: World) -> None:
    world.load(0)
    sampled = world.metric("vllm:generation_tokens_total")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(world.generate, "flight", sampling={"temperature": 0.0, "max_tokens": 1500})
        until(lambda: world.metric("vllm:generation_tokens_total") > sampled + 5, 20, lambda: "no token came")
        assert world.load(1).status_code == 200
        (event,) = running.result(120)
    assert [segment.weights_id for segment in event.segments] == [world.ids[0], world.ids[1]]
    context = make_request("flight").prompt_token_ids
    assert sum(len(segment.token_ids) for segment in event.segments) == 1500
    for step, segment in zip((0, 1), event.segments, strict=True):
        expected = world.expected_logprobs(step, context + segment.token_ids, 1.0)[len(context) - 1 :]
        torch.testing.assert_close(torch.tensor(segment.logprobs), expected, atol=1e-3, rtol=0)
        context = context + segment.token_ids


def test_a_pause_freezes_what_runs_and_loses_nothing(world: World) -> None:
    world.load(0)
    sampling = {"temperature": 0.0, "max_tokens": 300}
    whole = world.greedy("unpaused", **sampling)
    sampled = world.metric("vllm:generation_tokens_total")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(world.greedy, "paused", **sampling)
        until(lambda: world.metric("vllm:generation_tokens_total") > sampled + 5, 20, lambda: "no token came")
        assert RolloutServerState.model_validate_json(world.http.post("/v1/pause").content).paused
        frozen = world.metric("vllm:generation_tokens_total")
        assert world.metric("vllm:generation_tokens_total") == frozen
        assert world.state().running_requests == 1
        world.http.post("/v1/resume")
        assert running.result(60) == whole


@pytest.mark.parametrize("kind", ["file", "http"])
def test_a_corrupt_chunk_is_refused_and_the_old_weights_go_on(world: World, kind: str) -> None:
    world.load(0)
    before = world.greedy(f"intact-{kind}")
    step = {"file": 10, "http": 11}[kind]
    weights_id = world.learner.publish(step, world.weights[1])
    content = bytearray(world.learner.chunk_file(step).read_bytes())
    content[-1] ^= 1
    world.learner.chunk_file(step).write_bytes(content)
    source = world.learner.file_source(step) if kind == "file" else world.learner.http_source(step)
    answer = world.load(step, source, weights_id)
    assert ErrorBody.model_validate_json(answer.content).error.kind is ErrorKind.WEIGHTS_MISMATCH
    assert world.state().weights_id == world.ids[0]
    assert world.greedy(f"still-{kind}") == before


@pytest.mark.parametrize(
    ("step", "name"),
    [(20, "model.embed_tokens.weight"), (21, "model.layers.1.self_attn.k_proj.weight"), (22, "model.norm.weight")],
)
def test_a_missing_parameter_leaves_no_weights_until_whole_ones_come(world: World, step: int, name: str) -> None:
    world.load(0)
    before = world.greedy(f"whole-{step}")
    partial = {key: tensor for key, tensor in world.weights[1].items() if key != name}
    answer = world.load(step, weights_id=world.learner.publish(step, partial))
    assert ErrorBody.model_validate_json(answer.content).error.kind is ErrorKind.WEIGHTS_MISMATCH
    assert world.http.get("/readyz").status_code == 503
    assert world.state().weights_id is None
    assert world.load(0).status_code == 200
    assert world.greedy(f"again-{step}") == before


def test_a_wrong_shape_leaves_no_weights_until_right_ones_come(world: World) -> None:
    world.load(0)
    before = world.greedy("right")
    wrong = world.weights[1] | {"model.layers.0.mlp.down_proj.weight": torch.zeros(128, 255)}
    answer = world.load(30, weights_id=world.learner.publish(30, wrong))
    assert ErrorBody.model_validate_json(answer.content).error.kind is ErrorKind.WEIGHTS_MISMATCH
    assert world.load(0).status_code == 200
    assert world.greedy("right-again") == before


def test_metrics_are_ours_and_the_engines(world: World) -> None:
    world.load(1)
    assert world.metric("prorl_rollout_ready") == 1
    assert world.metric("prorl_rollout_weights_step") == 1
    assert world.metric("prorl_rollout_weights_load_seconds_count") > 0
    assert world.metric("vllm:prompt_tokens_total") > 0


def test_sigterm_before_the_engine_ends_at_once(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    with running_server("http://127.0.0.1:9", log) as (process, url):
        until(lambda: log.exists() and "listening" in log.read_text(), 60, log.read_text)
        assert httpx.get(f"{url}/readyz").status_code == 503
        process.terminate()
        assert process.wait(20) == ExitCode.OK, log.read_text()
    assert list(tmp_path.iterdir()) == [log]


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=pytest.mark.thorough), signal.SIGKILL])
def test_ending_a_server_leaves_nothing(world: World, tmp_path: Path, number: signal.Signals) -> None:
    """Also while its engine starts, which is when vLLM cannot yet clean up after itself."""
    log = tmp_path / "server.log"
    with running_server(world.learner.url, log) as (process, _):

        def family() -> list[psutil.Process]:
            return psutil.Process(process.pid).children(recursive=True)

        until(lambda: any("EngineCore" in child.name() for child in family()), START_SECONDS, log.read_text)
        children = family()
        if number is signal.SIGKILL:
            os.killpg(process.pid, number)
            assert process.wait(20) == -number
            Scratch(tmp_path).reap()  # as the next server does
        else:
            process.send_signal(number)
            assert process.wait(20) == ExitCode.OK, log.read_text()
        assert list(tmp_path.iterdir()) == [log]
        assert list(SHARED_MEMORY.glob(f"{PREFIX}{process.pid}-*")) == []
        _, alive = psutil.wait_procs(children, timeout=10)
        assert alive == []


def test_a_dead_engine_ends_the_process_as_failed(world: World) -> None:
    """Last of this module: it takes the server down."""
    children = psutil.Process(world.process.pid).children(recursive=True)
    (engine,) = [child for child in children if "EngineCore" in child.name()]
    engine.kill()
    assert world.process.wait(30) == ExitCode.FAILED
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []
