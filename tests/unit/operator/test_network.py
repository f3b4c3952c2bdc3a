"""Who may talk to whom, by the policies' own rules."""

from __future__ import annotations

from typing import Any

import pytest
from manifest_builders import find, make_context, templates

from prorl_operator.manifests import JobContext, base_objects
from prorl_operator.manifests.context import Dns

API = ("TCP", 8000)
ROLES = ("learner", "rollout", "sandbox")


def policy(context: JobContext, role: str) -> dict[str, Any]:
    """Of a role; rules that are not there are none."""
    return {"egress": [], **find(base_objects(context, 1), "NetworkPolicy", f"demo-{role}")["spec"]}


def labels(context: JobContext, role: str, index: int = 0) -> dict[str, str]:
    found = dict(templates(context)[role]["metadata"]["labels"])
    return found | ({"batch.kubernetes.io/job-completion-index": str(index)} if role == "learner" else {})


def admits(rules: list[dict[str, Any]], side: str, peer: dict[str, str], port: tuple[str, int]) -> bool:
    """Whether a pod of the same namespace may be spoken to, or speak, on a port."""
    for rule in rules:
        ports = [(item["protocol"], item["port"]) for item in rule.get("ports", [])]
        for other in rule.get(side, []):
            selector = other.get("podSelector", {}).get("matchLabels")
            named = selector is not None and "namespaceSelector" not in other
            if named and selector.items() <= peer.items() and (port in ports or not ports):
                return True
    return False


def reaches(context: JobContext, caller: str, callee: str, port: tuple[str, int] = API) -> bool:
    leaves = admits(policy(context, caller)["egress"], "to", labels(context, callee), port)
    enters = admits(policy(context, callee)["ingress"], "from", labels(context, caller), port)
    return leaves and enters


def test_components_reach_each_other_in_the_wanted_directions_only() -> None:
    context = make_context()
    reached = {(caller, callee) for caller in ROLES for callee in ROLES if reaches(context, caller, callee)}
    assert reached == {
        ("learner", "learner"),
        ("learner", "rollout"),
        ("learner", "sandbox"),
        ("rollout", "learner"),
    }


def test_only_ranks_reach_each_other_on_any_port() -> None:
    context, port = make_context(), ("TCP", 41234)
    reached = {(caller, callee) for caller in ROLES for callee in ROLES if reaches(context, caller, callee, port)}
    assert reached == {("learner", "learner")}


def test_rollout_servers_reach_rank_0_alone() -> None:
    context = make_context({"spec.learner.replicas": 2})
    egress = policy(context, "rollout")["egress"]
    assert [admits(egress, "to", labels(context, "learner", index), API) for index in (0, 1)] == [True, False]


def test_a_sandbox_has_no_way_out() -> None:
    spec = policy(make_context(), "sandbox")
    assert spec["egress"] == []
    assert "Egress" in spec["policyTypes"]


@pytest.mark.parametrize("role", ROLES)
def test_a_policy_holds_for_the_pods_of_its_role_in_both_directions(role: str) -> None:
    context = make_context()
    spec = policy(context, role)
    selector = spec["podSelector"]["matchLabels"]
    assert [other for other in ROLES if selector.items() <= labels(context, other).items()] == [role]
    assert spec["policyTypes"] == ["Ingress", "Egress"]


def test_another_jobs_pods_reach_nobody() -> None:
    context, other = make_context(), make_context({"metadata.name": "other"})
    for callee in ROLES:
        ingress = policy(context, callee)["ingress"]
        assert not any(admits(ingress, "from", labels(other, caller), API) for caller in ROLES)


def test_the_operator_reaches_the_learner_alone() -> None:
    context = make_context(operator_namespace="ops", operator_labels={"app": "op"})
    peer = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ops"}},
        "podSelector": {"matchLabels": {"app": "op"}},
    }
    admitting = [role for role in ROLES if any(peer in rule["from"] for rule in policy(context, role)["ingress"])]
    assert admitting == ["learner"]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("namespace", "admitted"), [("", []), ("monitoring", ["monitoring"])])
def test_metrics_are_scraped_from_where_the_installation_says_and_else_by_nobody(
    role: str, namespace: str, admitted: list[str]
) -> None:
    ingress = policy(make_context(monitoring_namespace=namespace), role)["ingress"]
    peers = [peer for rule in ingress for peer in rule["from"] if "podSelector" not in peer]
    assert peers == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}} for name in admitted]


@pytest.mark.parametrize("role", ROLES)
def test_no_rule_admits_pods_of_any_namespace_or_anybody(role: str) -> None:
    for namespace in ("", "monitoring"):
        spec = policy(make_context(monitoring_namespace=namespace), role)
        for side, rules in (("from", spec["ingress"]), ("to", spec["egress"])):
            for rule in rules:
                assert rule.get(side), f"a rule without `{side}` is for everybody"
                assert not any(peer.get("namespaceSelector", {"": ""}) == {} for peer in rule[side])
                assert not any(peer.get("podSelector", {"": ""}) == {} for peer in rule[side])


def test_learner_and_rollout_servers_ask_the_cluster_s_own_servers_for_names() -> None:
    peers: tuple[dict[str, Any], ...] = ({"ipBlock": {"cidr": "10.0.0.10/32"}},)
    context = make_context(dns=Dns(peers=peers, ports=(5353,)))
    ports = [{"protocol": "UDP", "port": 5353}, {"protocol": "TCP", "port": 5353}]
    rule = {"to": list(peers), "ports": ports}
    assert [role for role in ROLES if rule in policy(context, role)["egress"]] == ["learner", "rollout"]


@pytest.mark.parametrize("role", ROLES)
def test_nobody_else_is_asked_on_the_port_of_names(role: str) -> None:
    for rule in policy(make_context(), role)["egress"]:
        if ("UDP", 53) in [(item["protocol"], item["port"]) for item in rule.get("ports", [])]:
            assert rule["to"] == [dict(peer) for peer in Dns().peers]


@pytest.mark.parametrize(("model", "opened"), [("/models/base", []), ("owner/model-1.5b", ["learner"])])
def test_the_hub_is_open_to_the_learner_when_the_model_comes_from_there(model: str, opened: list[str]) -> None:
    context = make_context({"spec.model.path": model})
    blocks = {
        role: [
            peer["ipBlock"]
            for rule in policy(context, role)["egress"]
            for peer in rule.get("to", [])
            if "ipBlock" in peer and {"protocol": "TCP", "port": 443} in rule["ports"]
        ]
        for role in ROLES
    }
    assert [role for role in ROLES if blocks[role]] == opened
    assert all(
        "169.254.0.0/16" in block["except"] or block["cidr"] == "::/0" for role in ROLES for block in blocks[role]
    )
