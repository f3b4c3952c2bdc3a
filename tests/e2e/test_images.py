"""The images, really run: what is in them, and that each component starts in one as an ordinary user.

As root, with buildah and runc, after `make images`. PRORL_IMAGES names the images, with `{}` for the target.
"""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from prorl_api.errors import ExitCode
from prorl_api.names import ENV_LEARNER_URL, ENV_MANIFEST, ENV_RENDEZVOUS
from prorl_api.process.listen import LISTEN_ADDRESS_VARIABLE
from prorl_api.spec.values import Domain
from prorl_api.wire.base import WireModel
from prorl_api.wire.sandbox import (
    ExecuteRequest,
    ExecuteResponse,
    ProgramTest,
    ScoreItem,
    ScoreRequest,
    ScoreResponse,
    Verdict,
)
from prorl_reward_sandbox.execution.jail.settings import LANDLOCK, NAMESPACES
from prorl_reward_sandbox.execution.jail.zygote import INSIDE_USER
from tests.e2e.image_containers import USER_ID, Image, mounted_image, running
from tests.integration.tiny_model import write_model
from tests.testbed.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PACKAGES = {
    "operator": {"prorl_api", "prorl_control", "prorl_operator"},
    "learner": {"prorl_api", "prorl_trainer"},
    "rollout-server": {"prorl_api", "prorl_rollout_server"},
    "reward-sandbox": {"prorl_api", "prorl_reward_sandbox", "prorl_verifiers"},
}
"""What each image holds of this project."""
EVERY = pytest.mark.parametrize("target", PACKAGES)
LIGHT = pytest.mark.parametrize("target", ["operator", "reward-sandbox"])
HEAVY = {"torch", "nvidia", "triton", "vllm", "transformers", "deepspeed"}
LOCAL = {LISTEN_ADDRESS_VARIABLE: "127.0.0.1:0"}
TRAIN = """
import deepspeed, torch, transformers
assert not torch.cuda.is_available()
layer = torch.nn.Linear(8, 1)
optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
inputs = torch.eye(8)
losses = []
for _ in range(50):
    loss = (layer(inputs) - 1).square().mean()
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    losses.append(loss.item())
assert losses[-1] < losses[0] / 10, losses
print("trained")
"""
GENERATE = """
import asyncio, importlib.metadata, pathlib
from prorl_api.settings import RolloutServerSettings
from prorl_api.wire.rollout import Sampling
from prorl_rollout_server.scratch import Scratch
from prorl_rollout_server.vllm_engine import prepare_environment, start_vllm

async def main():
    settings = RolloutServerSettings(dtype="float32", max_model_tokens=64, max_running_sequences=2)
    prepare_environment(settings, Scratch())
    engine = start_vllm(pathlib.Path("/model"), settings)
    sample = await engine.sample("one", [5, 6, 7], Sampling(max_tokens=4, seed=1), seed=1, max_tokens=4)
    assert 1 <= len(sample.token_ids) <= 4
    plugins = importlib.metadata.entry_points(group="vllm.general_plugins")
    assert "prorl_weight_transfer" in plugins.names
    print("generated")
    engine.shutdown()

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def mount() -> Iterator[Callable[[str], Image]]:
    """Gives a target's image, which is mounted when it is first asked for."""
    pattern = os.environ.get("PRORL_IMAGES", "localhost/prorl/{}:0.1.0")
    with ExitStack() as stack:

        @functools.cache
        def get(target: str) -> Image:
            return stack.enter_context(mounted_image(pattern.format(target)))

        yield get


@pytest.fixture
def image(mount: Callable[[str], Image], target: str) -> Image:
    """The image of the parameter `target`."""
    return mount(target)


@EVERY
def test_an_image_holds_the_packages_of_its_component_only(image: Image, target: str) -> None:
    assert {path.name for path in image.packages.iterdir() if path.suffix != ".dist-info"} == PACKAGES[target]


@LIGHT
def test_an_image_that_needs_no_model_holds_no_library_for_models(image: Image) -> None:
    assert HEAVY & {path.name for path in image.site_packages.iterdir()} == set()


@EVERY
def test_an_image_holds_no_sources_outside_its_environment_and_no_caches(image: Image) -> None:
    assert not (image.root / "build").exists()
    assert [path for path in (image.root / "root").rglob("*") if path.is_file() and ".cache" in path.parts] == []
    for folder in ("", "opt", "root", "tmp"):
        assert {path.name for path in (image.root / folder).iterdir()}.isdisjoint({"pyproject.toml", ".git", "api"})
    assert list((image.root / image.config["WorkingDir"].lstrip("/")).glob("*.py")) == []
    assert list((image.root / "tmp").iterdir()) == []


@EVERY
def test_modules_are_compiled_and_found_in_the_environment_only(image: Image) -> None:
    sources = list(image.packages.glob("prorl_*/**/*.py"))
    compiled = {path.name.partition(".")[0] for path in image.packages.glob("prorl_*/**/__pycache__/*.pyc")}
    assert sources
    assert {path.stem for path in sources} == compiled
    assert image.environment["PYTHONSAFEPATH"] == image.environment["PYTHONDONTWRITEBYTECODE"] == "1"
    assert "PYTHONPATH" not in image.environment


@EVERY
def test_the_user_of_an_image_can_write_only_to_tmp_and_become_nobody_else(image: Image) -> None:
    assert image.config["User"] == f"{USER_ID}:{USER_ID}"
    writable, set_id = [], []
    for folder, folders, files in os.walk(image.root):
        for path in (Path(folder, name) for name in [*folders, *files]):
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                continue
            if status.st_mode & stat.S_IWOTH or USER_ID in (status.st_uid, status.st_gid):
                writable.append(str(path.relative_to(image.root)))
            if stat.S_ISREG(status.st_mode) and status.st_mode & (stat.S_ISUID | stat.S_ISGID):
                set_id.append(str(path.relative_to(image.root)))
    assert set_id == []
    assert writable == ["tmp"]


@pytest.mark.parametrize(
    ("target", "variable"),
    [
        ("operator", "PRORL_OPERATOR_KEY_FILE"),
        ("learner", "JOB_COMPLETION_INDEX"),
        ("rollout-server", ENV_LEARNER_URL),
    ],
)
def test_a_component_that_is_told_nothing_says_what_it_wants(image: Image, variable: str, tmp_path: Path) -> None:
    with running(image, tmp_path) as container:
        assert container.exit_code() == ExitCode.BAD_SPEC
        assert variable in container.text()


@pytest.mark.parametrize("target", ["learner"])
def test_a_single_rank_becomes_the_learner(image: Image, tmp_path: Path) -> None:
    alone = {
        "JOB_COMPLETION_INDEX": "0",
        "PRORL_LEARNER_REPLICAS": "1",
        "PRORL_PROCESSES_PER_REPLICA": "1",
        ENV_RENDEZVOUS: "127.0.0.1:29500",
    }
    with running(image, tmp_path, environment=alone) as container:
        assert container.exit_code() == ExitCode.BAD_SPEC
        assert ENV_MANIFEST in container.text()


@pytest.mark.parametrize("target", ["learner"])
def test_the_learner_trains_without_a_gpu(image: Image, tmp_path: Path) -> None:
    with running(image, tmp_path, command=["python", "-c", TRAIN]) as container:
        assert container.exit_code() == 0, container.text()
        assert "trained" in container.text()


@pytest.mark.parametrize("target", ["rollout-server"])
def test_the_rollout_server_is_healthy_before_it_has_a_model(image: Image, tmp_path: Path) -> None:
    environment = {**LOCAL, ENV_LEARNER_URL: "http://127.0.0.1:9"}
    with running(image, tmp_path, environment=environment) as container:
        url = container.url()
        assert httpx.get(f"{url}/healthz", trust_env=False, timeout=30).status_code == 200
        assert httpx.get(f"{url}/readyz", trust_env=False, timeout=30).status_code == 503
        assert container.stop() == ExitCode.OK, container.text()


@pytest.mark.parametrize("target", ["rollout-server"])
def test_the_engine_compiles_and_samples(image: Image, tmp_path: Path) -> None:
    model, bundle = tmp_path / "model", tmp_path / "bundle"
    bundle.mkdir()
    write_model(model, head_dim=32)  # the least that vLLM's attention has on a CPU
    for path in (tmp_path, model):
        path.chmod(0o755)
    command = ["python", "-c", GENERATE]
    with running(image, bundle, command=command, mounts={model: "/model"}) as container:
        assert container.exit_code() == 0, container.text()
        assert "generated" in container.text()


@pytest.mark.parametrize("target", ["reward-sandbox"])
def test_the_sandbox_judges_answers_and_runs_programs(image: Image, tmp_path: Path) -> None:
    def item(item_id: str, completion: str) -> ScoreItem:
        return ScoreItem(item_id=item_id, domain=Domain.MATH, row={"answer": "42"}, completion=completion)

    score = ScoreRequest(items=(item("right", r"It is \boxed{42}"), item("wrong", r"It is \boxed{41}")))
    # Where namespaces can be had, programs have a user of their own in there.
    users = {LANDLOCK: USER_ID, NAMESPACES: INSIDE_USER}
    who = ExecuteRequest(
        source="import os\nprint(os.getuid())",
        tests=tuple(ProgramTest(expected_stdout=str(user)) for user in users.values()),
        total_wall_seconds=60,
    )
    with running(image, tmp_path, environment=LOCAL) as container:
        with httpx.Client(base_url=container.url(), trust_env=False, timeout=60) as client:
            wait_until("readiness", lambda: client.get("/readyz").status_code == 200)
            scored = ScoreResponse.model_validate(post(client, "/v1/score", score))
            executed = ExecuteResponse.model_validate(post(client, "/v1/execute", who))
        assert {result.item_id: result.reward for result in scored.results} == {"right": 1.0, "wrong": 0.0}
        verdicts = dict(zip(users, (test.verdict for test in executed.tests), strict=True))
        assert verdicts[executed.isolation_level] is Verdict.CORRECT, executed
        assert container.stop() == ExitCode.OK, container.text()


def post(client: httpx.Client, path: str, body: WireModel) -> Any:
    return client.post(path, json=body.model_dump(mode="json")).raise_for_status().json()
