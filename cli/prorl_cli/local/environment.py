"""What each child process is told through its environment. Pure: from the plan and the addresses to variables.

The only place of the body that knows the variables' names. A process that runs model-written code gets a handful of
harmless variables and no token at all.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prorl_api.names import (
    ENV_ADVERTISED_URL,
    ENV_ATTEMPT,
    ENV_JOB_NAME,
    ENV_LEARNER_URL,
    ENV_MANIFEST,
    ENV_ROLLOUT_SETTINGS,
    ENV_RUN_DIR,
    ENV_SANDBOX_SETTINGS,
    ENV_SANDBOX_URLS,
    ENV_SHARED_MEMORY_DIR,
    ENV_TRACKER_PYTHON,
    LEARNER_GLIBC_TUNABLES,
    ROLLOUT_GLIBC_TUNABLES,
)
from prorl_api.process.lifeline import LIFELINE_FD_VARIABLE
from prorl_api.process.listen import LISTEN_FD_VARIABLE
from prorl_api.process.tokens import ACCEPTED_VARIABLE, BODY, TOKEN_VARIABLE_PREFIX, accepted_text, derive_token
from prorl_api.run_folder import RunFolder
from prorl_api.settings import SandboxSettings
from prorl_api.spec.values import Role
from prorl_cli.local.gpus import VISIBLE
from prorl_control.members import MemberKey, MemberStart
from prorl_control.plan import RunPlan

_MODULES = {
    Role.LEARNER: "prorl_trainer",
    Role.ROLLOUT: "prorl_rollout_server",
    Role.SANDBOX: "prorl_reward_sandbox",
}
PROGRAMS: Mapping[Role, tuple[str, ...]] = {role: (sys.executable, "-m", module) for role, module in _MODULES.items()}
"""What is started for each role."""

_SANDBOX_INHERITS = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TZ", "PYTHONPATH", "LD_LIBRARY_PATH")

_RANK_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Of a launcher around the body; they would make the only rank believe that it is one of several."""

_GLIBC_TUNABLES = {Role.LEARNER: LEARNER_GLIBC_TUNABLES, Role.ROLLOUT: ROLLOUT_GLIBC_TUNABLES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the environments of all members are made of."""

    run: RunFolder
    run_uid: str
    plan: RunPlan
    urls: Mapping[MemberKey, str]
    """Base URL of every member that serves."""
    shared_memory: Path
    token_key: bytes
    inherited: Mapping[str, str]
    """The supervisor's own environment."""
    gpus: Mapping[MemberKey, tuple[str, ...]] = field(default_factory=dict)
    """The GPUs that a member sees; without an entry, what the supervisor sees."""

    def token(self, caller: str, callee: str) -> str:
        """Return the token of one direction."""
        return derive_token(self.token_key, self.run_uid, caller, callee)


def serves(key: MemberKey) -> bool:
    """Tell whether the member has an address: of the learner's ranks only the first."""
    return key.role is not Role.LEARNER or key.index == 0


def member_environment(
    around: Surroundings, start: MemberStart, *, lifeline: int, listening: int | None, rendezvous_port: int
) -> dict[str, str]:
    """Return the whole environment of one child.

    Args:
        around: What is common to all.
        start: The member.
        lifeline: Inherited descriptor.
        listening: Inherited descriptor of its socket, if it serves.
        rendezvous_port: Where the learner's ranks of this attempt meet; unused with one rank.
    """
    if start.role is Role.SANDBOX:
        assert listening is not None
        return sandbox_environment(
            around.plan.sandbox_settings,
            accepted=accepted_text({"learner": around.token("learner", "sandbox")}),
            inherited=around.inherited,
            job_name=around.plan.job_name,
            lifeline=lifeline,
            listening=listening,
        )
    environment = _inherited(around) | _common(around.plan.job_name, lifeline)
    if listening is not None:
        environment[LISTEN_FD_VARIABLE] = str(listening)
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in around.inherited:
        environment["GLIBC_TUNABLES"] = _GLIBC_TUNABLES[start.role]
    if start.key in around.gpus:
        environment[VISIBLE] = ",".join(around.gpus[start.key])
    if start.role is Role.ROLLOUT:
        return environment | _rollout(around, start)
    return environment | _learner(around, start, rendezvous_port)


def sandbox_environment(
    settings: SandboxSettings,
    *,
    accepted: str,
    inherited: Mapping[str, str],
    job_name: str,
    lifeline: int,
    listening: int,
) -> dict[str, str]:
    """Return the whole environment of a reward sandbox: a handful of harmless variables and the digest of a token.

    Args:
        settings: Of the sandbox.
        accepted: Whose token it accepts, by digest: the value of the variable.
        inherited: The parent's own environment.
        job_name: Label of its metrics.
        lifeline: Inherited descriptor.
        listening: Inherited descriptor of its socket.
    """
    return {
        **{name: inherited[name] for name in _SANDBOX_INHERITS if name in inherited},
        **_common(job_name, lifeline),
        LISTEN_FD_VARIABLE: str(listening),
        ENV_SANDBOX_SETTINGS: settings.model_dump_json(),
        ACCEPTED_VARIABLE: accepted,
    }


def _common(job_name: str, lifeline: int) -> dict[str, str]:
    return {
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        ENV_JOB_NAME: job_name,
        LIFELINE_FD_VARIABLE: str(lifeline),
    }


def _inherited(around: Surroundings) -> dict[str, str]:
    return {
        name: value
        for name, value in around.inherited.items()
        if (not name.startswith("PRORL_") or name == ENV_TRACKER_PYTHON) and name not in _RANK_VARIABLES
    }


def _rollout(around: Surroundings, start: MemberStart) -> dict[str, str]:
    return {
        ENV_ROLLOUT_SETTINGS: around.plan.rollout_settings.model_dump_json(),
        ENV_LEARNER_URL: around.urls[MemberKey(role=Role.LEARNER, index=0)],
        ENV_ADVERTISED_URL: around.urls[start.key],
        TOKEN_VARIABLE_PREFIX + "LEARNER": around.token("rollout", "learner"),
        ACCEPTED_VARIABLE: accepted_text({"learner": around.token("learner", "rollout")}),
    }


def _learner(around: Surroundings, start: MemberStart, rendezvous_port: int) -> dict[str, str]:
    sandboxes = [url for key, url in around.urls.items() if key.role is Role.SANDBOX]
    environment = {
        ENV_MANIFEST: str(around.run.effective_manifest),
        ENV_RUN_DIR: str(around.run.path),
        ENV_ATTEMPT: str(start.attempt),
        ENV_SANDBOX_URLS: ",".join(sandboxes),
        ENV_SHARED_MEMORY_DIR: str(around.shared_memory),
        ENV_ADVERTISED_URL: around.urls[MemberKey(role=Role.LEARNER, index=0)],
    }
    if serves(start.key):  # the other ranks call nobody and serve nobody
        environment |= {
            TOKEN_VARIABLE_PREFIX + "ROLLOUT": around.token("learner", "rollout"),
            TOKEN_VARIABLE_PREFIX + "SANDBOX": around.token("learner", "sandbox"),
            ACCEPTED_VARIABLE: accepted_text(
                {caller: around.token(caller, "learner") for caller in (BODY, Role.ROLLOUT.value)}
            ),
        }
    ranks = around.plan.learner_ranks
    if ranks > 1:
        environment |= {
            "RANK": str(start.index),
            "LOCAL_RANK": str(start.index),
            "WORLD_SIZE": str(ranks),
            "LOCAL_WORLD_SIZE": str(ranks),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(rendezvous_port),
        }
    return environment
