"""How the operator and `prorl resets replay` get at a real Prometheus that does not serve everybody.

TLS and passwords are Prometheus' own (`--web.config.file`). Tokens and tenants are asked for by what stands before it
in a cluster, such as kube-rbac-proxy or Mimir's gateway: here a proxy of a few lines.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, start_http_server
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "unit/operator"))
from http_server import serving

from prorl_cli.main import app
from prorl_control.signals.reading import SignalReason
from tests.conformance.polled import LABELS, MANIFEST, polled, until
from tests.testbed.certificates import Authority
from tests.testbed.prometheus import Access, Prometheus, prometheus

R = SignalReason
USER, PASSWORD = "prorl", "test"
HASH = "$2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay"
"""Of that password, as Prometheus' guide to basic auth has it."""
TOKEN, TENANT = "the-token", "research"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """A Prometheus that asks for a password over TLS, and holds a learner's samples."""

    server: Prometheus
    ca: str
    """PEM of who signed its certificate."""
    other_ca: str
    trust: ssl.SSLContext


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    authority, other = Authority(folder / "ca", "ours"), Authority(folder / "other", "theirs")
    pair = authority.issue("prometheus", user="prometheus", hosts=["127.0.0.1"])
    trust = ssl.create_default_context(cafile=str(authority.files.certificate))
    tls = {"cert_file": str(pair.certificate), "key_file": str(pair.key)}
    access = Access(
        config={"tls_server_config": tls, "basic_auth_users": {USER: HASH}}, trust=trust, user=(USER, PASSWORD)
    )
    registry = CollectorRegistry()
    for name, value in (("step", 7), ("attempt", 1), ("kl_nats", 0.25)):
        Gauge(f"prorl_learner_{name}", "As a learner has it.", registry=registry).set(value)
    exporter, thread = start_http_server(0, "127.0.0.1", registry)
    target = f"127.0.0.1:{exporter.server_port}"
    scrape = {
        "job_name": "learners",
        "scrape_interval": "1s",
        "static_configs": [{"targets": [target], "labels": LABELS}],
    }
    with prometheus(folder / "server", [scrape], access=access) as server:
        yield Guarded(
            server=server,
            ca=authority.files.certificate.read_text(),
            other_ca=other.files.certificate.read_text(),
            trust=trust,
        )
    exporter.shutdown()
    exporter.server_close()
    thread.join()


def mounted(folder: Path, files: Mapping[str, str]) -> Path:
    """A folder of credentials, as the chart mounts it."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


@asynccontextmanager
async def gateway(guarded: Guarded) -> AsyncIterator[str]:
    """What stands before a Prometheus and asks for a token and a tenant; its address."""
    known = {"Authorization": aiohttp.encode_basic_auth(USER, PASSWORD)}

    async def passed_on(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.Response(status=403, text="Unauthorized")
        if request.headers.get("X-Scope-OrgID") != TENANT:
            return web.Response(status=401, text="no org id")
        where, form = guarded.server.url + request.path, await request.post()
        async with http.post(where, data=form, headers=known, ssl=guarded.trust) as answer:
            return web.Response(status=answer.status, body=await answer.read(), content_type="application/json")

    async with aiohttp.ClientSession() as http, serving(passed_on) as url:
        yield url


async def test_password_and_authority_are_read_from_the_mounted_folder(guarded: Guarded, tmp_path: Path) -> None:
    folder = mounted(tmp_path, {"username": USER, "password": PASSWORD, "ca.crt": guarded.ca})
    async with polled(guarded.server.url, folder) as read:
        found = await until(read, None)
    assert [(line["step"], line["kl"]) for line in found.lines] == [(7, 0.25)]


@pytest.mark.parametrize(
    ("files", "reason", "words"),
    [
        ({"password": "another"}, R.UNAUTHORIZED, "it answers 401: check the token or password"),
        ({"username": "nobody"}, R.UNAUTHORIZED, "it answers 401"),
        ({"username": "", "password": ""}, R.UNAUTHORIZED, "username is empty"),
        ({"password": None}, R.UNAUTHORIZED, "the credentials mounted for main cannot be used"),
        ({"username": None, "password": None}, R.UNAUTHORIZED, "it answers 401"),
        ({"token": TOKEN}, R.UNAUTHORIZED, "it answers 401"),
        ({"ca.crt": None}, R.UNREACHABLE, "certificate"),
        ({"ca.crt": "theirs"}, R.UNREACHABLE, "certificate"),
        ({"ca.crt": "no certificate"}, R.UNAUTHORIZED, "the credentials mounted for main cannot be used"),
    ],
)
async def test_without_the_right_ones_the_reason_says_what_to_look_at(
    guarded: Guarded, tmp_path: Path, files: dict[str, str | None], reason: SignalReason, words: str
) -> None:
    given = {"username": USER, "password": PASSWORD, "ca.crt": guarded.ca, **files}
    if given["ca.crt"] == "theirs":
        given["ca.crt"] = guarded.other_ca
    folder = mounted(tmp_path, {name: text for name, text in given.items() if text is not None})
    async with polled(guarded.server.url, folder) as read:
        found = await until(read, reason)
    assert found.lines == []
    assert found.fault is not None
    assert found.fault.message.startswith("Prometheus main: ")
    assert words in found.fault.message
    assert "another" not in found.fault.message


async def test_an_address_without_tls_is_refused_in_its_own_words(guarded: Guarded, tmp_path: Path) -> None:
    async with polled(guarded.server.url.replace("https", "http"), tmp_path) as read:
        found = await until(read, R.REFUSED)
    assert found.fault is not None
    assert "it answers 400" in found.fault.message


async def test_token_and_tenant_open_a_gateway_and_a_token_that_changes_holds_at_once(
    guarded: Guarded, tmp_path: Path
) -> None:
    folder = mounted(tmp_path, {"token": "an old one"})
    tenant = {"name": "X-Scope-OrgID", "value": TENANT}
    async with gateway(guarded) as url, polled(url, folder, [tenant]) as read:
        found = await until(read, R.UNAUTHORIZED)
        assert found.fault is not None
        assert "it answers 403" in found.fault.message
        mounted(folder, {"token": f"{TOKEN}\n"})
        assert (await until(read, None)).lines
    async with gateway(guarded) as url, polled(url, folder) as read:
        found = await until(read, R.UNAUTHORIZED)
        assert found.fault is not None
        assert "it answers 401" in found.fault.message


async def test_a_tenant_may_be_a_secret(guarded: Guarded, tmp_path: Path) -> None:
    folder = mounted(tmp_path, {"token": TOKEN, "header-0": TENANT})
    async with (
        gateway(guarded) as url,
        polled(url, folder, [{"name": "X-Scope-OrgID", "file": "header-0"}]) as read,
    ):
        assert (await until(read, None)).lines


async def test_a_replay_gets_at_them_in_the_same_way(guarded: Guarded, tmp_path: Path) -> None:
    folder = mounted(tmp_path / "c", {"username": USER, "password": PASSWORD, "ca.crt": guarded.ca})
    async with polled(guarded.server.url, folder) as read:
        await until(read, None)
    manifest = tmp_path / "job.yaml"
    manifest.write_text(MANIFEST, encoding="utf-8")
    begun = str(time.time() - 600)
    words = ["resets", "replay", str(manifest), "--job", "a/demo", "--from", begun]

    def replayed(url: str, *more: str) -> tuple[int, str]:
        found = CliRunner().invoke(app, [*words, "--prometheus", url, *more])
        return found.exit_code, found.output

    code, said = await asyncio.to_thread(replayed, guarded.server.url, "--credentials", str(folder))
    assert (code, "step 7  high: kl was above 0.2 at step 7, 0.25 at the last" in said) == (0, True), said
    code, said = await asyncio.to_thread(replayed, guarded.server.url)
    assert code != 0
    assert "certificate" in said
    token = mounted(tmp_path / "t", {"token": TOKEN})
    async with gateway(guarded) as url:
        told = ("--credentials", str(token), "--header", f"X-Scope-OrgID: {TENANT}")
        code, said = await asyncio.to_thread(replayed, url, *told)
        assert (code, "1 reset(s) over steps 7-7" in said) == (0, True), said
        code, said = await asyncio.to_thread(replayed, url, *told[:2])
        assert code != 0
        assert "it answers 401" in said
