"""The end of a learner in a pod: it leaves once the body has asked for everything."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from prorl_api.process.asgi import AttemptFence
from prorl_api.process.tokens import AcceptedTokens
from prorl_api.run_folder import RunFolder
from prorl_api.wire.learner import LearnerPhase
from prorl_trainer.service.api import LearnerService, create_app
from prorl_trainer.service.board import Board
from prorl_trainer.service.members import Members
from prorl_trainer.service.reset_desk import ResetDesk
from prorl_trainer.storage.fence import Fence
from prorl_trainer.storage.lines import LineFile


@pytest.mark.parametrize(
    ("asked", "is_told"),
    [((), False), (("/v1/metrics",), False), (("/v1/metrics", "/v1/resets"), True), (("/v1/report",), True)],
)
async def test_it_has_told_everything_once_metrics_and_resets_were_asked_for(
    tmp_path: Path, asked: tuple[str, ...], is_told: bool
) -> None:
    board = Board(1, 10)
    desk = ResetDesk(LineFile(tmp_path / "resets.jsonl", Fence(RunFolder(tmp_path), 1), sync=True))
    app = create_app(
        LearnerService(board, Members(1), desk, tmp_path, "job"), AcceptedTokens(frozenset()), AttemptFence()
    )
    board.enter(LearnerPhase.DONE)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://learner") as client:
        for path in asked:
            assert (await client.get(path)).is_success
    assert board.wait_until_told(0.0) is is_told
