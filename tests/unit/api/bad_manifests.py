"""The table of bad manifests: each with the tier that judges it, where the fault is and what is wanted.

The unit tests put every row through our own judgement, the cluster tests through a real API server too.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
from api_builders import REMOVED, make_source, make_stage

JSONL = {"jsonl": "rows.jsonl", "heldOut": 10}
LENGTH = "spec.algorithm.length"
VOLUME = {"name": "runs", "claimName": "runs", "mountPath": "/runs"}


class Tier(StrEnum):
    """Who can judge a fault in a cluster. `prorl validate` judges all of them."""

    TEXT = "text"
    """JSON cannot say it: whoever sends it is told so before any schema is asked."""
    SCHEMA = "schema"
    """The API server, by the schema: one field by itself, or names that must be unique in a list."""
    CEL = "cel"
    """The API server, by a rule that crosses fields."""
    OPERATOR = "operator"
    """The API server takes it; who runs the job refuses it."""


class Bad(NamedTuple):
    """One bad manifest: `api_builders.MINIMAL` with changes."""

    changes: dict[str, Any]
    path: str
    """Of the one fault that we find."""
    wanted: str
    """Part of what we say is wanted."""
    tier: Tier = Tier.SCHEMA
    rule: str = ""
    """`Model.rule` that is broken, for faults that cross fields."""
    server_says: str = ""
    """Part of the API server's message; empty: the path."""


SCHEMA_ROWS: list[Bad] = [
    Bad(
        {"spec.tracking": {"trackers": [{"name": "one", "mlflow": {"trackingUri": "http://me:password@host"}}]}},
        "spec.tracking.trackers[0].mlflow.trackingUri",
        "an address that begins with http:// or https://, without user and password",
    ),
    Bad({"spec.checkpoint.exportBest": "yes"}, "spec.checkpoint.exportBest", "true or false, without quotes"),
    Bad(
        {"apiVersion": "prorl.dev/v1"},
        "apiVersion",
        "`prorl.dev/v1alpha1`",
        server_says='ProRLJob in version "v1"',
    ),
    Bad({"kind": "Job"}, "kind", "`ProRLJob`"),
    Bad({"kind": REMOVED}, "kind", "this field is required", server_says="'Kind' is missing"),
    Bad({"metadata": REMOVED}, "metadata", "this field is required"),
    Bad({"spec": 3}, "spec", "an object with fields, `name: value`"),
    Bad({"metadata.name": "Demo"}, "metadata.name", "lower-case letters, digits and inner hyphens"),
    Bad({"metadata.name": "a" * 41}, "metadata.name", "at most 40 characters"),
    Bad(
        {"metadata.labels": {"team": 1}},
        "metadata.labels.team",
        "a text, quoted",
        server_says="ObjectMeta.labels of type string",
    ),
    Bad({"spec.model": REMOVED}, "spec.model", "this field is required"),
    Bad({"spec.model.path": ""}, "spec.model.path", "a text that is not empty"),
    Bad({"spec.model.path": True}, "spec.model.path", "a text, quoted"),
    Bad({"spec.seed": -1}, "spec.seed", "at least 0"),
    Bad({"spec.seed": "3"}, "spec.seed", "a whole number, without quotes"),
    Bad({"spec.suspend": "false"}, "spec.suspend", "true or false, without quotes"),
    Bad({"spec.suspend": 0}, "spec.suspend", "true or false, without quotes"),
    Bad(
        {"spec.initFrom": {"run": "../old", "checkpoint": "newest"}},
        "spec.initFrom.checkpoint",
        "`best`, `last` or `step-N`",
    ),
    Bad(
        {"spec.volumes": [{"name": "m", "claimName": "m", "mountPath": "models"}]},
        "spec.volumes[0].mountPath",
        "an absolute path, such as `/data`",
    ),
    Bad(
        {"spec.volumes": [{"name": "m", "claimName": "m", "mountPath": "/m", "roles": ["judge"]}]},
        "spec.volumes[0].roles[0]",
        "`learner`, `rollout` or `sandbox`",
    ),
    Bad({"spec.data.sources": []}, "spec.data.sources", "at least 1 item"),
    Bad({"spec.data.sources": {"name": "x"}}, "spec.data.sources", "a list"),
    Bad(
        {"spec.data.sources.0.domain": "logik"},
        "spec.data.sources[0].domain",
        "`math`, `code`, `stem`, `logic`, `instruction-following` or `custom`; did you mean `logic`?",
    ),
    Bad({"spec.data.sources.0.weight": -0.5}, "spec.data.sources[0].weight", "at least 0"),
    Bad({"spec.data.sources.0.prompt.template": "no hole"}, "spec.data.sources[0].prompt.template", "question"),
    Bad(
        {"spec.data.sources.0.reasoningGym.tasks.0.name": "Chain Sum"},
        "spec.data.sources[0].reasoningGym.tasks[0].name",
        "a reasoning-gym task: lower-case letters, digits and underscores, such as `chain_sum`",
    ),
    Bad({"spec.rollout.replicas": "3"}, "spec.rollout.replicas", "a whole number, without quotes"),
    Bad({"spec.rollout.replicas": 2.5}, "spec.rollout.replicas", "a whole number, without quotes"),
    Bad({"spec.rollout.replicas": True}, "spec.rollout.replicas", "a whole number, without quotes"),
    Bad({"spec.rollout.replicas": 1025}, "spec.rollout.replicas", "at most 1024"),
    Bad({"spec.rollout.temperature": 0}, "spec.rollout.temperature", "more than 0"),
    Bad({"spec.rollout.temperature": float("nan")}, "spec.rollout.temperature", "finite", Tier.TEXT),
    Bad({"spec.rollout.dtype": "float16"}, "spec.rollout.dtype", "`bfloat16` or `float32`; did you mean `bfloat16`?"),
    Bad({"spec.rollout.stop": [""]}, "spec.rollout.stop[0]", "a text that is not empty"),
    Bad({"spec.rollout.stop": ["x"] * 17}, "spec.rollout.stop", "at most 16 items"),
    Bad(
        {"spec.rollout.resources": {"limits": {"cpu": 0.5}}},
        "spec.rollout.resources.limits.cpu",
        "a text, quoted, or a whole number, without quotes",
    ),
    Bad(
        {"spec.rollout.resources": {"limits": {"memory": "64 GB"}}},
        "spec.rollout.resources.limits.memory",
        "a quantity, such as `8`, `500m` or `64Gi`, or a whole number, without quotes",
    ),
    Bad({"spec.learner.groupSize": 1}, "spec.learner.groupSize", "at least 2"),
    Bad({"spec.learner.deepspeed.zeroStage": 4}, "spec.learner.deepspeed.zeroStage", "at most 3"),
    Bad(
        {"spec.learner.deepspeed.zeroStage": True}, "spec.learner.deepspeed.zeroStage", "a whole number, without quotes"
    ),
    Bad(
        {"spec.learner.optimizer.learningRate": "1e-6"},
        "spec.learner.optimizer.learningRate",
        "a number, without quotes",
    ),
    Bad(
        {"spec.learner.optimizer.learningRate": float("inf")},
        "spec.learner.optimizer.learningRate",
        "finite",
        Tier.TEXT,
    ),
    Bad({"spec.learner.podTemplate": []}, "spec.learner.podTemplate", "an object"),
    Bad(
        {"spec.sandbox.isolation.minimum": "none"},
        "spec.sandbox.isolation.minimum",
        "`process`, `landlock` or `namespaces`",
    ),
    Bad(
        {"spec.sandbox.libraries": ["torch"]},
        "spec.sandbox.libraries[0]",
        "`numpy`, `sympy`, `networkx` or `sortedcontainers`",
    ),
    Bad({"spec.algorithm.clip.low": 1}, "spec.algorithm.clip.low", "less than 1"),
    Bad({"spec.algorithm.kl.estimator": "k4"}, "spec.algorithm.kl.estimator", "`k1`, `k2` or `k3`"),
    Bad({"spec.schedule.totalSteps": -1}, "spec.schedule.totalSteps", "at least 0"),
    Bad(
        {"spec.schedule.stages": [make_stage("a", 2, sourceWeights={"sums": -1})]},
        "spec.schedule.stages[0].overrides.sourceWeights.sums",
        "at least 0",
    ),
    Bad({"spec.validation.sources": [{"name": "sums", "size": 0}]}, "spec.validation.sources[0].size", "at least 1"),
    Bad(
        {"spec.referenceReset.mode": "manual"},
        "spec.referenceReset.mode",
        "`automatic`, `approve`, `dry-run` or `disabled`",
    ),
    Bad(
        {"spec.referenceReset.triggers": [{"name": "spike", "klSpike": {"above": 0}}]},
        "spec.referenceReset.triggers[0].klSpike.above",
        "more than 0",
    ),
    Bad(
        {"spec.referenceReset.triggers": [{"name": "low", "threshold": {"below": 0.1}}]},
        "spec.referenceReset.triggers[0].threshold.metric",
        "this field is required",
    ),
    Bad(
        {"spec.referenceReset.triggers": [{"name": "low", "threshold": {"metric": "signals.", "below": 0.1}}]},
        "spec.referenceReset.triggers[0].threshold.metric",
        "a metric's name (docs/metrics.md), `metric/source`, or `signals.NAME`",
    ),
    Bad(
        {"spec.referenceReset.triggers": [{"name": "both", "all": [{"interval": {"everySteps": 9}}]}]},
        "spec.referenceReset.triggers[0].all",
        "at least 2 items",
    ),
    Bad({"spec.referenceReset.maxResets": 0}, "spec.referenceReset.maxResets", "at least 1"),
    Bad({"spec.checkpoint.keep": 0}, "spec.checkpoint.keep", "at least 1"),
    Bad({"spec.scheduling.gang": {"scheduler": "volcano"}}, "spec.scheduling.gang.scheduler", "coscheduling"),
    Bad(
        {"spec.monitoring.prometheusUrl": "prometheus:9090"},
        "spec.monitoring.prometheusUrl",
        "an address, such as `http://prometheus.monitoring:9090`",
    ),
    Bad(
        {"spec.monitoring.prometheusUrl": "http://me:pw@p:9090"},
        "spec.monitoring.prometheusUrl",
        "an address, such as `http://prometheus.monitoring:9090`",
    ),
    Bad(
        {"spec.monitoring.prometheusUrl": "http://p:9090/?x=1"},
        "spec.monitoring.prometheusUrl",
        "an address, such as `http://prometheus.monitoring:9090`",
    ),
    Bad(
        {"spec.monitoring.prometheus": "Main"},
        "spec.monitoring.prometheus",
        "lower-case letters, digits and inner hyphens, at most 40 characters",
    ),
    Bad(
        {"spec.monitoring": {"prometheus": "main", "onMissing": "guess"}},
        "spec.monitoring.onMissing",
        "`wait` or `learner`",
    ),
    Bad(
        {"spec.monitoring": {"prometheus": "main", "signals": [{"name": "Judged", "query": "x"}]}},
        "spec.monitoring.signals[0].name",
        "lower-case letters, digits and underscores, a letter first, at most 63 characters",
    ),
    Bad(
        {"spec.monitoring": {"prometheus": "main", "signals": [{"name": "judged", "query": ""}]}},
        "spec.monitoring.signals[0].query",
        "a text that is not empty",
    ),
    Bad(
        {"spec.local.ignore": ["learner.resources"]},
        "spec.local.ignore[0]",
        "a field's path, such as `spec.learner.podTemplate`",
    ),
    Bad({"spec.local.paths": {"/data": ""}}, "spec.local.paths./data", "a text that is not empty"),
]

UNKNOWN_FIELDS: list[tuple[str, Any, str, str]] = [
    ("metadatas", {}, "metadatas", "metadata"),
    ("spec.rollouts", {}, "spec.rollouts", "rollout"),
    ("spec.rollout.top_p", 1.0, "spec.rollout.top_p", "topP"),
    ("spec.learner.optimizer.learningrate", 1e-6, "spec.learner.optimizer.learningrate", "learningRate"),
    ("spec.initFrom", {"run": "x", "checkpoints": "best"}, "spec.initFrom.checkpoints", "checkpoint"),
    ("spec.data.sources.0.weights", 1, "spec.data.sources[0].weights", "weight"),
    (
        "spec.data.sources.0.reasoningGym.tasks.0.weights", 1,
        "spec.data.sources[0].reasoningGym.tasks[0].weights", "weight",
    ),
    (
        "spec.schedule.stages", [make_stage("a", 2, grupSize=4)],
        "spec.schedule.stages[0].overrides.grupSize", "groupSize",
    ),
    (
        "spec.referenceReset.triggers", [{"name": "a", "klspike": {"above": 1}, "interval": {"everySteps": 9}}],
        "spec.referenceReset.triggers[0].klspike", "klSpike",
    ),
    ("spec.local.rollout", {"replica": 2}, "spec.local.rollout.replica", "replicas"),
]  # fmt: skip

_ENTROPY = {"metric": "entropy"}
_LONG = {"name": "long", "klSpike": {"above": 0.1, "windowSteps": 60}}
_OF_SUMS = {"sources": [{"name": "sums"}, {"name": "sums", "weight": 2}]}
ODD_TRIGGERS: list[tuple[dict[str, Any], str, str, Tier, str]] = [
    ({"klSpike": {}}, ".klSpike", "one of `above` and `deviations`", Tier.CEL, "KLSpike.exactly_one_bound"),
    (
        {"klSpike": {"above": 0.1, "deviations": 3}},
        ".klSpike",
        "one of `above` and `deviations`",
        Tier.CEL,
        "KLSpike.exactly_one_bound",
    ),
    (
        {"klSpike": {"above": 0.1, "baselineSteps": 50}},
        ".klSpike",
        "`baselineSteps` has no effect without `deviations`",
        Tier.CEL,
        "KLSpike.a_baseline_is_for_deviations",
    ),
    (
        {"validationDropped": {}},
        ".validationDropped",
        "set `belowBest`",
        Tier.CEL,
        "ValidationDropped.some_drop_is_meant",
    ),
    (
        {"validationDropped": {"belowBest": 0.1, **_OF_SUMS}},
        ".validationDropped",
        "got sums more than once",
        Tier.SCHEMA,
        "ValidationDropped.sources_are_unique",
    ),
    (
        {"validationStalled": _OF_SUMS},
        ".validationStalled",
        "got sums more than once",
        Tier.SCHEMA,
        "ValidationStalled.sources_are_unique",
    ),
    ({"threshold": _ENTROPY}, ".threshold", "one of `above` and `below`", Tier.CEL, "Threshold.exactly_one_side"),
    (
        {"threshold": {**_ENTROPY, "above": 3, "below": 1}},
        ".threshold",
        "one of `above` and `below`",
        Tier.CEL,
        "Threshold.exactly_one_side",
    ),
    *(
        ({"threshold": {"metric": name, "below": 0.1}}, ".threshold", wanted, Tier.CEL, "Threshold.the_metric_exists")
        for name, wanted in (
            ("entropi", "got entropi; did you mean entropy?"),
            ("step", "got step"),
            ("accuracy_sampled", "did you mean accuracy_sampled/<source>?"),
            ("kl/sums", "got kl/sums"),
        )
    ),
    (
        {"all": [{"interval": {"everySteps": 200}}, {}]},
        ".all[1]",
        "exactly one of `klSpike`",
        Tier.CEL,
        "Condition.exactly_one_kind",
    ),
    *(
        (
            {kind: [{"threshold": {**_ENTROPY, "above": above}}, {"threshold": {**_ENTROPY, "below": below}}]},
            "",
            wanted,
            Tier.CEL,
            "Trigger.bounds_leave_a_choice",
        )
        for kind, above, below, wanted in (
            ("all", 2, 2, "entropy above 2 and below 2, and can never fire"),
            ("all", 3, 2, "entropy above 3 and below 2, and can never fire"),
            ("any", 1, 2, "entropy above 1 or below 2, and fires always"),
        )
    ),
]
"""A trigger that contradicts itself; place of the fault in it; what is wanted; who judges; the rule."""
ODD_POLICIES: list[tuple[dict[str, Any], str, str]] = [
    (
        {"spec.referenceReset": {"cooldownSteps": 50, "triggers": [{"name": "often", "interval": {"everySteps": 49}}]}},
        "`referenceReset.cooldownSteps` 50 contradicts trigger often, whose `interval.everySteps` is 49",
        "the_cooldown_leaves_intervals_alone",
    ),
    (
        {
            "spec.referenceReset": {
                "cooldownSteps": 0,
                "triggers": [_LONG, {"name": "often", "interval": {"everySteps": 59}}],
            }
        },
        "looks back over 60 steps since the last reset, more than `interval.everySteps` 59 of trigger often",
        "windows_fit_between_intervals",
    ),
    *(
        (
            {"spec.referenceReset.triggers": [{"name": "odd", **trigger}]},
            f"trigger odd names source {name}, which is not validated; sums is",
            "triggers_name_known_sources",
        )
        for trigger, name in (
            ({"validationStalled": {"sources": [{"name": "sum"}]}}, "sum"),
            ({"validationDropped": {"confidence": 0.9, "sources": [{"name": "sums"}, {"name": "x"}]}}, "x"),
            ({"threshold": {"metric": "validation_source_accuracy/x", "below": 0.1}}, "x"),
            (
                {"all": [{"validationStalled": {"sources": [{"name": "x"}]}}, {"threshold": {**_ENTROPY, "below": 1}}]},
                "x",
            ),
        )
    ),
    (
        {
            "spec.referenceReset.triggers": [
                {"name": "odd", "threshold": {"metric": "accuracy_sampled/x", "below": 0.1}}
            ]
        },
        "trigger odd wants `threshold.metric` of source x; `data.sources` has sums",
        "triggers_name_known_sources",
    ),
    *(
        (
            {
                "spec.monitoring": {"prometheus": "main", "signals": signals},
                "spec.referenceReset.triggers": [
                    {"name": "odd", "threshold": {"metric": "signals.mine", "below": 0.1}}
                ],
            },
            f"trigger odd reads signal mine, which `monitoring.signals` does not have; it has {known}",
            "triggers_read_known_signals",
        )
        for signals, known in (([], "none"), ([{"name": "yours", "query": "up"}], "yours"))
    ),
    *(
        (
            {
                "spec.algorithm.kl.coefficient": 0,
                "spec.referenceReset": reset,
                "spec.learner.reference": "offloaded",
            },
            "`learner.reference` has no effect: with `algorithm.kl.coefficient: 0` at every stage and no trigger",
            "the_reference_exists_where_it_is_placed",
        )
        for reset in (
            {"mode": "disabled"},
            {"triggers": [{"name": "often", "interval": {"everySteps": 100}}]},
            {"triggers": [{"name": "odd", "threshold": {"metric": "entropy", "below": 0.1}}]},
        )
    ),
    *(
        (
            {"spec.algorithm.kl.coefficient": 0, "spec.referenceReset.triggers": [{"name": "odd", **trigger}]},
            "trigger odd watches the KL term of the loss, which has none at any stage",
            "the_kl_term_exists_where_it_is_watched",
        )
        for trigger in (
            {"klSpike": {"metric": "klLossShare", "above": 0.5}},
            {"threshold": {"metric": "kl_loss_share", "above": 0.5}},
        )
    ),
    (
        {
            "spec.data.sources": [make_source("rows", jsonl="rows.jsonl")],
            "spec.referenceReset.triggers": [
                {"name": "odd", "threshold": {"metric": "validation_accuracy", "below": 0.1}}
            ],
        },
        "trigger `odd` needs validation",
        "validation_is_measured_where_it_is_watched",
    ),
]
"""Triggers that contradict the rest of the job; what is wanted; the rule."""

BROKEN_RULES: list[Bad] = [
    Bad(
        {"spec.tracking": {"trackers": [{"name": "one", "wandb": {}, "mlflow": {}}]}},
        "spec.tracking.trackers[0]",
        "set exactly one of `tensorboard`, `wandb`, `mlflow` and `trackio`",
        Tier.CEL,
        "Tracker.exactly_one_kind",
    ),
    Bad(
        {"spec.tracking": {"trackers": [{"name": "one", "wandb": {}}, {"name": "one", "tensorboard": {}}]}},
        "spec.tracking",
        "got one more than once",
        Tier.SCHEMA,
        "TrackingSpec.tracker_names_are_unique",
    ),
    Bad(
        {"spec.algorithm.engineMismatch": {"correction": "tis", "floor": 0.5}},
        "spec.algorithm.engineMismatch",
        "`floor` has no effect with `correction: tis`",
        Tier.CEL,
        "EngineMismatch.floor_belongs_to_icepop",
    ),
    Bad(
        {"spec.algorithm.clip": {"low": 0.4, "high": 0.2}},
        "spec.algorithm.clip",
        "`high` 0.2 must be at least `low` 0.4",
        Tier.CEL,
        "Clip.high_is_not_below_low",
    ),
    Bad(
        {"spec.schedule.stages": [make_stage("narrow", 5, clipHigh=0.1)]},
        "spec",
        "stage narrow: `clipHigh` must be at least `clipLow`, each taken from `algorithm.clip` where not set",
        Tier.CEL,
        "ProRLJobSpec.stages_keep_the_clip_in_order",
        server_says="a stage's `clipHigh` must be at least its `clipLow`",
    ),
    Bad(
        {"spec.schedule.stages": [make_stage("long", 5, lengthWeight=0.5)]},
        "spec",
        "stage long: `lengthWeight` has no effect with `algorithm.length.penalty: none`; remove it",
        Tier.CEL,
        "ProRLJobSpec.stages_weigh_a_penalty_that_there_is",
        server_says="a stage's `lengthWeight` has no effect with `algorithm.length.penalty: none`",
    ),
    Bad(
        {"spec.algorithm.kl": {"estimator": "k1"}},  # with the default coefficient
        "spec.algorithm.kl",
        "`estimator: k1` has no effect with a `coefficient`, got 0.0001",
        Tier.CEL,
        "KL.k1_is_for_measuring",
    ),
    Bad(
        {"spec.algorithm.kl": {"coefficient": 0, "correctStale": True}},
        "spec.algorithm.kl",
        "`correctStale` has no effect with `coefficient: 0`",
        Tier.CEL,
        "KL.only_a_term_is_corrected",
    ),
    Bad(
        {"spec.algorithm.kl": {"coefficient": 0, "referenceDecay": 0.99}, "spec.learner.precision": "float32"},
        "spec",
        "`algorithm.kl.referenceDecay` moves what nothing pulls to: `coefficient` is 0 at every stage",
        Tier.CEL,
        "ProRLJobSpec.only_a_term_s_reference_is_averaged",
    ),
    Bad(
        {"spec.algorithm.kl": {"referenceDecay": 0.99}, "spec.learner.precision": "bfloat16"},
        "spec",
        "`algorithm.kl.referenceDecay` needs `learner.precision: float32`, got bfloat16",
        Tier.CEL,
        "ProRLJobSpec.averages_are_kept_in_float32",
    ),
    Bad(
        {"spec.algorithm.advantage": "mean-only", "spec.algorithm.advantageScale": "source"},
        "spec.algorithm",
        "`advantageScale` has no effect with `advantage: mean-only`",
        Tier.CEL,
        "AlgorithmSpec.only_one_kind_has_a_scale",
    ),
    Bad(
        {
            "spec.algorithm.kl": {"estimator": "k1", "coefficient": 0},
            "spec.schedule.stages": [make_stage("pulled", 5, klCoefficient=0.001)],
        },
        "spec",
        "stage pulled: `klCoefficient` 0.001 has no effect with `algorithm.kl.estimator: k1`",
        Tier.CEL,
        "ProRLJobSpec.stages_keep_k1_out_of_the_loss",
        server_says="a stage's `klCoefficient` has no effect",
    ),
    Bad(
        {"spec.learner.precision": "float32", "spec.learner.headPrecision": "bfloat16"},
        "spec.learner",
        "`headPrecision: bfloat16` needs `precision: bfloat16`, got float32",
        Tier.CEL,
        "LearnerSpec.head_is_no_coarser_than_the_body",
    ),
    Bad(
        {"spec.learner.deepspeed": {"zeroStage": 0, "offloadOptimizer": True}},
        "spec.learner.deepspeed",
        "`offloadOptimizer` has no effect with `zeroStage: 0`",
        Tier.CEL,
        "DeepSpeedSpec.only_zero_offloads",
    ),
    Bad({LENGTH: {"weight": 1}}, LENGTH, "`weight` would have no effect", Tier.CEL, "Length.settings_fit_the_penalty"),
    Bad({LENGTH: {"penalty": "overlong"}}, LENGTH, "needs `bufferTokens`", Tier.CEL, "Length.settings_fit_the_penalty"),
    Bad(
        {LENGTH: {"penalty": "cosine", "onSteps": 9}},
        LENGTH,
        "set both or neither",
        Tier.CEL,
        "Length.settings_fit_the_penalty",
    ),
    Bad(
        {"spec.data.sources.0.jsonl": "x.jsonl"},
        "spec.data.sources[0]",
        "exactly one of `reasoningGym`, `composition` and `jsonl`",
        Tier.CEL,
        "DataSource.exactly_one_origin",
    ),
    Bad(
        {"spec.data.sources.1": {"name": "empty", "domain": "math"}},
        "spec.data.sources[1]",
        "exactly one of `reasoningGym`, `composition` and `jsonl`",
        Tier.CEL,
        "DataSource.exactly_one_origin",
    ),
    Bad(
        {"spec.data.sources.0.domain": "math"},
        "spec.data.sources[0]",
        "judged in domain `logic`, got `math`",
        Tier.CEL,
        "DataSource.generated_items_are_logic",
    ),
    Bad(
        {"spec.data.sources.1": {"name": "toy", "domain": "math", "composition": {"depths": [1]}}},
        "spec.data.sources[1]",
        "`composition` items are judged in domain `logic`, got `math`",
        Tier.CEL,
        "DataSource.generated_items_are_logic",
    ),
    Bad(
        {"spec.data.sources.0.composition": {"depths": [1]}},
        "spec.data.sources[0]",
        "exactly one of `reasoningGym`, `composition` and `jsonl`",
        Tier.CEL,
        "DataSource.exactly_one_origin",
    ),
    *(
        Bad(
            {
                "spec.data.sources.1": {
                    "name": "programs",
                    "domain": "code",
                    "jsonl": "own.jsonl",
                    "answerFormat": answer_format,
                }
            },
            "spec.data.sources[1]",
            f"`answerFormat: {answer_format}` finds no program in domain `code`; use `text`",
            Tier.CEL,
            "DataSource.programs_are_found",
        )
        for answer_format in ("boxed", "first-integer", "last-integer")
    ),
    Bad(
        {"spec.data.sources.1": {"name": "own", "domain": "custom", "jsonl": "own.jsonl"}},
        "spec.data.sources[1]",
        "need each other, got domain `custom`",
        Tier.CEL,
        "DataSource.reward_is_of_domain_custom",
    ),
    Bad(
        {"spec.data.sources.1": {"name": "own", "domain": "math", "jsonl": "own.jsonl", "reward": "own:score"}},
        "spec.data.sources[1]",
        "need each other, got domain `math`",
        Tier.CEL,
        "DataSource.reward_is_of_domain_custom",
    ),
    Bad(
        {"spec.data.sources.1": make_source("sums")},
        "spec.data",
        "got sums more than",
        Tier.SCHEMA,
        "DataSpec.source_names_are_unique",
    ),
    Bad(
        {"spec.data.sources.0.weight": 0},
        "spec.data",
        "`weight` above 0",
        Tier.CEL,
        "DataSpec.some_source_is_trained_on",
    ),
    Bad(
        {"spec.rollout.topP": 0.95}, "spec.rollout", "`topP` must be 1.0", Tier.CEL, "RolloutSpec.untruncated_sampling"
    ),
    Bad(
        {"spec.learner": {"promptsPerStep": 10, "minibatchPrompts": 4}},
        "spec.learner",
        "must divide `promptsPerStep`, got 4 and 10",
        Tier.CEL,
        "LearnerSpec.minibatches_divide_the_batch",
    ),
    Bad(
        {"spec.learner": {"engine": "plain", "replicas": 2, "processesPerReplica": 3}},
        "spec.learner",
        "= 6; use `deepspeed`",
        Tier.CEL,
        "LearnerSpec.plain_engine_is_one_process",
    ),
    Bad(
        {"spec.learner": {"offloadActivations": True}},
        "spec.learner",
        "`offloadActivations` needs `gradientCheckpointing: true`",
        Tier.CEL,
        "LearnerSpec.only_checkpoints_are_offloaded",
    ),
    *(
        Bad(
            {"spec.learner": {"recomputeGranularity": "selective", **learner}},
            "spec.learner",
            "`recomputeGranularity: selective` needs `gradientCheckpointing: true`",
            Tier.CEL,
            "LearnerSpec.what_is_recomputed_can_be_chosen",
        )
        for learner in ({}, {"gradientCheckpointing": True, "deepspeed": {"zeroStage": 3}})
    ),
    *(
        Bad(
            {"spec.learner": {"reference": "sharded", **learner}},
            "spec.learner",
            "`reference: sharded` needs `engine: deepspeed` with `deepspeed.zeroStage` 3 and more than one rank",
            Tier.CEL,
            "LearnerSpec.ranks_share_a_sharded_reference",
        )
        for learner in (
            {"replicas": 2},
            {"replicas": 2, "deepspeed": {"zeroStage": 0}},
            {"deepspeed": {"zeroStage": 3}},
            {"engine": "plain", "deepspeed": {"zeroStage": 3}},
        )
    ),
    *(
        Bad(
            {"spec.referenceReset.triggers": [{"name": "odd", **trigger}]},
            f"spec.referenceReset.triggers[0]{place}",
            wanted,
            tier,
            rule,
        )
        for trigger, place, wanted, tier, rule in ODD_TRIGGERS
    ),
    *(Bad(changes, "spec", wanted, Tier.CEL, f"ProRLJobSpec.{rule}") for changes, wanted, rule in ODD_POLICIES),
    Bad(
        {"spec.referenceReset.triggers": [{"name": "both", "interval": {"everySteps": 9}, "validationStalled": {}}]},
        "spec.referenceReset.triggers[0]",
        "exactly one of `klSpike`",
        Tier.CEL,
        "Trigger.exactly_one_kind",
    ),
    Bad(
        {"spec.referenceReset.triggers": [{"name": "a", "interval": {"everySteps": step}} for step in (8, 9)]},
        "spec.referenceReset",
        "got a more than once",
        Tier.SCHEMA,
        "ReferenceResetSpec.trigger_names_are_unique",
    ),
    Bad(
        {"spec.referenceReset": {"mode": "approve", "triggers": []}},
        "spec.referenceReset",
        "`mode: approve` without `triggers`",
        Tier.CEL,
        "ReferenceResetSpec.modes_need_triggers",
    ),
    Bad(
        {"spec.schedule.stages": [make_stage("a", 5), make_stage("b", 5)]},
        "spec.schedule",
        "increasing steps, got [5, 5]",
        Tier.CEL,
        "ScheduleSpec.stages_are_in_order",
    ),
    Bad(
        {"spec.schedule": {"totalSteps": 9, "stages": [make_stage("late", 10)]}},
        "spec.schedule",
        "after `totalSteps` 9",
        Tier.CEL,
        "ScheduleSpec.stages_are_in_order",
    ),
    Bad(
        {"spec.schedule.stages": [make_stage("a", 5), make_stage("a", 6)]},
        "spec.schedule",
        "stage names must be unique",
        Tier.SCHEMA,
        "ScheduleSpec.stages_are_in_order",
    ),
    Bad(
        {"spec.monitoring": {"prometheus": "main", "prometheusUrl": "http://p:9090"}},
        "spec.monitoring",
        "exclude one another",
        Tier.CEL,
        "MonitoringSpec.one_prometheus_is_named",
    ),
    Bad(
        {"spec.monitoring": {"onMissing": "learner"}},
        "spec.monitoring",
        "`onMissing` has no effect without",
        Tier.CEL,
        "MonitoringSpec.one_prometheus_is_named",
    ),
    Bad(
        {"spec.monitoring": {"signals": [{"name": "judged", "query": "judged"}]}},
        "spec.monitoring",
        "`signals` need `prometheus`",
        Tier.CEL,
        "MonitoringSpec.one_prometheus_is_named",
    ),
    Bad(
        {"spec.monitoring": {"prometheus": "main", "signals": [{"name": "judged", "query": q} for q in ("a", "b")]}},
        "spec.monitoring",
        "got judged more than once",
        Tier.SCHEMA,
        "MonitoringSpec.signal_names_are_unique",
    ),
    Bad(
        {"spec.learner.microbatchTokens": 9215},
        "spec",
        "`rollout.maxCompletionTokens` = 9216, got 9215",
        Tier.CEL,
        "ProRLJobSpec.microbatch_holds_a_sequence",
    ),
    Bad(
        {"spec.validation.sources": [{"name": "sum"}]},
        "spec",
        "unknown source sum",
        Tier.CEL,
        "ProRLJobSpec.validation_names_known_sources",
    ),
    Bad(
        {"spec.schedule.stages": [make_stage("a", 5, sourceWeights={"products": 1})]},
        "spec",
        "unknown source products",
        Tier.CEL,
        "ProRLJobSpec.validation_names_known_sources",
    ),
    Bad(
        {
            "spec.data.sources": [make_source("rows", **JSONL)],
            "spec.validation.sources": [{"name": "rows", "size": 11}],
        },
        "spec",
        "set its `heldOut` to at least 11",
        Tier.CEL,
        "ProRLJobSpec.validated_jsonl_is_held_out",
    ),
    Bad(
        {
            "spec.data.sources": [make_source("sums"), make_source("rows", **JSONL, weight=0)],
            "spec.validation.sources": [{"name": "rows", "size": 11}],
        },
        "spec",
        "set its `heldOut` to at least 11",
        Tier.CEL,
        "ProRLJobSpec.validated_jsonl_is_held_out",
    ),
    Bad(
        {"spec.data.sources.1": make_source("rows", jsonl="rows.jsonl", weight=0)},
        "spec",
        "source rows has `weight` 0 at every stage and is not validated",
        Tier.CEL,
        "ProRLJobSpec.every_source_is_used",
    ),
    Bad(
        {
            "spec.data.sources.1": make_source("products", weight=0),
            "spec.validation.sources": [{"name": "sums"}],
        },
        "spec",
        "source products has `weight` 0 at every stage and is not validated",
        Tier.CEL,
        "ProRLJobSpec.every_source_is_used",
    ),
    Bad(
        {"spec.volumes": [VOLUME, VOLUME]},
        "spec",
        "got runs more than once",
        Tier.SCHEMA,
        "ProRLJobSpec.volume_names_are_unique",
    ),
    Bad(
        {"spec.volumes": [VOLUME], "spec.checkpoint.volume": "elsewhere"},
        "spec",
        "got elsewhere; there is runs",
        Tier.CEL,
        "ProRLJobSpec.checkpoints_have_a_volume",
    ),
    Bad(
        {"spec.volumes": [{**VOLUME, "readOnly": True}], "spec.checkpoint.volume": "runs"},
        "spec",
        "got runs; there is none",
        Tier.CEL,
        "ProRLJobSpec.checkpoints_have_a_volume",
    ),
    Bad(
        {"spec.data.sources": [make_source("rows", jsonl="rows.jsonl")]},
        "spec",
        "trigger `validation-dropped` needs validation",
        Tier.CEL,
        "ProRLJobSpec.validation_is_measured_where_it_is_watched",
    ),
    Bad(
        {
            "spec.data.sources": [make_source("rows", jsonl="rows.jsonl")],
            "spec.referenceReset": {"source": "best", "triggers": []},
        },
        "spec",
        "`source: best` needs validation",
        Tier.CEL,
        "ProRLJobSpec.validation_is_measured_where_it_is_watched",
    ),
    Bad(
        {"spec.validation.sources": [{"name": "sums"}, {"name": "sums", "size": 9}]},
        "spec.validation",
        "got sums more than once",
        Tier.SCHEMA,
        "ValidationSpec.validated_sources_are_unique",
    ),
    Bad(
        {LENGTH: {"penalty": "overlong", "bufferTokens": 8192}},
        "spec",
        "must be below `rollout.maxCompletionTokens` 8192, got 8192",
        Tier.CEL,
        "ProRLJobSpec.overlong_buffer_fits",
    ),
    Bad(
        {
            LENGTH: {"penalty": "overlong", "bufferTokens": 100},
            "spec.schedule.stages": [make_stage("short", 5, maxCompletionTokens=100)],
        },
        "spec",
        "stage short: `maxCompletionTokens` must be above `algorithm.length.bufferTokens` 100, got 100",
        Tier.CEL,
        "ProRLJobSpec.overlong_buffer_fits",
    ),
    Bad(
        {
            "spec.schedule.stages": [
                make_stage("short", 5, maxCompletionTokens=100),
                make_stage("long", 6, maxCompletionTokens=15361),
            ]
        },
        "spec",
        "`rollout.maxPromptTokens` + stage long's `maxCompletionTokens` = 16385, got 16384",
        Tier.CEL,
        "ProRLJobSpec.microbatch_holds_a_sequence",
    ),
    Bad(
        {"spec.schedule.stages": [make_stage("idle", 5, sourceWeights={"sums": 0})]},
        "spec",
        "stage idle: its `sourceWeights` leave no source",
        Tier.CEL,
        "ProRLJobSpec.stages_train_on_some_source",
    ),
    Bad(
        {"spec.schedule.stages": [make_stage("odd", 5, promptsPerStep=100)]},
        "spec",
        "stage odd: `minibatchPrompts` must divide `promptsPerStep`, got 64 and 100",
        Tier.CEL,
        "ProRLJobSpec.stages_keep_the_batch_divisible",
    ),
]

ONE_MACHINE_ROWS: list[Bad] = [
    Bad(
        {"spec.sandbox.isolation.network": "policy-verified"},
        "spec.sandbox.isolation.network",
        "spec.local.ignore",
        Tier.OPERATOR,
    ),
    Bad({"spec.learner.replicas": 2}, "spec.learner.replicas", "processesPerReplica", Tier.OPERATOR),
    Bad({"spec.rollout.podTemplate": {"spec": {}}}, "spec.rollout.podTemplate", "spec.local.ignore", Tier.OPERATOR),
    Bad({"spec.local.ignore": ["spec.learner.groupSize"]}, "spec.local.ignore[0]", "can be ignored", Tier.OPERATOR),
    Bad({"spec.local.learner": {"microbatchTokens": 9215}}, "spec", "`learner.microbatchTokens`", Tier.OPERATOR),
    Bad(
        {"spec.volumes": [{"name": "m", "claimName": "m", "mountPath": "/m"}]},
        "spec.volumes", "map it in spec.local.paths", Tier.OPERATOR,
    ),
]  # fmt: skip
"""What holds in a cluster and not on one machine, where the merged manifest is judged."""
