"""The rules that cross fields: each is broken once, by name, and says what is wanted."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from api_builders import faults_of, make_job, make_manifest, make_source, make_stage
from bad_manifests import BROKEN_RULES, ONE_MACHINE_ROWS, Bad, Tier

import prorl_api.spec
from prorl_api.errors import SpecError
from prorl_api.manifest import validate_job
from prorl_api.spec.base import BrokenRules, Cel, SpecModel, rules_of
from prorl_api.spec.job import ProRLJob
from prorl_api.spec.merge import on_one_machine
from prorl_api.spec.resets import DEFAULT_TRIGGERS


def spec_models(base: type[SpecModel] = SpecModel) -> Iterator[type[SpecModel]]:
    for module in pkgutil.iter_modules(prorl_api.spec.__path__, "prorl_api.spec."):
        importlib.import_module(module.name)
    for model in base.__subclasses__():
        if model.__module__ == "prorl_api.reset_manifest":  # of another object than the job
            continue
        if not model.model_config.get("defer_build"):  # else it is a part of one
            yield model
        yield from spec_models(model)


def all_rules() -> dict[str, tuple[Cel, ...]]:
    return {f"{model.__name__}.{name}": cel for model in spec_models() for name, cel in rules_of(model).items()}


def test_the_table_breaks_every_rule_of_every_model() -> None:
    assert set(all_rules()) == {row.rule for row in BROKEN_RULES}


@pytest.mark.parametrize("row", BROKEN_RULES, ids=lambda row: row.rule)
def test_a_broken_rule_is_the_one_fault_at_the_model_that_has_it(row: Bad) -> None:
    (fault,) = faults_of(row.changes)
    assert fault.path == row.path
    assert fault.got == "fields that contradict each other"
    assert row.wanted in fault.want


@pytest.mark.parametrize("row", BROKEN_RULES, ids=lambda row: row.rule)
def test_the_named_rule_is_the_one_that_speaks(monkeypatch: pytest.MonkeyPatch, row: Bad) -> None:
    model_name, name = row.rule.split(".")
    model = next(model for model in spec_models() if model.__name__ == model_name)
    monkeypatch.setattr(model, name, lambda self: None)
    validate_job(make_manifest(row.changes))


def test_a_rule_has_forms_in_cel_where_the_table_says_that_cel_judges_it() -> None:
    in_table = {row.rule for row in BROKEN_RULES if row.tier is Tier.CEL}
    assert {name for name, cel in all_rules().items() if cel} == in_table


def test_names_that_must_be_unique_are_the_schema_s_own_rule() -> None:
    in_table = {row.rule for row in BROKEN_RULES if row.tier is Tier.SCHEMA}
    assert in_table == {
        "DataSpec.source_names_are_unique",
        "MonitoringSpec.signal_names_are_unique",
        "ProRLJobSpec.volume_names_are_unique",
        "ReferenceResetSpec.trigger_names_are_unique",
        "ScheduleSpec.stages_are_in_order",
        "TrackingSpec.tracker_names_are_unique",
        "ValidationDropped.sources_are_unique",
        "ValidationStalled.sources_are_unique",
        "ValidationSpec.validated_sources_are_unique",
    }


@pytest.mark.parametrize("row", ONE_MACHINE_ROWS, ids=lambda row: row.path)
def test_what_a_cluster_takes_and_one_machine_cannot_is_refused_here_at_its_path(row: Bad) -> None:
    job = make_job(row.changes)
    with pytest.raises(SpecError) as caught:
        on_one_machine(job)
    (fault,) = caught.value.faults
    assert fault.path == row.path
    assert row.wanted in fault.want


def test_one_broken_rule_does_not_hide_another_of_the_same_model() -> None:
    faults = faults_of(
        {"spec.learner": {"engine": "plain", "replicas": 2, "promptsPerStep": 10, "minibatchPrompts": 4}}
    )
    assert [fault.path for fault in faults] == ["spec.learner", "spec.learner"]


def test_a_rule_that_speaks_of_a_faulty_field_waits_until_the_field_is_right() -> None:
    (fault,) = faults_of({"spec.learner": {"promptsPerStep": "ten", "minibatchPrompts": 48}})
    assert fault.path == "spec.learner.promptsPerStep"


def test_without_a_collector_the_first_model_that_breaks_a_rule_raises() -> None:
    with pytest.raises(ValueError, match="`topP` must be"):
        ProRLJob.model_validate(make_manifest({"spec.rollout.topP": 0.5}))
    collector = BrokenRules()
    ProRLJob.model_validate(make_manifest({"spec.rollout.topP": 0.5}), context=collector)
    assert [type(model).__name__ for model, _ in collector.found] == ["RolloutSpec"]


def test_a_source_may_begin_to_be_trained_on_at_a_stage() -> None:
    sources = [make_source("sums"), make_source("rows", jsonl="rows.jsonl", weight=0)]
    stages = [make_stage("late", 5, sourceWeights={"rows": 1})]
    job = make_job({"spec.data.sources": sources, "spec.schedule.stages": stages})
    assert job.spec.is_trained_on(job.spec.data.sources[1])
    assert [wanted.name for wanted in job.spec.validated_sources] == ["sums"]


def test_jsonl_alone_needs_no_validation_when_nothing_watches_it() -> None:
    source = make_source("rows", jsonl="rows.jsonl")
    for reset in ({"mode": "disabled"}, {"triggers": [{"name": "often", "interval": {"everySteps": 9}}]}):
        job = make_job({"spec.data.sources": [source], "spec.referenceReset": reset})
        assert job.spec.validated_sources == ()


def test_the_default_triggers_fit_any_run_and_an_interval_that_ends_leaves_room_for_longer_windows() -> None:
    assert make_job({"spec.schedule.totalSteps": 12}).spec.reference_reset.triggers == DEFAULT_TRIGGERS
    long = {"name": "long", "klSpike": {"above": 0.1, "windowSteps": 60}}
    for interval, cooldown in (
        ({"maxResets": 2, "interval": {"everySteps": 50}}, 0),
        ({"interval": {"everySteps": 60}}, 0),
        ({"interval": {"everySteps": 50}}, 100),
    ):
        triggers = [long, {"name": "often", **interval}]
        make_job({"spec.referenceReset": {"cooldownSteps": cooldown, "triggers": triggers}})


def test_a_kl_term_that_a_stage_brings_may_be_watched() -> None:
    share = {"name": "share", "klSpike": {"metric": "klLossShare", "above": 0.5}}
    make_job(
        {
            "spec.algorithm.kl.coefficient": 0,
            "spec.schedule.stages": [make_stage("pulled", 5, klCoefficient=0.001)],
            "spec.referenceReset.triggers": [share],
        }
    )


def test_the_default_cooldown_holds_shorter_intervals_back_without_a_fault() -> None:
    make_job({"spec.referenceReset.triggers": [{"name": "often", "interval": {"everySteps": 9}}]})
