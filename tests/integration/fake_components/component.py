"""Tiny stand-ins for the real components: real processes that keep the real HTTP contract, and train nothing.

`component.py ROLE CONTROL_FOLDER`. Files in the control folder make them misbehave: `exit-<member>` holds an exit
code and is consumed, `always-exit-<member>` is not; `step-seconds` holds the length of a step. There they also say
what happened: `published` has a line for every update of weights that a rollout server took, `<attempt> <step>`.

A learner in a pod is started by the real launcher of ranks, which starts this program again as each rank.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from prorl_api.errors import ExitCode, SpecError, StaleAttemptError
from prorl_api.names import ENV_ADVERTISED_URL, ENV_LEARNER_REPLICAS, ENV_LEARNER_URL
from prorl_api.process import http_guard
from prorl_api.process.fence import AttemptFence
from prorl_api.process.lifeline import hold_lifeline
from prorl_api.process.listen import listening_socket
from prorl_api.process.logs import configure_logging
from prorl_api.process.tokens import AcceptedTokens, bearer_headers
from prorl_api.wire.base import ATTEMPT_HEADER
from prorl_api.wire.learner import MemberHeartbeat
from prorl_trainer.launch import launcher

sys.path.insert(0, str(Path(__file__).parent))
from learner import FakeLearner, create_learner_app, wait_for_rank_zero


def main() -> None:
    """Serve as the role asks until told to end."""
    role, control = sys.argv[1], Path(sys.argv[2])
    control.mkdir(parents=True, exist_ok=True)
    if role == "learner" and ENV_LEARNER_REPLICAS in os.environ and "--rank" not in sys.argv:
        sys.exit(launcher.main([sys.executable, *sys.argv, "--rank"]))
    hold_lifeline()
    configure_logging(role)
    if role == "learner" and os.environ.get("RANK", "0") != "0":
        threading.Thread(target=misbehave, args=(control, f"learner-{os.environ['RANK']}"), daemon=True).start()
        wait_for_rank_zero()
        return
    listening = listening_socket()
    tokens = AcceptedTokens.from_environment()
    threading.Thread(target=misbehave, args=(control, f"{role}-0"), daemon=True).start()
    if role == "learner":
        learner = begin_learner(control)
        app = create_learner_app(learner)
    else:
        app = FastAPI()
        install_readiness(app, role, control)
    http_guard.install(app, tokens, AttemptFence())
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    if role == "learner":
        learner.server = server
        # As the real one: SIGTERM is a wish to stop with a checkpoint.
        server.handle_exit = lambda *_: learner.ask_to_stop()  # type: ignore[method-assign]
        threading.Thread(target=learner.run, daemon=True).start()
    server.run(sockets=[listening])
    if role == "learner":
        os._exit(learner.exit_code)


def begin_learner(control: Path) -> FakeLearner:
    """The learner, or the end of this process with the code that the real one has."""
    try:
        return FakeLearner(control)
    except StaleAttemptError as error:
        logging.getLogger("learner").error("%s", error)
        sys.exit(ExitCode.STALE_ATTEMPT)
    except SpecError as error:
        logging.getLogger("learner").error("%s", error)
        sys.exit(ExitCode.BAD_SPEC)


def install_readiness(app: FastAPI, role: str, control: Path) -> None:
    """Probes; a rollout server registers at the learner first, and has a helper process as vLLM has."""
    state = {"ready": role == "sandbox"}
    if (control / f"detached-{role}").exists():
        start_detached(control)
    if role == "rollout":
        helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (control / "helper-pids").open("a").write(f"{helper.pid}\n")
        threading.Thread(target=register, args=(state,), daemon=True).start()

    @app.get("/readyz")
    def readyz() -> Response:
        return JSONResponse({}, status_code=200 if state["ready"] else 503)

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {}

    @app.post("/v1/weights")
    def weights(request: Request, body: dict[str, int]) -> dict[str, str]:
        with (control / "published").open("a") as file:
            file.write(f"{request.headers[ATTEMPT_HEADER]} {body['step']}\n")
        return {}

    @app.post("/v1/score")
    def score() -> dict[str, bool]:
        return {"scored": True}


def start_detached(control: Path) -> None:
    """A process in a session of its own, as a sandbox starts programs: its group is not the component's."""
    program = "import time; time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    (control / "helper-pids").open("a").write(f"{process.pid}\n")


def register(state: dict[str, bool]) -> None:
    """Heartbeats, as a rollout server sends them."""
    body = MemberHeartbeat(address=os.environ[ENV_ADVERTISED_URL], ready=True, weights_id=None)
    url = f"{os.environ[ENV_LEARNER_URL]}/v1/members/fake-{os.getpid()}"
    while True:
        try:
            answer = httpx.put(url, json=body.model_dump(mode="json"), headers=bearer_headers("learner"), timeout=2)
            state["ready"] = answer.is_success
        except httpx.HTTPError:
            pass
        time.sleep(0.2)


def misbehave(control: Path, member: str) -> None:
    """Exit as the control folder asks."""
    while True:
        for name in (f"exit-{member}", f"always-exit-{member}"):
            path = control / name
            if path.exists() and (text := path.read_text()):  # else it is being written
                code = int(text)
                if name.startswith("exit"):
                    path.unlink()
                logging.getLogger(member).error("told to exit with %s", code)
                os._exit(code) if code >= 0 else os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.02)


if __name__ == "__main__":
    main()
