"""What a real Prometheus saw of a run, asked by every query of dashboards and alerts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from prorl_api.metrics import STEP_PARTS
from prorl_observability.boards import BOARDS
from prorl_observability.panels import Needs, Query
from tests.integration.observability.queries import cluster_groups, with_variables
from tests.integration.observability.watched_run import (
    JOB,
    NAMESPACE,
    OPERATOR_NAMESPACE,
    OTHER_RUN,
    RUN_UID,
    SERVICE,
    STANDS_OUT,
    STEPS,
    Watched,
    watched,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

NOT_HERE = {
    Needs.DCGM: "no GPU, so no DCGM exporter",
    Needs.ENDED: "no worker of a sandbox was ended",
    Needs.COMPILED: "no program in a language that is compiled",
}
"""What this run cannot have, and why."""
QUERIES = [(where, query) for board in BOARDS.values() for where, query in board.queries()]
RULES = [rule for group in cluster_groups(SERVICE, OPERATOR_NAMESPACE) for rule in group["rules"]]
GPU_RULES = {"prorl:gpus:count"}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watched(tmp_path_factory.mktemp("watched")) as found:
        yield found


def test_the_run_went_to_its_end(seen: Watched) -> None:
    assert [line["step"] for line in seen.lines] == list(range(STEPS + 1))
    assert seen.lines[-1]["resets_total"] == 1


def test_the_parts_of_a_step_are_all_that_the_learner_times(seen: Watched) -> None:
    timed = {name for line in seen.lines for name in line if name.startswith("seconds_")}
    assert timed - {"seconds_total", "seconds_scoring"} == set(STEP_PARTS), "what a panel stacks up to a step"


@pytest.mark.parametrize(("where", "query"), QUERIES, ids=[where for where, _ in QUERIES])
def test_every_query_of_a_dashboard_has_data_or_a_reason_why_not(seen: Watched, where: str, query: Query) -> None:
    series = seen.series(with_variables(query.expr, seen.variables))
    assert bool(series) is (query.needs not in NOT_HERE), f"{where}: {len(series)} series"
    for found in series:
        labels = set(re.findall(r"\{\{(\w+)\}\}", query.legend))
        assert labels <= set(found["metric"]), f"{where}: its legend names a label that is not there"


@pytest.mark.parametrize("rule", RULES, ids=[rule.get("alert") or rule["record"] for rule in RULES])
def test_every_rule_runs_and_what_it_asks_for_was_scraped(seen: Watched, rule: dict[str, Any]) -> None:
    seen.series(rule["expr"])
    if rule.get("record") in GPU_RULES:
        return
    assert "record" not in rule or seen.series(rule["record"]), "recorded"
    for name in set(re.findall(r"\bprorl_(?:learner|operator|sandbox|rollout)_\w+", rule["expr"])):
        assert seen.series(name), f"no series of {name}"


def test_prometheus_evaluates_every_rule_without_an_error(seen: Watched) -> None:
    groups = seen.prometheus.get("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == len(RULES)
    assert [rule["name"] for rule in rules if rule["health"] == "err"] == []


def test_every_series_of_a_job_has_the_labels_of_its_pod_and_none_that_it_gave_itself(seen: Watched) -> None:
    found = seen.prometheus.get("series", **{"match[]": '{__name__=~"prorl_(learner|rollout|sandbox)_.+"}'})
    assert {series["prorl_role"] for series in found} == {"learner", "rollout", "sandbox"}
    for series in found:
        assert (series["prorl_job"], series["namespace"]) == (JOB, NAMESPACE)
        assert series["prorl_run"] in (RUN_UID, OTHER_RUN)
        assert series["pod"].startswith(f"{JOB}-")
        assert not any(name.startswith("exported_") for name in series), series


def test_only_the_first_pod_of_a_learner_is_a_target(seen: Watched) -> None:
    pods = {series["metric"]["pod"] for series in seen.series('up{prorl_role="learner"}')}
    assert pods == {f"{JOB}-learner-1-0", f"{JOB}-learner-of-another"}


def test_a_second_run_under_the_same_name_does_not_mix_in(seen: Watched) -> None:
    both = {series["metric"]["prorl_run"] for series in seen.series("prorl_learner_reward_mean")}
    assert both == {RUN_UID, OTHER_RUN}
    for where, query in BOARDS["prorl-run"].queries():
        for series in seen.series(with_variables(query.expr, seen.variables)):
            assert STANDS_OUT not in {float(value) for _, value in series["values"]}, where


def test_the_reset_is_marked_where_it_was_applied(seen: Watched) -> None:
    [mark] = BOARDS["prorl-run"].marks
    [series] = seen.series(with_variables(mark.expr, seen.variables))
    applied = next(line["time"] for line in seen.lines if line["resets_total"] == 1)
    assert abs(float(series["values"][0][0]) - applied) < 30.0, "within some scrapes of the step after it"
