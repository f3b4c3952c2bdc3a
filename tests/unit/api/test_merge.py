"""Derived specs: what a stage changes, and what holds on one machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from api_builders import make_job, make_source, make_stage

from prorl_api.errors import Fault, SpecError
from prorl_api.manifest import read_job
from prorl_api.spec.job import ProRLJob
from prorl_api.spec.merge import CLUSTER_ONLY, on_one_machine, spec_at, stage_at

FULL = Path(__file__).parent / "data/full.yaml"

STAGES = {
    "spec.data.sources.1": make_source("products", weight=3),
    "spec.schedule.stages": [
        make_stage("wide", 10, groupSize=32, learningRate=5e-7, clipHigh=0.3, sourceWeights={"products": 0}),
        make_stage("cool", 20, temperature=0.8, klCoefficient=0.01, maxCompletionTokens=4096, stopProperly=0.5),
    ],
}


def faults_here(changes: dict[str, Any]) -> list[Fault]:
    with pytest.raises(SpecError, match="job demo on one machine") as caught:
        on_one_machine(make_job(changes))
    return list(caught.value.faults)


@pytest.mark.parametrize(
    ("step", "name"), [(1, None), (9, None), (10, "wide"), (19, "wide"), (20, "cool"), (99, "cool")]
)
def test_a_stage_lasts_from_its_first_step_to_the_step_before_the_next(step: int, name: str | None) -> None:
    stage = stage_at(make_job(STAGES).spec, step)
    assert (stage.name if stage else None) == name


def test_before_the_first_stage_the_spec_holds_as_it_stands() -> None:
    spec = make_job(STAGES).spec
    assert spec_at(spec, 9) == spec


def test_a_stage_changes_what_it_overrides_and_nothing_else() -> None:
    spec = make_job(STAGES).spec
    wide = spec_at(spec, 10)
    assert (wide.learner.group_size, wide.learner.optimizer.learning_rate) == (32, 5e-7)
    assert (wide.algorithm.clip.low, wide.algorithm.clip.high) == (0.2, 0.3)
    assert [source.weight for source in wide.data.sources] == [1.0, 0.0]
    assert wide.rollout == spec.rollout
    assert wide.validation == spec.validation


def test_overrides_are_relative_to_the_spec_and_not_to_the_stage_before() -> None:
    cool = spec_at(make_job(STAGES).spec, 20)
    assert (cool.rollout.temperature, cool.rollout.max_completion_tokens) == (0.8, 4096)
    assert (cool.algorithm.kl.coefficient, cool.algorithm.length.stop_properly) == (0.01, 0.5)
    assert (cool.learner.group_size, cool.learner.optimizer.learning_rate, cool.algorithm.clip.high) == (16, 2e-6, 0.4)
    assert [source.weight for source in cool.data.sources] == [1.0, 3.0]


def test_a_stage_weighs_the_penalty_by_length_anew_or_has_none() -> None:
    cosine = {"penalty": "cosine", "weight": 0.5, "etaMax": 2}
    stages = [make_stage("more", 10, lengthWeight=1.5), make_stage("none", 20, lengthWeight=0)]
    spec = make_job({"spec.algorithm.length": cosine, "spec.schedule.stages": stages}).spec
    lengths = [spec_at(spec, step).algorithm.length for step in (9, 10, 20)]
    assert [length.weight for length in lengths] == [0.5, 1.5, 0.0]
    assert {(length.penalty, length.eta_max) for length in lengths} == {("cosine", 2.0)}


def test_the_overlay_replaces_what_it_names() -> None:
    spec = on_one_machine(read_job(FULL)).spec
    assert (spec.rollout.replicas, spec.rollout.tensor_parallel_size, spec.rollout.dtype) == (2, 1, "bfloat16")
    assert (spec.rollout.max_running_sequences, spec.rollout.enforce_eager) == (16, False)
    assert (spec.learner.replicas, spec.learner.processes_per_replica, spec.learner.engine) == (1, 1, "plain")
    assert (spec.learner.microbatch_tokens, spec.sandbox.replicas, spec.sandbox.workers) == (4096, 1, 1)
    assert (spec.rollout.temperature, spec.learner.group_size) == (0.9, 8)


def test_one_machine_has_one_sandbox_unless_the_overlay_says_otherwise() -> None:
    assert on_one_machine(make_job({"spec.sandbox.replicas": 8})).spec.sandbox.replicas == 1
    both = {"spec.sandbox.replicas": 8, "spec.local.sandbox.replicas": 2}
    assert on_one_machine(make_job(both)).spec.sandbox.replicas == 2


def test_paths_below_a_mount_move_to_its_folder() -> None:
    spec = on_one_machine(read_job(FULL)).spec
    assert spec.model.path == "./model"
    assert spec.init_from is not None
    assert spec.init_from.run == "./runs/before"
    assert spec.data.sources[1].jsonl == "./models/math/*.jsonl"
    assert spec.volumes == ()


@pytest.mark.parametrize(
    ("path", "here"),
    [
        ("/data", "./d"),
        ("/data/base", "./d/base"),
        ("/data/large/base", "/big/base"),
        ("/database", "/database"),
        ("./data/base", "./data/base"),
    ],
)
def test_the_longest_mount_that_is_a_whole_parent_wins(path: str, here: str) -> None:
    paths = {"/data": "./d", "/data/large/": "/big"}
    assert on_one_machine(make_job({"spec.model.path": path, "spec.local.paths": paths})).spec.model.path == here


VOLUME = {"name": "m", "claimName": "m", "mountPath": "/m"}
CLUSTER_VALUES: dict[str, Any] = {
    "spec.rollout.podTemplate": {"spec": {}},
    "spec.rollout.resources": {"limits": {"cpu": 1}},
    "spec.learner.podTemplate": {"spec": {}},
    "spec.learner.resources": {"limits": {"cpu": 1}},
    "spec.sandbox.podTemplate": {"spec": {}},
    "spec.sandbox.resources": {"limits": {"cpu": 1}},
    "spec.sandbox.runtimeClassName": "gvisor",
    "spec.checkpoint.volume": "m",
    "spec.scheduling.gang": {"scheduler": "coscheduling"},
    "spec.monitoring.prometheus": "main",
    "spec.monitoring.prometheusUrl": "http://prometheus:9090",
    "spec.monitoring.onMissing": "learner",
    "spec.monitoring.signals": [{"name": "judged", "query": "judged"}],
    "spec.tracking.secretName": "keys",
    "spec.ttlSecondsAfterFinished": 60,
}


NEEDED: dict[str, dict[str, Any]] = {
    path: {"spec.monitoring.prometheus": "main"} for path in ("spec.monitoring.onMissing", "spec.monitoring.signals")
}
"""What else must be set where a field is."""


def test_every_cluster_only_field_is_tried_below() -> None:
    assert set(CLUSTER_VALUES) == set(CLUSTER_ONLY)


@pytest.mark.parametrize("path", CLUSTER_VALUES)
def test_a_cluster_only_field_is_refused_by_name_unless_knowingly_ignored(path: str) -> None:
    needed = NEEDED.get(path, {})
    given = {path: CLUSTER_VALUES[path], "spec.volumes": [VOLUME], "spec.local.paths": {"/m": "./m"}, **needed}
    (fault,) = faults_here({**given, "spec.local.ignore": list(needed)})
    assert fault.path == path
    assert "spec.local.ignore" in fault.want
    on_one_machine(make_job({**given, "spec.local.ignore": [path, *needed]}))


def test_all_that_cannot_hold_here_is_reported_together() -> None:
    possible = {path: value for path, value in CLUSTER_VALUES.items() if path != "spec.monitoring.prometheusUrl"}
    faults = faults_here({**possible, "spec.volumes": [VOLUME], "spec.learner.replicas": 2})
    wanted = [path for path in CLUSTER_ONLY if path in possible]
    assert [fault.path for fault in faults] == [*wanted, "spec.volumes", "spec.learner.replicas"]
    assert "{/m: ./folder}" in faults[-2].want
    assert "processesPerReplica" in faults[-1].want


def test_ignoring_a_field_that_has_effect_is_refused() -> None:
    (fault,) = faults_here({"spec.local.ignore": ["spec.learner.groupSize"]})
    assert (fault.path, fault.got) == ("spec.local.ignore[0]", "spec.learner.groupSize")


def test_a_rule_that_the_overlay_breaks_is_a_spec_error() -> None:
    (fault,) = faults_here({"spec.local.learner": {"microbatchTokens": 9215}})
    assert fault.path == "spec"
    assert "`learner.microbatchTokens` must be at least" in fault.want


def test_a_null_inside_free_settings_survives() -> None:
    config = {"seed": None, "nested": {"also": None}}
    job = on_one_machine(make_job({"spec.data.sources.0.reasoningGym.tasks.0.config": config}))
    assert generated_config(job) == config


def generated_config(job: ProRLJob) -> dict[str, Any]:
    generated = job.spec.data.sources[0].reasoning_gym
    assert generated is not None
    return generated.tasks[0].config


def test_a_network_policy_is_left_to_the_cluster_if_the_manifest_says_so() -> None:
    isolation = {"minimum": "landlock", "network": "policy-verified"}
    ignore = ["spec.sandbox.isolation.network"]
    job = on_one_machine(make_job({"spec.sandbox.isolation": isolation, "spec.local.ignore": ignore}))
    assert (job.spec.sandbox.isolation.minimum, job.spec.sandbox.isolation.network) == ("landlock", "in-process")


def test_a_network_promise_that_one_machine_cannot_keep_is_refused_by_name() -> None:
    faults = faults_here({"spec.sandbox.isolation": {"minimum": "namespaces", "network": "policy-verified"}})
    assert [fault.path for fault in faults] == ["spec.sandbox.isolation.network"]
