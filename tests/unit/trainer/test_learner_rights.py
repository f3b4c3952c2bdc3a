"""Who may ask the learner what, as real tokens and real connections have it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from prorl_api.process.fence import OwnAttempt
from prorl_api.process.tokens import AcceptedTokens, derive_token, digest_of
from prorl_api.run_folder import RunFolder
from prorl_api.wire.base import ErrorBody, ErrorKind
from prorl_trainer.service.api import RIGHTS, LearnerService, create_app
from prorl_trainer.service.reset_queue import ResetQueue
from prorl_trainer.service.rollout_servers import RolloutServers
from prorl_trainer.storage.fence import Fence
from prorl_trainer.storage.lines import LineFile
from tests.unit.trainer.trainer_builders import make_shared_status, make_spec

ATTEMPT = 3
BEAT = {"address": "http://10.0.0.5:8000", "ready": True, "weights_id": None}
RESET = {"uid": "u", "name": "demo-reset-1"}
Case = tuple[str, str, object]
OF_MEMBERS: list[Case] = [
    ("PUT", "/v1/members/one", BEAT),
    ("GET", "/v1/model-files", None),
    ("GET", "/v1/model-files/config.json", None),
    ("GET", "/v1/weights/x/manifest", None),
    ("GET", "/v1/weights/x/chunks/0", None),
]
OF_BODIES: list[Case] = [
    ("GET", "/v1/status", None),
    ("POST", "/v1/stop", {"checkpoint": False}),
    ("POST", "/v1/resets", RESET),
    ("GET", "/v1/resets", None),
    ("GET", "/v1/metrics", None),
    ("GET", "/v1/report", None),
]


ACCEPTED = [f"{caller}={digest_of(caller)}" for caller in ("body", "rollout", "sandbox")]


class Learner:
    """The service under test, and clients that come from an address."""

    def __init__(self, folder: Path, accepted: Sequence[str] = ACCEPTED) -> None:
        (folder / "config.json").write_text("{}")
        self.shared_status = make_shared_status(ATTEMPT, 10)
        self.members = RolloutServers(ATTEMPT)
        resets = ResetQueue(LineFile(folder / "resets.jsonl", Fence(RunFolder(folder), ATTEMPT), sync=True))
        service = LearnerService(self.shared_status, self.members, resets, folder, "job", make_spec)
        self.app: FastAPI = create_app(service, AcceptedTokens(accepted), OwnAttempt(ATTEMPT))

    async def ask(
        self, token: str, method: str, path: str, body: object = None, *, address: str = "10.0.0.5", **headers: str
    ) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, client=(address, 1234))
        presented = {"Authorization": f"Bearer {token}", **{name.replace("_", "-"): headers[name] for name in headers}}
        async with httpx.AsyncClient(transport=transport, base_url="http://learner", headers=presented) as http:
            return await http.request(method, path, json=body)


@pytest.fixture
def learner(tmp_path: Path) -> Learner:
    return Learner(tmp_path)


def kind_of(answer: httpx.Response) -> ErrorKind:
    return ErrorBody.model_validate_json(answer.content).error.kind


@pytest.mark.parametrize(("method", "path", "body"), OF_BODIES)
async def test_a_rollout_server_s_token_drives_no_run(learner: Learner, method: str, path: str, body: object) -> None:
    answer = await learner.ask("rollout", method, path, body)
    assert (answer.status_code, kind_of(answer)) == (403, ErrorKind.FORBIDDEN)
    assert not learner.shared_status.is_stopping
    assert (await learner.ask("body", "GET", "/v1/resets")).json() == {"resets": []}


@pytest.mark.parametrize(("method", "path", "body"), OF_MEMBERS)
async def test_a_body_s_token_is_no_member_s(learner: Learner, method: str, path: str, body: object) -> None:
    assert (await learner.ask("body", method, path, body)).status_code == 403


@pytest.mark.parametrize(("method", "path", "body"), OF_MEMBERS + OF_BODIES)
async def test_nobody_else_may_ask_anything(learner: Learner, method: str, path: str, body: object) -> None:
    assert (await learner.ask("sandbox", method, path, body)).status_code == 403
    assert (await learner.ask("nobody", method, path, body)).status_code == 401


@pytest.mark.parametrize(
    ("caller", "method", "path", "body"),
    [("rollout", *case) for case in OF_MEMBERS] + [("body", *case) for case in OF_BODIES],
)
async def test_each_may_ask_its_own(learner: Learner, caller: str, method: str, path: str, body: object) -> None:
    answer = await learner.ask(caller, method, path, body)
    assert answer.status_code in (200, 404)  # weights are not on offer here


def test_every_route_has_its_callers(tmp_path: Path) -> None:
    """A new route that nobody thought of would be open to every token."""
    paths = [getattr(route, "path", "") for route in Learner(tmp_path).app.routes]
    asked = [path for path in paths if path.startswith("/v1/")]
    assert len(asked) > 8
    assert [path for path in asked if not any(re.match(rf"{prefix}(/|$)", path) for prefix in RIGHTS)] == []


@pytest.mark.parametrize(
    "path",
    [
        "/v1/stop/",
        "//v1/stop",
        "/v1/./stop",
        "/v1/members/../stop",
        "/v1/members/%2e%2e/stop",
        "/V1/stop",
        "/v1/stop%00",
    ],
)
async def test_no_other_spelling_of_a_path_reaches_it(learner: Learner, path: str) -> None:
    assert (await learner.ask("rollout", "POST", path, {})).status_code in (403, 404)
    assert not learner.shared_status.is_stopping


@pytest.mark.parametrize(
    ("method", "override"), [("GET", "POST"), ("PUT", "POST"), ("PATCH", "POST"), ("OPTIONS", "POST"), ("HEAD", "POST")]
)
async def test_no_method_stands_for_another(learner: Learner, method: str, override: str) -> None:
    answer = await learner.ask("body", method, "/v1/stop", {}, X_HTTP_Method_Override=override)
    assert answer.status_code == 404
    assert not learner.shared_status.is_stopping


@pytest.mark.parametrize("caller", ["rollout", "body"])
async def test_a_high_attempt_locks_nobody_out(learner: Learner, caller: str) -> None:
    path = "/v1/model-files" if caller == "rollout" else "/v1/report"
    answer = await learner.ask(caller, "GET", path, X_ProRL_Attempt="99999999")
    assert kind_of(answer) is ErrorKind.STALE_ATTEMPT
    assert (await learner.ask("body", "GET", "/v1/report", X_ProRL_Attempt=str(ATTEMPT))).status_code == 200
    assert (await learner.ask("rollout", "GET", "/v1/model-files")).status_code == 200
    assert kind_of(await learner.ask("body", "GET", "/v1/report", X_ProRL_Attempt="2")) is ErrorKind.STALE_ATTEMPT


@pytest.mark.parametrize(
    "address",
    [
        "http://10.0.0.6:8000",
        "http://169.254.169.254:80",
        "http://evil.invalid:8000",
        "http://user:password@10.0.0.5:8000",
        "http://10.0.0.5:8000#x",
        "http://10.0.0.6\\@10.0.0.5:8000",
        "http://10.0.0.5:8000/v1",
        "http://10.0.0.5:8000?x",
        "HTTP://10.0.0.5:8000",
        "http://10.0.0.5:8000\n",
        "http://" + "1" * 400,
    ],
)
async def test_a_member_is_registered_at_no_address_but_its_own(learner: Learner, address: str) -> None:
    answer = await learner.ask("rollout", "PUT", "/v1/members/one", BEAT | {"address": address})
    assert answer.status_code == 422
    assert learner.members.alive() == []


async def test_a_member_is_registered_at_the_address_that_it_connects_from(learner: Learner) -> None:
    assert (await learner.ask("rollout", "PUT", "/v1/members/one", BEAT)).status_code == 200
    assert (await learner.ask("rollout", "PUT", "/v1/members/two", BEAT, address="10.0.0.6")).status_code == 422
    assert [member.address for member in learner.members.alive()] == ["http://10.0.0.5:8000"]


async def test_nobody_speaks_for_another_member(learner: Learner) -> None:
    await learner.ask("rollout", "PUT", "/v1/members/one", BEAT)
    lying = BEAT | {"address": "http://10.0.0.6:8000", "ready": False}
    answer = await learner.ask("rollout", "PUT", "/v1/members/one", lying, address="10.0.0.6")
    assert answer.status_code == 422
    (member,) = learner.members.alive()
    assert (member.address, member.ready) == ("http://10.0.0.5:8000", True)


async def test_a_forwarded_header_is_nobody_s_address(learner: Learner) -> None:
    forged = {"X_Forwarded_For": "10.0.0.6", "Forwarded": "for=10.0.0.6", "X_Real_IP": "10.0.0.6"}
    lying = BEAT | {"address": "http://10.0.0.6:8000"}
    assert (await learner.ask("rollout", "PUT", "/v1/members/one", lying, **forged)).status_code == 422


async def test_members_that_are_made_up_fill_no_memory(learner: Learner) -> None:
    statuses = []
    for port in range(1, 1100):
        beat = BEAT | {"address": f"http://10.0.0.5:{port}", "ttl_seconds": 600}
        statuses.append((await learner.ask("rollout", "PUT", f"/v1/members/{port}", beat)).status_code)
    assert (statuses.count(200), set(statuses)) == (1024, {200, 429})


async def test_a_name_without_end_is_refused(learner: Learner) -> None:
    assert (await learner.ask("rollout", "PUT", "/v1/members/" + "a" * 129, BEAT)).status_code == 422
    assert learner.members.alive() == []


async def test_the_tokens_of_other_jobs_open_nothing(tmp_path: Path) -> None:
    """Of the same names in another namespace, or of a job made anew: the uid tells them apart."""
    callers = ("body", "rollout")
    own = [f"{caller}={digest_of(derive_token(b'key', 'uid-1', caller, 'learner'))}" for caller in callers]
    learner = Learner(tmp_path, own)
    others = [derive_token(b"key", uid, caller, "learner") for uid in ("uid-2", "uid-1/") for caller in callers]
    others += [derive_token(b"key", "uid-1", "learner", callee) for callee in ("rollout", "sandbox", "learner")]
    for token in others:
        for method, path, body in OF_MEMBERS + OF_BODIES:
            assert (await learner.ask(token, method, path, body)).status_code == 401
    right = derive_token(b"key", "uid-1", "body", "learner")
    assert (await learner.ask(right, "GET", "/v1/status")).status_code == 200


async def test_a_large_body_is_refused(learner: Learner) -> None:
    answer = await learner.ask("body", "POST", "/v1/stop", {"reason": "x" * 100_000})
    assert (answer.status_code, kind_of(answer)) == (413, ErrorKind.TOO_LARGE)


async def test_two_tokens_or_two_attempts_are_one_too_many(learner: Learner) -> None:
    transport = httpx.ASGITransport(learner.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://learner") as http:
        tokens = [("Authorization", "Bearer rollout"), ("Authorization", "Bearer body")]
        assert (await http.post("/v1/stop", json={}, headers=tokens)).status_code == 401
        attempts = [("Authorization", "Bearer body"), ("X-ProRL-Attempt", "3"), ("X-ProRL-Attempt", "2")]
        assert (await http.post("/v1/stop", json={}, headers=attempts)).status_code == 422
    assert not learner.shared_status.is_stopping
