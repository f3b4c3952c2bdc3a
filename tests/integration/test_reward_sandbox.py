"""The reward sandbox as its callers meet it: the real service process over real HTTP."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prorl_api.process.listen import LISTEN_FD_VARIABLE, address_of, bind
from prorl_api.process.tokens import ACCEPTED_VARIABLE, digest_of
from prorl_api.spec.values import AnswerFormat
from prorl_api.wire.base import ATTEMPT_HEADER
from prorl_api.wire.sandbox import ExecuteBatchResponse, ExecuteResponse, ScoreResponse, Verdict

TOKEN = "learner-to-sandbox-secret"
POISON = [
    r"\boxed{9^{9^{9^{9}}}}",
    r"\boxed{((10!)!)!}",
    r"\boxed{\binom{10^9}{5\cdot 10^8}}",
    r"\boxed{\sum_{k=1}^{100000000} \frac{1}{k^2}}",
    r"\boxed{(x+y+z+w+v)^{200}}",
]

SLOW = r"\boxed{\sum_{k=1}^{100000000} \frac{1}{k}}"
"""Takes the verifier until its own time limit."""


class Service:
    """A running service process."""

    def __init__(self, **values: int) -> None:
        listening = bind("127.0.0.1", 0)
        self.url = f"http://{address_of(listening)}"
        environment = {
            **os.environ,
            "PRORL_SANDBOX_SETTINGS": json.dumps({"workers": 2, **values}),
            LISTEN_FD_VARIABLE: str(listening.fileno()),
            ACCEPTED_VARIABLE: digest_of(TOKEN),
        }
        command = [sys.executable, "-m", "prorl_reward_sandbox"]
        with listening:
            self.process = psutil.Popen(command, env=environment, pass_fds=[listening.fileno()], start_new_session=True)
        self.client = httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60)

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 60
        while self.client.get("/readyz").status_code != 200:
            assert time.monotonic() < deadline, "not ready"
            time.sleep(0.1)

    def score(self, items: list[dict[str, Any]], **fields: Any) -> ScoreResponse:
        response = self.client.post("/v1/score", json={"items": items, **fields})
        assert response.status_code == 200, response.text
        return ScoreResponse.model_validate_json(response.content)

    def execute(self, source: str, *, expected: str = "42", **fields: Any) -> ExecuteResponse:
        body = {"source": source, "tests": [{"expected_stdout": expected}], **fields}
        response = self.client.post("/v1/execute", json=body)
        assert response.status_code == 200, response.text
        return ExecuteResponse.model_validate_json(response.content)

    def helpers(self, module: str = "") -> list[psutil.Process]:
        """Its descendants that run the given module."""
        children = self.process.children(recursive=True)
        return [child for child in children if not module or module in _command(child)]

    def verifier_workers(self) -> list[psutil.Process]:
        """Verifier workers: the children of the zygote."""
        zygotes = [helper for helper in self.helpers("fork_server") if helper.ppid() == self.process.pid]
        return [worker for zygote in zygotes for worker in zygote.children()]

    def stop(self) -> int:
        self.client.close()
        self.process.terminate()
        code: int = self.process.wait(timeout=15)
        return code


def _command(process: psutil.Process) -> str:
    """Its command line; of one that is just ending: nothing."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    running = Service()
    running.wait_until_ready()
    yield running
    running.stop()


def make_item(number: int, completion: str | None = None, **fields: Any) -> dict[str, Any]:
    item = {"item_id": str(number), "domain": "math", "row": {"answer": str(number)}}
    return {**item, "completion": completion or rf"I get \boxed{{{number}}}.", **fields}


def make_logic_item(number: int, completion: str) -> dict[str, Any]:
    entry = {"question": "2 + 3 = ?", "answer": "5", "metadata": {}}
    return make_item(number, completion, domain="logic", row={"task": "chain_sum", "entry": entry})


def test_results_are_in_the_order_of_the_items(service: Service) -> None:
    wrong = make_item(100, r"\boxed{7}")
    items = [*(make_item(number) for number in range(50)), wrong, make_logic_item(101, "5")]
    response = service.score(items)
    assert [result.item_id for result in response.results] == [item["item_id"] for item in items]
    verdicts = [result.verdict for result in response.results]
    assert verdicts == [Verdict.CORRECT] * 50 + [Verdict.WRONG, Verdict.CORRECT]
    assert response.queue_seconds > 0


@pytest.mark.parametrize(
    ("domain", "row", "detail"),
    [
        ("math", {}, "row.answer: this field is required, got {}"),
        ("math", {"answer": "1", "hint": 2}, "row.hint: unknown field, got 2"),
        (
            "logic",
            {"task": "NO", "entry": {"question": "", "answer": "5"}},
            "row.task: a reasoning-gym task: lower-case letters",
        ),
        ("code", {"tests": []}, "row.tests: at least 1 item, got []"),
        (
            "code",
            {"tests": [{"expected_stdout": 5}]},
            "row.tests[0].stdio.expected_stdout: a text, quoted, got",
        ),
        ("code", {"tests": [{}], "reward": "x"}, "; row.reward: `fraction` or `all`, got 'x'"),
    ],
)
def test_a_row_that_nobody_can_judge_is_unsupported_and_says_why(
    service: Service, domain: str, row: dict[str, Any], detail: str
) -> None:
    (result,) = service.score([make_item(1, domain=domain, row=row)]).results
    assert (result.verdict, result.reward) == (Verdict.UNSUPPORTED, None)
    assert detail in result.detail


def test_code_is_judged_among_other_domains(service: Service) -> None:
    row = {"tests": [{"stdin": str(n), "expected_stdout": str(n * n)} for n in (2, 3)]}
    items = [
        make_item(0),
        make_item(1, "```python\nprint(int(input()) ** 2)\n```", domain="code", row=row),
        make_logic_item(2, "5"),
        make_item(3, "```python\nprint(2 * int(input()))\n```", domain="code", row=row),
        make_item(4, "no program", domain="code", row=row),
    ]
    response = service.score(items)
    assert [(result.verdict, result.reward) for result in response.results] == [
        (Verdict.CORRECT, 1.0),
        (Verdict.CORRECT, 1.0),
        (Verdict.CORRECT, 1.0),
        (Verdict.PARTIAL, 0.5),
        (Verdict.FORMAT_ERROR, 0.0),
    ]
    assert response.isolation_level
    metrics = service.client.get("/metrics").text
    assert 'prorl_sandbox_items_total{domain="code",prorl_job="",verdict="partial"} 1.0' in metrics
    level = response.isolation_level
    assert (
        f'prorl_sandbox_programs_total{{isolation_level="{level}",language="python",prorl_job="",verdict="wrong"}}'
        in metrics
    )


def test_a_batch_of_programs_is_one_call(service: Service) -> None:
    programs = [
        {"source": f"print({number})", "tests": [{"expected_stdout": "1"}, {"expected_stdout": "2"}]}
        for number in range(3)
    ]
    response = service.client.post("/v1/execute-batch", json={"programs": programs})
    body = ExecuteBatchResponse.model_validate_json(response.content)
    assert [program.reward for program in body.programs] == [0.0, 0.5, 0.5]


def run_code(service: Service, code: str, **fields: Any) -> dict[str, Any]:
    response = service.client.post("/run_code", json={"code": code, "language": "python", **fields})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def test_run_code_answers_as_sandbox_fusion_does(service: Service) -> None:
    files = {"data.txt": base64.b64encode(b"seen").decode()}
    code = "import sys\nopen('out.txt', 'w').write(open('data.txt').read() + input())\nprint('done', file=sys.stderr)"
    body = run_code(service, code, stdin="!", files=files, fetch_files=["out.txt", "missing.txt"], unknown=1)
    assert body["status"] == "Success"
    assert body["compile_result"] is None
    assert (body["run_result"]["status"], body["run_result"]["return_code"]) == ("Finished", 0)
    assert (body["run_result"]["stdout"], body["run_result"]["stderr"]) == ("", "done\n")
    assert {name: base64.b64decode(content) for name, content in body["files"].items()} == {"out.txt": b"seen!"}
    failed = run_code(service, "raise SystemExit(3)")
    assert (failed["status"], failed["run_result"]["return_code"]) == ("Failed", 3)
    slow = run_code(service, "while True: pass", run_timeout=0.4)
    assert (slow["status"], slow["run_result"]["status"]) == ("Failed", "TimeLimitExceeded")
    unknown = run_code(service, "", language="Brainfuck")
    assert (unknown["status"], unknown["run_result"]) == ("SandboxError", None)
    broken = run_code(service, "int main(", language="c")
    assert (broken["status"], broken["compile_result"]["return_code"], broken["run_result"]) == ("Failed", 1, None)


def test_run_code_keeps_long_output_whole(service: Service) -> None:
    assert run_code(service, "print('x' * 5_000_000)")["run_result"]["stdout"] == "x" * 5_000_000 + "\n"


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", "", ".", "..", "x" * 300, "a\0b", "\ud800"])
def test_files_outside_of_the_folder_are_refused(service: Service, name: str) -> None:
    for fields in ({"files": {name: ""}}, {"fetch_files": [name]}):
        content = json.dumps({"code": "", "language": "python", **fields})
        response = service.client.post("/run_code", content=content, headers={"Content-Type": "application/json"})
        assert (response.status_code, response.json()["error"]["kind"]) == (422, "bad_request")


def test_poisoned_answers_cost_their_own_deadline_and_nobody_elses_verdict(service: Service) -> None:
    deadline = 1.0  # shorter than the verifier's own two seconds, so that it ends by killing

    async def judge(client: httpx.AsyncClient, items: list[dict[str, Any]]) -> tuple[ScoreResponse, float]:
        started = time.monotonic()
        response = await client.post("/v1/score", json={"items": items, "timeout_seconds": deadline})
        return ScoreResponse.model_validate_json(response.content), time.monotonic() - started

    async def judge_all() -> list[tuple[ScoreResponse, float]]:
        async with httpx.AsyncClient(base_url=service.url, headers=service.client.headers, timeout=60) as client:
            batches = [[make_item(number, text, row={"answer": "7"})] for number, text in enumerate(POISON)]
            return await asyncio.gather(*(judge(client, [*batch]) for batch in batches), judge(client, ordinary))

    ordinary = [make_item(number) for number in range(50)]
    *poisoned, (good, _) = asyncio.run(judge_all())
    assert [result.verdict for result in good.results] == [Verdict.CORRECT] * 50
    for response, wall_seconds in poisoned:
        (result,) = response.results
        assert result.verdict in (Verdict.TIMEOUT_WALL, Verdict.WRONG, Verdict.MEMORY)
        assert result.reward == 0.0
        assert result.judge_seconds < deadline + 1.0
        assert wall_seconds < response.queue_seconds + deadline + 1.0
    assert service.score([make_item(1)]).results[0].verdict is Verdict.CORRECT


def test_a_verifier_killed_from_outside_is_not_a_low_score(service: Service) -> None:
    deadline = time.monotonic() + 10
    while len(workers := service.verifier_workers()) != 2:  # one killed before may still be dying
        assert time.monotonic() < deadline
        time.sleep(0.05)
    slow = make_item(1, SLOW, row={"answer": "7"})

    async def kill_meanwhile() -> ScoreResponse:
        async with httpx.AsyncClient(base_url=service.url, headers=service.client.headers, timeout=60) as client:
            answer = asyncio.create_task(client.post("/v1/score", json={"items": [slow] * 2, "timeout_seconds": 8}))
            await asyncio.sleep(0.7)
            for worker in workers:
                worker.kill()
            return ScoreResponse.model_validate_json((await answer).content)

    # Tried again on fresh workers, where the verifier's own time limit ends it.
    for result in asyncio.run(kill_meanwhile()).results:
        assert result.verdict is Verdict.TIMEOUT_WALL
    assert not any(worker.is_running() for worker in workers)
    assert 'prorl_sandbox_workers_killed_total{prorl_job="",reason="died"}' in service.client.get("/metrics").text


def test_a_killed_zygote_is_replaced(service: Service) -> None:
    (zygote,) = [helper for helper in service.helpers("fork_server") if helper.ppid() == service.process.pid]
    zygote.kill()
    assert {result.verdict for result in service.score([make_item(n) for n in range(4)]).results} <= {
        Verdict.CORRECT,
        Verdict.SANDBOX_ERROR,
    }
    service.wait_until_ready()
    assert service.score([make_item(1)]).results[0].verdict is Verdict.CORRECT


def test_programs_are_judged_outside_and_see_no_secret(service: Service) -> None:
    response = service.execute("print(6 * 7)")
    assert response.tests[0].verdict is Verdict.CORRECT
    assert response.isolation_level in ("namespaces", "landlock", "process")
    leaks = service.execute("import os; print(dict(os.environ)); print(open('/proc/self/environ').read())")
    assert leaks.tests[0].verdict is Verdict.WRONG
    assert digest_of(TOKEN) not in leaks.tests[0].stdout
    assert "PRORL" not in leaks.tests[0].stdout
    assert service.execute("raise SystemExit(0)").tests[0].verdict is Verdict.WRONG
    looping = service.execute("while True: pass", limits={"wall_seconds": 0.5})
    assert looping.tests[0].verdict is Verdict.TIMEOUT_WALL


def test_a_disconnected_client_frees_its_slot(service: Service) -> None:
    for _ in range(2):
        with pytest.raises(httpx.ReadTimeout):
            service.client.post(
                "/v1/execute",
                json={"source": "import time; time.sleep(60)", "tests": [{}], "total_wall_seconds": 60},
                timeout=0.5,
            )
    started = time.monotonic()
    assert service.execute("print(42)").tests[0].verdict is Verdict.CORRECT
    assert time.monotonic() - started < 5


def test_unauthorized_oversized_and_malformed_requests_are_typed_errors(service: Service) -> None:
    assert httpx.post(f"{service.url}/v1/score", json={}).json()["error"]["kind"] == "unauthorized"
    assert service.client.post("/v1/score", json={"items": []}).json()["error"]["kind"] == "bad_request"
    too_large = service.client.post("/v1/score", content=b"x" * (65 * 2**20))
    assert (too_large.status_code, too_large.json()["error"]["kind"]) == (413, "too_large")
    assert (
        service.client.post("/v1/execute", json={"language": "cobol", "source": "", "tests": [{}]}).status_code == 422
    )
    assert httpx.get(f"{service.url}/healthz").status_code == 200


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(alphabet=st.sampled_from(list(r"\boxed{}$^_()0123+-*/=!<answer>.,\n ")) | st.characters(codec="utf-8"))
)
def test_any_completion_gets_a_typed_verdict(service: Service, text: str) -> None:
    items = [make_item(number, text or " ", answer_format=value) for number, value in enumerate(AnswerFormat)]
    items += [
        {**make_logic_item(number, text or " "), "answer_format": value} for number, value in enumerate(AnswerFormat)
    ]
    for result in service.score(items, timeout_seconds=5).results:
        assert result.verdict.has_reward, result


def test_a_full_queue_is_busy_and_says_when_to_come_back() -> None:
    service = Service(workers=1, max_queued_items=3)
    try:
        service.wait_until_ready()

        async def overload() -> list[httpx.Response]:
            async with httpx.AsyncClient(base_url=service.url, headers=service.client.headers, timeout=60) as client:
                bodies = [{"items": [make_item(n, POISON[1])] * 3, "timeout_seconds": 1} for n in range(4)]
                return await asyncio.gather(*(client.post("/v1/score", json=body) for body in bodies))

        responses = asyncio.run(overload())
        refused = [response for response in responses if response.status_code == 429]
        assert refused
        assert len(refused) < len(responses)
        for response in refused:
            assert int(response.headers["Retry-After"]) >= 1
            assert response.json()["error"]["kind"] == "busy"
            assert response.json()["error"]["retryable"]
    finally:
        service.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_service(number: signal.Signals) -> None:
    service = Service()
    service.wait_until_ready()
    body = json.dumps(
        {
            "source": "while True: pass",
            "tests": [{}],
            "total_wall_seconds": 60,
            "limits": {"wall_seconds": 60, "cpu_seconds": 60},
        }
    )
    headers = ["-H", f"Authorization: Bearer {TOKEN}", "-H", "Content-Type: application/json"]
    command = ["curl", "-s", "-o", "/dev/null", *headers, "-d", body, f"{service.url}/v1/execute"]
    with subprocess.Popen(command) as client:
        time.sleep(1)
        helpers = service.helpers()
        assert len(helpers) >= 7, "a zygote, two workers, three runners (most levels: with a zygote each), one program"
        started = time.monotonic()
        service.process.send_signal(number)
        code = service.process.wait(timeout=15)
        _, alive = psutil.wait_procs(helpers, timeout=5)
        assert not alive
        assert time.monotonic() - started < 10
        assert code == (0 if number is signal.SIGTERM else -signal.SIGKILL)
        client.wait(timeout=10)
    service.client.close()


def test_what_runs_is_finished_after_sigterm() -> None:
    service = Service()
    try:
        service.wait_until_ready()
        num_idle = len(service.helpers())
        body = {"source": "import time; time.sleep(2); print(42)", "tests": [{"expected_stdout": "42"}]}
        with ThreadPoolExecutor(1) as threads:
            answer = threads.submit(service.client.post, "/v1/execute", json=body)
            deadline = time.monotonic() + 10
            while len(service.helpers()) <= num_idle:
                assert time.monotonic() < deadline, "the program has not started"
                time.sleep(0.05)
            service.process.terminate()
            assert answer.result().json()["reward"] == 1.0
        assert service.process.wait(timeout=15) == 0
    finally:
        if service.process.is_running():
            service.process.kill()
        service.client.close()


def test_no_caller_s_attempt_locks_another_one_out(service: Service) -> None:
    """A judge keeps nothing: there is nothing that a caller of an attempt that is over could spoil."""
    body = {"items": [make_item(1)]}
    for attempt in ("99999999", "1"):
        assert service.client.post("/v1/score", json=body, headers={ATTEMPT_HEADER: attempt}).status_code == 200
    wrong = service.client.post("/v1/score", json=body, headers={ATTEMPT_HEADER: "one"})
    assert wrong.json()["error"]["kind"] == "bad_request"


def test_too_little_memory_for_the_libraries_is_said_and_never_a_low_score() -> None:
    service = Service(worker_memory_bytes=256 * 2**20)
    try:
        deadline = time.monotonic() + 60
        while "worker_memory_bytes" not in (answer := service.client.get("/readyz")).text:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.1)
        assert answer.status_code == 503
    finally:
        service.stop()
