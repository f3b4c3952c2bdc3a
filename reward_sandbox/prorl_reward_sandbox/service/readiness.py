"""Readiness is proven, not assumed: a real answer of each domain is judged and a real program is run."""

from __future__ import annotations

import asyncio
import time

from prorl_api.errors import RewardError
from prorl_api.process.api_error import ApiError
from prorl_api.spec.values import Domain
from prorl_api.wire.sandbox import ExecuteRequest, ProgramTest, ScoreItem, ScoreRequest, Verdict
from prorl_reward_sandbox.execution.programs import ProgramService
from prorl_reward_sandbox.service.scoring import ScoringService
from prorl_reward_sandbox.workers.fair_queue import QueueFullError

_CACHE_SECONDS = 3.0
_TIMEOUT_SECONDS = 8.0
_MATH = ScoreItem(item_id="math", domain=Domain.MATH, row={"answer": r"\frac{1}{2}"}, completion=r"It is \boxed{0.5}")
_LOGIC_ENTRY = {"question": "State the final answer to: 2 + 3 =", "answer": "5", "metadata": {}}
_LOGIC = ScoreItem(
    item_id="logic", domain=Domain.LOGIC, row={"task": "chain_sum", "entry": _LOGIC_ENTRY}, completion="5"
)
_SCORE = ScoreRequest(items=(_MATH, _LOGIC), timeout_seconds=5.0)
_PROGRAM = ExecuteRequest(
    source="print(int(input()) + 1)", tests=(ProgramTest(stdin="41", expected_stdout="42"),), total_wall_seconds=5.0
)


class Readiness:
    """Answers probes; a finding is kept for a few seconds, so that probes cost nothing."""

    def __init__(self, scoring: ScoringService, programs: ProgramService) -> None:
        self._scoring = scoring
        self._programs = programs
        self._lock = asyncio.Lock()
        self._found_at = float("-inf")
        self._fault = ""

    async def fault(self) -> str:
        """Return why the service cannot work now; empty if it can."""
        async with self._lock:
            if time.monotonic() - self._found_at > _CACHE_SECONDS:
                self._fault = await self._probe()
                self._found_at = time.monotonic() if not self._fault else float("-inf")
            return self._fault

    async def _probe(self) -> str:
        if self._scoring.fault:
            return self._scoring.fault
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                scored, ran = await asyncio.gather(
                    self._scoring.score(_SCORE, ignore_limit=True),
                    self._programs.execute(_PROGRAM, ignore_limit=True),
                )
        except TimeoutError:
            return f"a known answer and a known program were not judged within {_TIMEOUT_SECONDS:g} s"
        except QueueFullError:
            return ""  # busy with what it can do: callers get 429, and that is no reason to leave the service
        except (ApiError, RewardError) as error:
            return str(error)
        findings = [(f"{result.item_id} answer", result.verdict, result.detail) for result in scored.results]
        findings.append(("program", ran.tests[0].verdict, ran.tests[0].detail or ran.tests[0].stderr[-200:]))
        faults = [
            f"the known {what} was judged {verdict}: {why}"
            for what, verdict, why in findings
            if verdict is not Verdict.CORRECT
        ]
        return "; ".join(faults)
