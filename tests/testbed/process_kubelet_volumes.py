"""Folders for the volumes of a pod that runs as a process; those of ConfigMaps follow their object."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path

import httpx

from tests.testbed.process_kubelet_api import read
from tests.testbed.process_kubelet_pod import NotYetError, Object, volume_of


class Volumes:
    """Of one pod."""

    def __init__(self, api: httpx.AsyncClient, pod: Object, pod_folder: Path, claims: Path) -> None:
        """`claims` holds a folder for every PersistentVolumeClaim of the cluster, by namespace and name."""
        self._api = api
        self._pod = pod
        self._folder = pod_folder / "volumes"
        self._claims = claims
        self._namespace: str = pod["metadata"]["namespace"]
        self._versions: dict[str, str] = {}

    async def mount(self) -> dict[str, Path]:
        """Mount path to folder, for the pod's only container.

        Raises:
            NotYetError: An object is missing.
        """
        mounted = {}
        for mount in self._pod["spec"]["containers"][0].get("volumeMounts") or []:
            folder = self._place(volume_of(self._pod, mount["name"]))
            folder.mkdir(parents=True, exist_ok=True)
            mounted[mount["mountPath"]] = folder
        await self.refresh()
        return mounted

    async def refresh(self) -> None:
        """Bring the files of ConfigMaps up to date."""
        for volume in self._pod["spec"].get("volumes") or []:
            if "configMap" in volume:
                await self._project(volume["name"], volume["configMap"]["name"])

    async def secret(self, name: str, *, is_optional: bool = False) -> Mapping[str, str]:
        """A Secret's content, decoded; nothing of one that may be missing and is.

        Raises:
            NotYetError: There is none.
        """
        found = await read(self._api, f"/api/v1/namespaces/{self._namespace}/secrets/{name}")
        if found is None and not is_optional:
            raise NotYetError(f'secret "{name}" not found')
        return {key: base64.b64decode(text).decode() for key, text in ((found or {}).get("data") or {}).items()}

    def _place(self, volume: Object) -> Path:
        if "persistentVolumeClaim" in volume:
            return self._claims / self._namespace / str(volume["persistentVolumeClaim"]["claimName"])
        return self._folder / str(volume["name"])

    async def _project(self, volume: str, name: str) -> None:
        found = await read(self._api, f"/api/v1/namespaces/{self._namespace}/configmaps/{name}")
        if found is None:
            if volume in self._versions:
                return  # mounted files stay when their object goes
            raise NotYetError(f'configmap "{name}" not found')
        version = found["metadata"]["resourceVersion"]
        if self._versions.get(volume) == version:
            return
        folder = self._folder / volume
        folder.mkdir(parents=True, exist_ok=True)
        for key, text in (found.get("data") or {}).items():
            # Renamed into place, so that a reader sees the old file or the new one.
            beside = folder / f".{key}.new"
            beside.write_text(text, encoding="utf-8")
            os.replace(beside, folder / key)
        self._versions[volume] = version
