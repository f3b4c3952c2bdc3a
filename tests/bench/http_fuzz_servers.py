"""The three services of a run, for the fuzzer: learner and rollout server in one process, the sandbox in its own.

`python -m tests.bench.http_fuzz_servers FOLDER` serves the first two and prints their ports; the rollout server has a
hand-written engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from prometheus_client import CollectorRegistry

from prorl_api.process.connections import limited_config
from prorl_api.process.fence import AttemptFence, OwnAttempt
from prorl_api.process.listen import LISTEN_FD_VARIABLE, bind
from prorl_api.process.tokens import ACCEPTED_VARIABLE, AcceptedTokens, accepted_text, digest_of
from prorl_api.run_folder import RunFolder
from tests.unit.trainer.trainer_builders import make_shared_status, make_spec

ROOT = Path(__file__).parents[2]
TOKENS = {caller: f"token-of-{caller}" for caller in ("body", "learner", "rollout", "nobody")}
ACCEPTED = [f"{caller}={digest_of(token)}" for caller, token in TOKENS.items() if caller != "nobody"]


@dataclass(slots=True)
class Services:
    """What runs."""

    addresses: dict[str, tuple[str, int]]
    processes: list[psutil.Process]
    log: Path

    @property
    def resident_bytes(self) -> int:
        """Of the servers themselves, without what the sandbox starts."""
        return sum(process.memory_info().rss for process in self.processes)

    @property
    def are_alive(self) -> bool:
        """Whether every process runs."""
        return all(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in self.processes)

    @property
    def tracebacks(self) -> str:
        """The log from its first traceback on; empty: there is none."""
        return self.log.read_text(encoding="utf-8", errors="replace").partition("Traceback")[2][:3000]


@contextlib.contextmanager
def services(folder: Path) -> Iterator[Services]:
    """All three, until the context ends."""
    log = folder / "services.log"
    with log.open("wb") as output, bind("127.0.0.1", 0) as listening:
        environment = os.environ | {
            "PRORL_SANDBOX_SETTINGS": json.dumps({"workers": 2}),
            LISTEN_FD_VARIABLE: str(listening.fileno()),
            ACCEPTED_VARIABLE: accepted_text({"learner": TOKENS["learner"]}),
        }
        sandbox = psutil.Popen(
            [sys.executable, "-m", "prorl_reward_sandbox"],
            env=environment, pass_fds=[listening.fileno()], stdout=output, stderr=output,
        )  # fmt: skip
        sandbox_address = listening.getsockname()[:2]
        others = psutil.Popen(
            [sys.executable, "-m", "tests.bench.http_fuzz_servers", str(folder)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=output, text=True,
        )  # fmt: skip
    try:
        ports = json.loads(others.stdout.readline())
        addresses = {name: ("127.0.0.1", port) for name, port in ports.items()} | {"sandbox": sandbox_address}
        yield Services(addresses, [psutil.Process(each.pid) for each in (sandbox, others)], log)
    finally:
        for process in (sandbox, others):
            process.terminate()
            process.wait(timeout=20)
        others.stdout.close()


async def serve(folder: Path) -> None:
    """Learner and rollout server, until the process is ended."""
    import uvicorn

    from prorl_api.wire.rollout import LoadWeightsRequest, WeightSource
    from prorl_rollout_server.app import create_app as rollout_app
    from prorl_rollout_server.group_registry import GroupRegistry
    from prorl_rollout_server.metrics import Metrics
    from prorl_rollout_server.service import RolloutService
    from prorl_trainer.service.api import LearnerService, create_app
    from prorl_trainer.service.reset_queue import ResetQueue
    from prorl_trainer.service.rollout_servers import RolloutServers
    from prorl_trainer.storage.fence import Fence
    from prorl_trainer.storage.lines import LineFile
    from tests.unit.rollout_server.service_kit import FIRST, FakeEngine, FakeFetcher

    model = folder / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps({"vocabulary": "x" * 100_000}), encoding="utf-8")
    resets = ResetQueue(LineFile(folder / "resets.jsonl", Fence(RunFolder(folder), 1), sync=True))
    learner = LearnerService(make_shared_status(1, 10), RolloutServers(1), resets, model, "job", make_spec)
    rollout = RolloutService(FakeFetcher(), Metrics("job", CollectorRegistry()), GroupRegistry())  # type: ignore[arg-type]
    rollout.attach(FakeEngine())
    await rollout.load(LoadWeightsRequest(weights_id=FIRST, sources=(WeightSource(kind="file", location="here"),)))
    tokens = AcceptedTokens(ACCEPTED)
    apps = {
        "learner": create_app(learner, tokens, OwnAttempt(1)),
        "rollout": rollout_app(rollout, AcceptedTokens(ACCEPTED[1:2]), AttemptFence(1)),
    }
    sockets = {name: bind("127.0.0.1", 0) for name in apps}
    servers = [uvicorn.Server(limited_config(app, log_config=None, lifespan="off")) for app in apps.values()]
    print(json.dumps({name: each.getsockname()[1] for name, each in sockets.items()}), flush=True)
    await asyncio.gather(
        *(server.serve(sockets=[each]) for server, each in zip(servers, sockets.values(), strict=True))
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(serve(Path(sys.argv[1])))
