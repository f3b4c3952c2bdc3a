"""A reward sandbox of one's own for the length of a check: the same program, client and retries as in training."""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from prorl_api.errors import ProRLError
from prorl_api.process.listen import address_of, bind
from prorl_api.process.tokens import accepted_text
from prorl_api.run_folder import RunFolder
from prorl_api.settings import SandboxSettings
from prorl_api.spec.values import Role
from prorl_api.wire.sandbox import RewardFunction, ScoreItem, ScoreResult, Verdict
from prorl_cli.data.gold import Probe
from prorl_cli.local.environment import PROGRAMS, sandbox_environment
from prorl_cli.local.processes import ProcessTable
from prorl_control.members import MemberKey, MemberStart, MemberState
from prorl_trainer.service.reward_client import RewardClient

_KEY = MemberKey(role=Role.SANDBOX, index=0)
_START_SECONDS = 120.0
_ASK_EVERY_SECONDS = 0.1
_LOG_TAIL = 2000
_END_SECONDS = 15.0
_BATCH_PROBES = 64
_BATCH_BYTES = 8 * 2**20
"""Well below what a sandbox takes in one request, and what bounds our own memory."""


class JudgeError(ProRLError):
    """The local sandbox does not come up, or has ended."""


class LocalJudge:
    """A client of the local sandbox that tells a judge that is gone from one that fails on an item."""

    def __init__(self, client: RewardClient, table: ProcessTable) -> None:
        self._client = client
        self._table = table

    async def score(self, items: Sequence[ScoreItem], timeout_seconds: float) -> list[ScoreResult]:
        """Return one result per item, in order.

        Raises:
            JudgeError: The sandbox has ended.
        """
        results = await self._client.score(items, timeout_seconds)
        if all(result.verdict is Verdict.SANDBOX_ERROR for result in results):
            _raise_if_ended(self._table, "during the check")
        return results


@asynccontextmanager
async def local_judge(workers: int, rewards: Mapping[str, RewardFunction] | None = None) -> AsyncIterator[LocalJudge]:
    """Run a sandbox on this machine until the block ends.

    Args:
        workers: Verifier processes, and programs run at once.
        rewards: Functions that probes of domain `custom` name.

    Raises:
        JudgeError: It does not come up; the message holds the end of its log.
    """
    token = secrets.token_hex(16)
    with _running_sandbox(workers, token) as (url, table):
        client = RewardClient([url], attempt=1, token=token, rewards=rewards)
        try:
            yield LocalJudge(client, table)
        finally:
            await client.close()


@contextmanager
def _running_sandbox(workers: int, token: str) -> Iterator[tuple[str, ProcessTable]]:
    with tempfile.TemporaryDirectory(prefix="prorl-data-") as folder:
        run = RunFolder(Path(folder))
        run.logs.mkdir()
        table = ProcessTable(run)
        try:
            with bind("127.0.0.1", 0) as listening:
                url = f"http://{address_of(listening)}"
                environment = sandbox_environment(
                    SandboxSettings(workers=workers),
                    accepted=accepted_text({"learner": token}),
                    inherited=os.environ,
                    job_name="data-check",
                    lifeline=table.lifeline,
                    listening=listening.fileno(),
                )
                start = MemberStart(role=Role.SANDBOX, index=0)
                table.start(start, PROGRAMS[Role.SANDBOX], environment, [listening.fileno()])
            _wait_until_ready(table, url)
            yield url, table
            _end(table)
        finally:
            table.close()


def _wait_until_ready(table: ProcessTable, url: str) -> None:
    try:
        Retrying(
            retry=retry_if_result(lambda is_ready: not is_ready),
            stop=stop_after_delay(_START_SECONDS),
            wait=wait_fixed(_ASK_EVERY_SECONDS),
        )(_is_ready, table, url)
    except RetryError as error:
        log = _log(table)
        raise JudgeError(f"the reward sandbox is not ready after {_START_SECONDS:g} s; its log ends:\n{log}") from error


def _is_ready(table: ProcessTable, url: str) -> bool:
    _raise_if_ended(table, "while it started")
    try:
        return httpx.get(f"{url}/readyz", timeout=30, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _raise_if_ended(table: ProcessTable, when: str) -> None:
    (member,) = table.observe(lambda _: False)
    if member.state is MemberState.EXITED:
        raise JudgeError(f"the reward sandbox ended {when}; its log ends:\n{_log(table)}")


def _log(table: ProcessTable) -> str:
    return table.log_path(_KEY).read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL:]


def _end(table: ProcessTable) -> None:
    """Let it end in good order; `ProcessTable.close` kills it otherwise."""
    table.end(_KEY)
    deadline = time.monotonic() + _END_SECONDS
    while time.monotonic() < deadline:
        (member,) = table.observe(lambda _: True)
        if member.state is MemberState.EXITED:
            return
        time.sleep(_ASK_EVERY_SECONDS)


class Judging:
    """Has probes judged in batches, several at once, and gives the verdicts in the order of the probes."""

    def __init__(self, judge: LocalJudge, *, in_flight: int) -> None:
        self._judge = judge
        self._in_flight = in_flight
        self._waiting: list[Probe] = []
        self._waiting_bytes = 0
        self._sent: deque[tuple[list[Probe], asyncio.Future[list[ScoreResult]]]] = deque()

    async def submit(self, probes: Sequence[Probe], num_bytes: int) -> list[tuple[Probe, ScoreResult]]:
        """Take the probes of a row; what has been judged since, oldest first.

        Args:
            probes: Of one row.
            num_bytes: About the row's size.
        """
        self._waiting += probes
        self._waiting_bytes += num_bytes * len(probes)
        if len(self._waiting) < _BATCH_PROBES and self._waiting_bytes < _BATCH_BYTES:
            return []
        self._send()
        return await self._oldest() if len(self._sent) >= self._in_flight else []

    async def finish(self) -> list[tuple[Probe, ScoreResult]]:
        """Return what is left."""
        if self._waiting:
            self._send()
        judged: list[tuple[Probe, ScoreResult]] = []
        while self._sent:
            judged += await self._oldest()
        return judged

    def _send(self) -> None:
        probes, self._waiting, self._waiting_bytes = self._waiting, [], 0
        timeout = max(probe.timeout_seconds for probe in probes)
        # Numbered anew: the same line may be probed more than once in a batch.
        items = [probe.item.model_copy(update={"item_id": str(number)}) for number, probe in enumerate(probes)]
        self._sent.append((probes, asyncio.ensure_future(self._judge.score(items, timeout))))

    async def _oldest(self) -> list[tuple[Probe, ScoreResult]]:
        probes, results = self._sent.popleft()
        return list(zip(probes, await results, strict=True))
