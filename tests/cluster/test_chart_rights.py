"""Who may do what once the chart is installed: the operator exactly what it does, people what their role says."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from kubernetes.client import (
    ApiException,
    AuthorizationV1Api,
    V1ResourceAttributes,
    V1SelfSubjectAccessReview,
    V1SelfSubjectAccessReviewSpec,
    V1SelfSubjectRulesReview,
    V1SelfSubjectRulesReviewSpec,
)

from prorl_api import API_VERSION
from prorl_operator.kube.client import Api as OperatorApi
from prorl_operator.kube.client import ApiError
from prorl_operator.kube.connection import connect
from prorl_operator.telemetry import Telemetry
from tests.cluster.helm import CHART, Helm
from tests.cluster.objects import make_pod
from tests.testbed.api import Api, Object
from tests.testbed.control_plane import ControlPlane, control_plane
from tests.testbed.ports import ReservedPort
from tests.testbed.waiting import wait_until

EVERYWHERE, SYSTEM = "everywhere", "system-a"
"""Namespace of the release that serves all namespaces, and of the one that serves `team-a` alone."""
CLUSTER_NAME, SCOPED_NAME = "one-prorl-operator", "two-prorl-operator"
Right = tuple[str, str, str]
"""Verb; resource with its group, as `kubectl` writes it; name, or empty for any."""


def rights(table: dict[str, str], name: str = "") -> set[Right]:
    """From `{"pods": "list watch"}`."""
    return {(verb, resource, name) for resource, verbs in table.items() for verb in verbs.split()}


PEOPLE_S = {"prorljobs.prorl.dev": "list watch", "prorlresets.prorl.dev": "list watch"}
"""What people make; in the namespace of an operator that serves others too, since kopf watches there."""
WATCHES = {
    **PEOPLE_S,
    "pods": "list watch",
    "configmaps": "list watch",
    "jobs.batch": "list watch",
    "deployments.apps": "list watch",
}
WRITES = {
    "prorljobs/status.prorl.dev": "patch",
    "prorlresets/status.prorl.dev": "patch",
    "prorljobs/finalizers.prorl.dev": "update",
    "prorljobs.prorl.dev": "delete",
    "persistentvolumeclaims": "get",
    "prorlresets.prorl.dev": "get create",
    "jobs.batch": "create delete",
    "deployments.apps": "create patch delete",
    "configmaps": "create patch delete",
    "services": "create patch delete",
    "secrets": "create patch delete",
    "networkpolicies.networking.k8s.io": "create patch delete",
    "poddisruptionbudgets.policy": "create patch delete",
    "podgroups.scheduling.x-k8s.io": "create patch list delete",
    "events.events.k8s.io": "create",
    "events": "list",
}
LEASE, LEASES = {"leases.coordination.k8s.io": "list watch"}, {"leases.coordination.k8s.io": "create"}
LEADS = {"leases.coordination.k8s.io": "get update"}
DEFINITIONS = {"customresourcedefinitions.apiextensions.k8s.io": "list watch"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Two releases: `one` serves all namespaces, `two` serves `team-a`."""
    folder = tmp_path_factory.mktemp("rights")
    with control_plane(folder / "cluster") as cluster:
        for namespace in (EVERYWHERE, SYSTEM, "team-a", "team-b"):
            cluster.create_namespace(namespace)
        helm = Helm(cluster.kubeconfig, folder / "helm")
        helm("install", "one", str(CHART), "--namespace", EVERYWHERE)
        only = ("--set", "watchNamespaces={team-a},crds.install=false,rbac.userRoles=false")
        helm("install", "two", str(CHART), "--namespace", SYSTEM, *only)
        yield cluster


def account(namespace: str, name: str) -> tuple[str, tuple[str, ...]]:
    """User and groups of a service account."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    return f"system:serviceaccount:{namespace}:{name}", groups


ONE, TWO = account(EVERYWHERE, CLUSTER_NAME), account(SYSTEM, SCOPED_NAME)


def rights_of(cluster: ControlPlane, who: tuple[str, tuple[str, ...]], namespace: str) -> set[Right]:
    """Everything RBAC gives an account in a namespace, beside what it gives any account."""
    stranger = account(namespace, "nobody")
    return _rules(cluster, who, namespace) - _rules(cluster, stranger, namespace)


def _rules(cluster: ControlPlane, who: tuple[str, tuple[str, ...]], namespace: str) -> set[Right]:
    review = V1SelfSubjectRulesReview(spec=V1SelfSubjectRulesReviewSpec(namespace=namespace))
    answer = AuthorizationV1Api(cluster.client_of(*who)).create_self_subject_rules_review(review)
    assert answer.status is not None
    return {
        (verb, f"{resource}.{group}" if group else resource, name)
        for rule in answer.status.resource_rules
        for verb in rule.verbs
        for resource in rule.resources or ()
        for group in rule.api_groups or ("",)
        for name in rule.resource_names or ("",)
    }


def may(cluster: ControlPlane, who: tuple[str, tuple[str, ...]], right: Right, namespace: str = "") -> bool:
    """Whether the API server lets an account; without a namespace: in all of them."""
    verb, resource, name = right
    kind, _, group = resource.partition(".")
    kind, _, subresource = kind.partition("/")
    attributes = V1ResourceAttributes(
        verb=verb, group=group, resource=kind, subresource=subresource, name=name, namespace=namespace
    )
    review = V1SelfSubjectAccessReview(spec=V1SelfSubjectAccessReviewSpec(resource_attributes=attributes))
    answer = AuthorizationV1Api(cluster.client_of(*who)).create_self_subject_access_review(review)
    assert answer.status is not None
    return bool(answer.status.allowed)


def is_forbidden(call: Callable[[], Any]) -> bool:
    """Whether the API server refuses, for want of a right and nothing else."""
    with pytest.raises(ApiException) as caught:
        call()
    return bool(caught.value.status == 403)


def secret(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"token": "x"}}


def reset(name: str) -> Object:
    """One that nobody has approved yet."""
    metadata, spec = {"name": name}, {"jobName": "demo", "approved": False}
    return {"apiVersion": API_VERSION, "kind": "ProRLReset", "metadata": metadata, "spec": spec}


def test_the_operator_of_all_namespaces_has_exactly_these_rights(installed: ControlPlane) -> None:
    everywhere = rights(WATCHES) | rights(WRITES) | rights(DEFINITIONS) | rights(LEASE, CLUSTER_NAME)
    assert rights_of(installed, ONE, "team-b") == everywhere
    own = everywhere | rights(LEASES) | rights(LEADS, CLUSTER_NAME)
    assert rights_of(installed, ONE, EVERYWHERE) == own


def test_the_operator_of_one_namespace_has_exactly_these_rights_there(installed: ControlPlane) -> None:
    expected = rights(WATCHES) | rights(WRITES) | rights(LEASE, SCOPED_NAME)
    assert rights_of(installed, TWO, "team-a") == expected


def test_the_operator_of_one_namespace_only_watches_and_leads_in_its_own(installed: ControlPlane) -> None:
    expected = rights(PEOPLE_S) | rights(LEASE, SCOPED_NAME) | rights(LEASES) | rights(LEADS, SCOPED_NAME)
    assert rights_of(installed, TWO, SYSTEM) == expected


@pytest.mark.parametrize("namespace", ["team-b", "kube-system", EVERYWHERE])
def test_the_operator_of_one_namespace_has_no_right_elsewhere(installed: ControlPlane, namespace: str) -> None:
    assert rights_of(installed, TWO, namespace) == set()


@pytest.mark.parametrize("resource", [*WATCHES, "namespaces", *DEFINITIONS])
def test_the_operator_of_one_namespace_has_no_right_over_the_cluster(installed: ControlPlane, resource: str) -> None:
    assert not may(installed, TWO, ("list", resource, ""))
    assert not may(installed, TWO, ("watch", resource, ""))


@pytest.mark.parametrize(
    "right",
    [
        ("get", "secrets", ""),
        ("list", "secrets", ""),
        ("delete", "pods", ""),
        ("create", "pods/exec", ""),
        ("patch", "prorljobs.prorl.dev", ""),
        ("patch", "prorlresets.prorl.dev", ""),
        ("update", "leases.coordination.k8s.io", CLUSTER_NAME),
        ("create", "clusterroles.rbac.authorization.k8s.io", ""),
        ("list", "namespaces", ""),
        ("list", "nodes", ""),
    ],
    ids=lambda right: " ".join(right).strip(),
)
def test_not_even_the_operator_of_all_namespaces_may(installed: ControlPlane, right: Right) -> None:
    assert not may(installed, ONE, right, "team-b")


def test_the_operator_applies_a_secret_that_it_can_neither_read_nor_list(installed: ControlPlane) -> None:
    body = {**secret("demo-tokens"), "metadata": {"name": "demo-tokens", "namespace": "team-b"}}

    async def write_and_try_to_read() -> None:
        async with connect(installed.client_of(*ONE)) as connection:
            operator = OperatorApi(connection, Telemetry())
            for _ in range(2):  # create, then change
                await operator.apply(body)
            with pytest.raises(ApiError, match="the operator's role lacks verb `get` on secrets"):
                await operator.get("v1", "Secret", "team-b", "demo-tokens")
            with pytest.raises(ApiError, match="the operator's role lacks verb `list` on secrets"):
                await operator.list("v1", "Secret", "team-b")
            await operator.delete("v1", "Secret", "team-b", "demo-tokens")

    asyncio.run(write_and_try_to_read())


def test_the_operator_writes_a_reset_s_status_and_not_its_spec(installed: ControlPlane) -> None:
    installed.api().create(reset("waiting"), "team-b")

    async def write() -> None:
        async with connect(installed.client_of(*ONE)) as connection:
            operator = OperatorApi(connection, Telemetry())
            await operator.write_status("ProRLReset", "team-b", "waiting", {"appliedStep": 3})
            with pytest.raises(ApiError, match="the operator's role lacks verb `patch` on prorlresets"):
                await operator.patch(API_VERSION, "ProRLReset", "team-b", "waiting", {"spec": {"approved": True}})

    asyncio.run(write())
    stored = installed.api().get(API_VERSION, "ProRLReset", "waiting", "team-b")
    assert (stored["status"]["appliedStep"], stored["spec"]["approved"]) == (3, False)


def test_the_operator_sees_its_lease_in_the_watch_of_all_namespaces_and_no_other_lease(installed: ControlPlane) -> None:
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": CLUSTER_NAME}}
    operator = installed.api_of(*ONE)
    operator.create(lease, EVERYWHERE)
    found = operator.list("coordination.k8s.io/v1", "Lease", fieldSelector=f"metadata.name={CLUSTER_NAME}")
    assert [item["metadata"]["namespace"] for item in found] == [EVERYWHERE]
    assert is_forbidden(lambda: operator.list("coordination.k8s.io/v1", "Lease"))


def test_the_operator_of_one_namespace_creates_there_and_is_refused_next_door(installed: ControlPlane) -> None:
    operator = installed.api_of(*TWO)
    operator.apply(secret("demo-tokens"), "prorl-operator", "team-a")
    assert operator.list(API_VERSION, "ProRLJob", "team-a") == []
    assert is_forbidden(lambda: operator.apply(secret("demo-tokens"), "prorl-operator", "team-b"))
    assert is_forbidden(lambda: operator.list(API_VERSION, "ProRLJob", "team-b"))
    assert is_forbidden(lambda: operator.list(API_VERSION, "ProRLJob"))
    assert is_forbidden(lambda: operator.create(make_pod("web"), "team-a"))


def person(cluster: ControlPlane, name: str, role: str) -> Api:
    """Somebody with one of the cluster's own roles in team-b, once the roles are put together."""
    metadata = {"name": name, "namespace": "team-b"}
    group = "rbac.authorization.k8s.io"
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": name}],
    }
    cluster.api().create(binding, "team-b")
    who = (name, ("system:authenticated",))
    wait_until(f"{name} to see jobs", lambda: may(cluster, who, ("list", "prorljobs.prorl.dev", ""), "team-b"))
    return cluster.api_of(*who)


def test_who_has_the_cluster_s_view_role_sees_jobs_and_resets_and_changes_none(installed: ControlPlane) -> None:
    viewer = person(installed, "viewer", "view")
    installed.api().create(reset("seen"), "team-b")
    assert viewer.get(API_VERSION, "ProRLReset", "seen", "team-b")["spec"]["jobName"] == "demo"
    assert is_forbidden(lambda: viewer.create(reset("mine"), "team-b"))
    assert is_forbidden(lambda: viewer.patch(API_VERSION, "ProRLReset", "seen", {"spec": {"vetoed": True}}, "team-b"))
    assert is_forbidden(lambda: viewer.list(API_VERSION, "ProRLReset", "team-a"))


@pytest.mark.parametrize("role", ["edit", "admin"])
def test_who_may_edit_resets_and_vetoes_but_does_not_speak_for_the_operator(installed: ControlPlane, role: str) -> None:
    who = (f"{role}or", ("system:authenticated",))
    editor = person(installed, who[0], role)
    editor.create(reset(f"by-{role}"), "team-b")
    editor.patch(API_VERSION, "ProRLReset", f"by-{role}", {"spec": {"vetoed": True}}, "team-b")
    assert may(installed, who, ("patch", "prorljobs/scale.prorl.dev", ""), "team-b")
    for status in ("prorljobs/status.prorl.dev", "prorlresets/status.prorl.dev"):
        assert not may(installed, who, ("patch", status, ""), "team-b")
        assert not may(installed, who, ("update", status, ""), "team-b")


@pytest.mark.parametrize(
    ("who", "namespace", "lease", "served"),
    [
        pytest.param(ONE, EVERYWHERE, CLUSTER_NAME, "", id="all-namespaces"),
        pytest.param(TWO, SYSTEM, SCOPED_NAME, "team-a", id="one"),
    ],
)
def test_a_real_operator_becomes_ready_with_these_rights_and_is_refused_nothing(
    installed: ControlPlane, tmp_path: Path, who: tuple[str, tuple[str, ...]], namespace: str, lease: str, served: str
) -> None:
    reserved = ReservedPort()
    port = reserved.number
    reserved.release()  # the operator's server does not share a port
    (tmp_path / "key").write_text("k" * 64)
    environment = {
        **os.environ,
        "KUBECONFIG": str(installed.kubeconfig_of(*who)),
        "PRORL_OPERATOR_NAMESPACE": namespace,
        "PRORL_OPERATOR_LEASE": lease,
        "PRORL_OPERATOR_KEY_FILE": str(tmp_path / "key"),
        "PRORL_OPERATOR_HTTP_ADDRESS": f"127.0.0.1:{port}",
        "PRORL_WATCH_NAMESPACES": served,
        **{f"PRORL_IMAGE_{role}": "example.invalid/image:1" for role in ("LEARNER", "ROLLOUT", "SANDBOX")},
    }
    log = tmp_path / "log"
    with log.open("w") as output:
        operator = subprocess.Popen([sys.executable, "-m", "prorl_operator"], env=environment, stderr=output)

    def is_ready_or_refused() -> bool:
        if operator.poll() is not None:
            raise RuntimeError(f"the operator ended: {log.read_text()}")
        answer = httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False)
        return answer.status_code == 200 or "forbidden" in log.read_text()

    try:
        wait_until("the operator to be ready", is_ready_or_refused, passing=(httpx.TransportError,))
        assert "forbidden" not in log.read_text()
    finally:
        operator.kill()
        operator.wait()
