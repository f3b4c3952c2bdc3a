"""What this sandbox tells the learner of what contains programs here."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI

from prorl_api.wire.isolation import IsolationReport, PolicyFinding
from prorl_reward_sandbox.execution.levels.attacks import Threat
from prorl_reward_sandbox.execution.levels.strongest import StrongestIsolation
from prorl_reward_sandbox.service.description import ERRORS
from prorl_reward_sandbox.service.network_canary import NetworkCanary


def add_isolation_report(app: FastAPI, isolation: StrongestIsolation, canary: NetworkCanary | None) -> None:
    """Add the route.

    Args:
        app: The service.
        isolation: What was found at the start.
        canary: What to try; None: nobody asked whether a network policy is enforced.
    """

    never_busy = {status: answer for status, answer in ERRORS.items() if status != HTTPStatus.TOO_MANY_REQUESTS}

    @app.get("/v1/isolation", responses=never_busy)
    async def report() -> IsolationReport:
        """Return what contains programs here."""
        policy, detail = (PolicyFinding.UNCHECKED, "") if canary is None else await canary.finding()
        *stronger, used = isolation.findings
        return IsolationReport(
            level=used.level,
            missing=tuple(map(str, stronger)),
            keeps_off_network=Threat.NETWORK not in used.open_threats,
            policy=policy,
            policy_detail=detail,
        )
