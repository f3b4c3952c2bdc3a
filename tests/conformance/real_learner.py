"""Pods in which the learner is the real one: `real_learner.py ROLE FOLDER`.

Its rollout servers and its judge are those of `tests/integration/learner_world`: no engine has to start, and the
learner trains on what they say all the same.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading
import time
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Response

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from prorl_api.names import ENV_ADVERTISED_URL, ENV_LEARNER_URL, ENV_MANIFEST  # noqa: E402 - started as a file, not as a module
from prorl_api.process.listen import listening_socket  # noqa: E402
from prorl_api.process.tokens import bearer_headers  # noqa: E402
from prorl_trainer.launch import launcher  # noqa: E402
from tests.integration.learner_world import World  # noqa: E402

_GROUP_SECONDS = 0.3
"""For a group of completions, so that steps take about as long as scrapes are apart."""


def main() -> None:
    """Serve as the role asks until told to end."""
    role, control = sys.argv[1], Path(sys.argv[2])
    if role == "learner":
        learn(control)
    world = World(control / role)
    world.on_generate = lambda _: time.sleep(_GROUP_SECONDS)
    add_probes(world.app, world if role == "rollout" else None)
    if role == "rollout":
        threading.Thread(target=register, args=(world,), daemon=True).start()
    server = uvicorn.Server(uvicorn.Config(world.app, log_level="warning", access_log=False))
    server.run(sockets=[listening_socket()])


def learn(control: Path) -> None:
    """Be the launcher, or a rank. The model is named by its mount path in the manifest alone, which is translated."""
    if "--rank" not in sys.argv:
        sys.exit(launcher.main([sys.executable, *sys.argv, "--rank"]))
    models = control.parents[1] / "claims" / control.name / "models"
    told, own = Path(os.environ[ENV_MANIFEST]), Path("manifest-here.json").resolve()

    def translate() -> None:
        text = told.read_text().replace('"/models/', f'"{models}/')
        if not own.exists() or own.read_text() != text:
            own.with_suffix(".new").write_text(text)
            own.with_suffix(".new").replace(own)

    def keep() -> None:
        while True:
            time.sleep(0.2)
            translate()

    translate()
    threading.Thread(target=keep, daemon=True).start()
    os.environ[ENV_MANIFEST] = str(own)
    sys.argv = sys.argv[:1]
    runpy.run_module("prorl_trainer", run_name="__main__", alter_sys=True)


def register(world: World) -> None:
    """Heartbeats, as a rollout server sends them."""
    while True:
        world.beat_once(os.environ[ENV_LEARNER_URL], os.environ[ENV_ADVERTISED_URL], bearer_headers("learner"))
        time.sleep(0.2)


def add_probes(app: FastAPI, world: World | None) -> None:
    """A rollout server is ready once it holds weights."""

    @app.get("/readyz")
    def readyz() -> Response:
        return Response(status_code=200 if world is None or world.holds_weights else 503)

    @app.get("/healthz")
    def healthz() -> Response:
        return Response()


if __name__ == "__main__":
    main()
