"""Our definitions in a real API server, and manifests put through it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from kubernetes.client import ApiClient, ApiException, ApiextensionsV1Api, CustomObjectsApi

from prorl_api import API_GROUP, API_VERSION
from prorl_api.crd import DEFINITIONS
from tests.testbed.waiting import wait_until

VERSION = API_VERSION.rpartition("/")[2]
ROOT = Path(__file__).parents[2]
FILES = ROOT / "charts/prorl-operator/files/crds"
GOOD_FILES = (
    ROOT / "tests/unit/api/data/full.yaml",
    *sorted(ROOT.glob("examples/*.yaml")),
    *sorted(set(ROOT.glob("examples/cluster/*.yaml")) - set(ROOT.glob("examples/cluster/*volumes.yaml"))),
    *sorted(ROOT.glob("examples/recipes/*.yaml")),
)
"""Manifests that must pass."""


@dataclass(frozen=True)
class Refusal:
    """Why the API server did not take an object."""

    code: int
    message: str
    fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class Definitions:
    """The installed definitions."""

    client: ApiClient
    warnings: dict[str, str] = field(default_factory=dict)
    """What the server said when it took each of them, if anything."""

    @property
    def objects(self) -> CustomObjectsApi:
        """The library's API for objects of any kind."""
        return CustomObjectsApi(self.client)

    def create(self, plural: str, namespace: str, body: Any, *, keep: bool = True) -> dict[str, Any]:
        """The object as stored, unknown fields refused. `keep=False`: judged and given back, not stored."""
        options: dict[str, Any] = {} if keep else {"dry_run": "All"}
        return _as_dict(
            self.objects.create_namespaced_custom_object(
                API_GROUP, VERSION, namespace, plural, body, field_validation="Strict", **options
            )
        )

    def replace(self, plural: str, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        """The object after an edit, unknown fields refused."""
        name = body["metadata"]["name"]
        return _as_dict(
            self.objects.replace_namespaced_custom_object(
                API_GROUP, VERSION, namespace, plural, name, body, field_validation="Strict"
            )
        )

    def replace_status(self, plural: str, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        """The object after its status was written, unknown fields refused."""
        name = body["metadata"]["name"]
        return _as_dict(
            self.objects.replace_namespaced_custom_object_status(
                API_GROUP, VERSION, namespace, plural, name, body, field_validation="Strict"
            )
        )

    def read(self, plural: str, namespace: str, name: str) -> dict[str, Any]:
        """The object as stored."""
        return _as_dict(self.objects.get_namespaced_custom_object(API_GROUP, VERSION, namespace, plural, name))

    def scale(self, plural: str, namespace: str, name: str) -> dict[str, Any]:
        """Its scale subresource."""
        where = (API_GROUP, VERSION, namespace, plural, name)
        return _as_dict(self.objects.get_namespaced_custom_object_scale(*where))

    def set_scale(self, plural: str, namespace: str, name: str, replicas: int) -> None:
        """Scale it, as an autoscaler does."""
        where = (API_GROUP, VERSION, namespace, plural, name)
        self.objects.patch_namespaced_custom_object_scale(*where, {"spec": {"replicas": replicas}})

    def names(self, plural: str, namespace: str, *, field_selector: str) -> list[str]:
        """Names of the objects that the selector chooses."""
        found = _as_dict(
            self.objects.list_namespaced_custom_object(
                API_GROUP, VERSION, namespace, plural, field_selector=field_selector
            )
        )
        return [item["metadata"]["name"] for item in found["items"]]

    def refusal(self, plural: str, namespace: str, body: Any) -> Refusal | None:
        """Why it would not be created; None if it would."""
        try:
            self.create(plural, namespace, body, keep=False)
        except ApiException as error:
            return refusal(error)
        return None

    def table(self, plural: str, namespace: str) -> list[dict[str, Any]]:
        """What `kubectl get -o wide` shows, a row an object."""
        path = f"/apis/{API_GROUP}/{VERSION}/namespaces/{namespace}/{plural}"
        accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
        response = self.client.call_api("GET", f"{self.client.configuration.host}{path}", header_params=accept)
        answer = json.loads(response.response.data)
        names = [column["name"] for column in answer["columnDefinitions"]]
        return [dict(zip(names, row["cells"], strict=True)) for row in answer["rows"]]


def _as_dict(found: Any) -> dict[str, Any]:
    """What the library gives back for objects of any kind, of which its types say nothing."""
    assert isinstance(found, dict)
    return found


def install(client: ApiClient) -> Definitions:
    """Apply the chart's definitions and wait until their kinds are served. Any number of times."""
    extensions, warnings = ApiextensionsV1Api(client), {}
    for plural in DEFINITIONS:
        name = f"{plural}.{API_GROUP}"
        body = yaml.safe_load((FILES / f"{plural}.yaml").read_text(encoding="utf-8"))
        _, _, headers = extensions.patch_custom_resource_definition_with_http_info(
            name, body, field_manager="tests", force=True, field_validation="Strict",
            _content_type="application/apply-patch+yaml",
        )  # fmt: skip
        if "Warning" in headers:
            warnings[plural] = headers["Warning"]
        _wait_until_served(client, plural)
    return Definitions(client, warnings)


def _wait_until_served(client: ApiClient, plural: str) -> None:
    """Wait until objects are listed: an established kind is refused (429) while its storage is being set up."""
    extensions, objects, name = ApiextensionsV1Api(client), CustomObjectsApi(client), f"{plural}.{API_GROUP}"
    wait_until(f"{name} is established", lambda: conditions(extensions, name).get("Established") == "True")
    wait_until(
        f"{name} is served",
        lambda: objects.list_cluster_custom_object(API_GROUP, VERSION, plural, resource_version="0"),
        passing=(ApiException,),
    )


def conditions(extensions: ApiextensionsV1Api, name: str) -> dict[str, str]:
    """Conditions of a definition."""
    status = extensions.read_custom_resource_definition(name).status
    return {condition.type: condition.status for condition in (status.conditions or [] if status else [])}


def refusal(error: ApiException) -> Refusal:
    """What the API server said; other failures are raised again."""
    if error.status not in (400, 409, 422):
        raise error
    status = json.loads(error.body or "")
    causes = status.get("details", {}).get("causes", [])
    return Refusal(error.status, status["message"], tuple(cause.get("field", "") for cause in causes))
