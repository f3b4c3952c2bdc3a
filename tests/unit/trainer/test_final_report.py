"""The end of a learner in a pod: it leaves once the body has asked for everything."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from prorl_api.process.fence import AttemptFence
from prorl_api.process.tokens import AcceptedTokens
from prorl_api.run_folder import RunFolder
from prorl_api.wire.learner import LearnerPhase
from prorl_trainer.service.api import LearnerService, create_app
from prorl_trainer.service.reset_queue import ResetQueue
from prorl_trainer.service.rollout_servers import RolloutServers
from prorl_trainer.storage.fence import Fence
from prorl_trainer.storage.lines import LineFile
from tests.unit.trainer.trainer_builders import make_shared_status, make_spec


@pytest.mark.parametrize(
    ("asked", "is_told"),
    [((), False), (("/v1/metrics",), False), (("/v1/metrics", "/v1/resets"), True), (("/v1/report",), True)],
)
async def test_it_has_told_everything_once_metrics_and_resets_were_asked_for(
    tmp_path: Path, asked: tuple[str, ...], is_told: bool
) -> None:
    shared_status = make_shared_status(1, 10)
    reset_queue = ResetQueue(LineFile(tmp_path / "resets.jsonl", Fence(RunFolder(tmp_path), 1), sync=True))
    app = create_app(
        LearnerService(shared_status, RolloutServers(1), reset_queue, tmp_path, "job", make_spec),
        AcceptedTokens(frozenset()),
        AttemptFence(),
    )
    shared_status.enter(LearnerPhase.DONE)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://learner") as client:
        for path in asked:
            assert (await client.get(path)).is_success
    assert shared_status.wait_until_told(0.0) is is_told
