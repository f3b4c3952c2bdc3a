"""What children are told, and what they are not told."""

from __future__ import annotations

from pathlib import Path

import pytest

from prorl_api.names import LEARNER_GLIBC_TUNABLES, ROLLOUT_GLIBC_TUNABLES
from prorl_api.process.tokens import AcceptedTokens, derive_token, digest_of
from prorl_api.run_folder import RunFolder
from prorl_api.settings import RolloutServerSettings, SandboxSettings
from prorl_api.spec.resets import ReferenceResetSpec
from prorl_api.spec.run import RestartSpec
from prorl_api.spec.values import Role
from prorl_cli.local.environment import Surroundings, member_environment, serves
from prorl_control.members import MemberStart
from prorl_control.plan import RunPlan


def make_environment(role: Role, index: int = 0, *, ranks: int = 1, **inherited: str) -> dict[str, str]:
    plan = RunPlan(
        job_name="demo",
        total_steps=1,
        num_rollout_servers=1,
        num_sandboxes=2,
        learner_replicas=1,
        learner_ranks_per_replica=ranks,
        rollout_settings=RolloutServerSettings(),
        sandbox_settings=SandboxSettings(),
        restarts=RestartSpec(),
        reference_reset=ReferenceResetSpec(),
        suspend=False,
    )
    around = Surroundings(
        run=RunFolder(Path("/runs/demo")),
        run_uid="u",
        plan=plan,
        urls={key: f"http://{key.name}:1" for key in plan.members if serves(key)},
        shared_memory=Path("/dev/shm/prorl-u"),
        token_key=b"key",
        inherited=inherited,
    )
    start = MemberStart(role=role, index=index, attempt=3 if role is Role.LEARNER else 0)
    return member_environment(around, start, lifeline=5, listening=6 if index == 0 else None, rendezvous_port=29500)


def caller(receiver: dict[str, str], token: str) -> str | None:
    """Whose token the receiver takes it for."""
    accepted = dict(entry.split("=")[::-1] for entry in receiver["PRORL_ACCEPTED_TOKEN_SHA256"].split(","))
    return accepted.get(digest_of(token))


def test_every_caller_has_the_token_its_callee_accepts_and_no_other() -> None:
    learner, rollout, sandbox = (make_environment(role) for role in (Role.LEARNER, Role.ROLLOUT, Role.SANDBOX))
    assert caller(rollout, learner["PRORL_TOKEN_ROLLOUT"]) == "learner"
    assert caller(sandbox, learner["PRORL_TOKEN_SANDBOX"]) == "learner"
    assert caller(learner, rollout["PRORL_TOKEN_LEARNER"]) == "rollout"
    assert caller(learner, derive_token(b"key", "u", "body", "learner")) == "body"
    assert caller(sandbox, rollout["PRORL_TOKEN_LEARNER"]) is None
    assert caller(rollout, learner["PRORL_TOKEN_SANDBOX"]) is None
    assert AcceptedTokens(frozenset()).caller(None) is not None


def test_where_model_written_code_runs_there_is_no_token_and_no_secret() -> None:
    sandbox = make_environment(Role.SANDBOX, PATH="/bin", HF_TOKEN="secret", AWS_SECRET_ACCESS_KEY="secret")
    assert sandbox["PATH"] == "/bin"
    assert "secret" not in sandbox.values()
    assert not [name for name in sandbox if name.startswith("PRORL_TOKEN_")]


def test_the_project_s_own_variables_are_not_inherited() -> None:
    assert "PRORL_ATTEMPT" not in make_environment(Role.ROLLOUT, PRORL_ATTEMPT="9")
    assert make_environment(Role.LEARNER, PRORL_ATTEMPT="9")["PRORL_ATTEMPT"] == "3"


def test_the_learner_knows_where_everything_is() -> None:
    learner = make_environment(Role.LEARNER)
    assert learner["PRORL_MANIFEST"] == "/runs/demo/effective.json"
    assert learner["PRORL_RUN_DIR"] == "/runs/demo"
    assert learner["PRORL_SANDBOX_URLS"] == "http://sandbox-0:1,http://sandbox-1:1"
    assert learner["PRORL_SHARED_MEMORY_DIR"] == "/dev/shm/prorl-u"
    assert "WORLD_SIZE" not in learner


def test_ranks_meet_where_torch_looks_and_only_the_first_listens() -> None:
    second = make_environment(Role.LEARNER, 1, ranks=2)
    assert (second["RANK"], second["WORLD_SIZE"], second["MASTER_PORT"]) == ("1", "2", "29500")
    assert "PRORL_LISTEN_FD" not in second


def test_a_rank_that_calls_nobody_and_serves_nobody_has_no_token() -> None:
    def secrets(environment: dict[str, str]) -> set[str]:
        return {name for name in environment if "TOKEN" in name}

    assert secrets(make_environment(Role.LEARNER, 1, ranks=2)) == set()
    first = {"PRORL_TOKEN_ROLLOUT", "PRORL_TOKEN_SANDBOX", "PRORL_ACCEPTED_TOKEN_SHA256"}
    assert secrets(make_environment(Role.LEARNER, 0, ranks=2)) == first


@pytest.mark.parametrize(
    ("role", "tunables"), [(Role.LEARNER, LEARNER_GLIBC_TUNABLES), (Role.ROLLOUT, ROLLOUT_GLIBC_TUNABLES)]
)
def test_the_allocator_is_set_unless_somebody_did(role: Role, tunables: str) -> None:
    assert make_environment(role)["GLIBC_TUNABLES"] == tunables
    assert make_environment(role, GLIBC_TUNABLES="mine")["GLIBC_TUNABLES"] == "mine"
