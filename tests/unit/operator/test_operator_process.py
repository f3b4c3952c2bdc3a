"""The operator as a process, before it has seen anything."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import yaml
from aiohttp import web
from http_server import serving

from prorl_api.process.listen import address_of, bind

DISCOVERY = {"/version": "Info", "/api": "APIVersions", "/apis": "APIGroupList", "/api/v1": "APIResourceList"}


async def refuse_all_but_discovery(request: web.Request) -> web.StreamResponse:
    if request.path in DISCOVERY:
        empty = {"kind": DISCOVERY[request.path], "gitVersion": "v1", "versions": [], "groups": [], "resources": []}
        return web.json_response(empty)
    return web.json_response({"message": f"{request.path} is forbidden"}, status=403)


def environment(folder: Path, url: str, probes: str) -> dict[str, str]:
    cluster = {"name": "c", "cluster": {"server": url}}
    context = {"name": "c", "context": {"cluster": "c", "user": "c"}}
    user = {"name": "c", "user": {"token": "secret"}}
    kubeconfig = {"clusters": [cluster], "contexts": [context], "users": [user], "current-context": "c"}
    (folder / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    (folder / "key").write_text("0" * 64)
    return {
        **os.environ,
        "KUBECONFIG": str(folder / "kubeconfig"),
        "PRORL_OPERATOR_NAMESPACE": "prorl",
        "PRORL_OPERATOR_LEASE": "operator",
        "PRORL_OPERATOR_IDENTITY": "one",
        "PRORL_OPERATOR_KEY_FILE": str(folder / "key"),
        "PRORL_OPERATOR_HTTP_ADDRESS": probes,
        "PRORL_IMAGE_LEARNER": "learner",
        "PRORL_IMAGE_ROLLOUT": "rollout",
        "PRORL_IMAGE_SANDBOX": "sandbox",
    }


async def test_one_that_may_not_list_says_so_and_ends_when_told(tmp_path: Path) -> None:
    with bind("127.0.0.1", 0) as listening:
        probes = address_of(listening)
    async with serving(refuse_all_but_discovery) as url:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "prorl_operator",
            env=environment(tmp_path, url, probes),
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        said = ""
        async with asyncio.timeout(60):
            while "cannot be watched" not in said:
                said += (await process.stderr.readline()).decode()
            process.send_signal(signal.SIGTERM)
            await process.stderr.read()
            assert await process.wait() == 0
    assert "the operator's role lacks verb `list`" in said
