"""`spec.schedule`, `spec.validation`, `spec.checkpoint`, `spec.restarts`, `spec.scheduling`,
`spec.monitoring`: the course of a run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from prorl_api.spec.base import KEYED_BY_NAME, Cel, Change, Name, SpecModel, rule


class StageOverrides(SpecModel):
    """What a stage changes. An explicit small set, so that every override is typed and bounded."""

    prompts_per_step: Annotated[int, Field(ge=1, le=65536)] | None = None
    """Instead of `spec.learner.promptsPerStep`."""
    minibatch_prompts: Annotated[int, Field(ge=1, le=65536)] | None = None
    """Instead of `spec.learner.minibatchPrompts`."""
    group_size: Annotated[int, Field(ge=2, le=4096)] | None = None
    """Instead of `spec.learner.groupSize`."""
    learning_rate: Annotated[float, Field(gt=0, le=1.0)] | None = None
    """Instead of `spec.learner.optimizer.learningRate`."""
    temperature: Annotated[float, Field(gt=0.0, le=5.0)] | None = None
    """Instead of `spec.rollout.temperature`."""
    max_completion_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Instead of `spec.rollout.maxCompletionTokens`; engines are sized for the longest of all stages."""
    kl_coefficient: Annotated[float, Field(ge=0, le=100)] | None = None
    """Instead of `spec.algorithm.kl.coefficient`."""
    clip_low: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Instead of `spec.algorithm.clip.low`."""
    clip_high: Annotated[float, Field(gt=0, le=100)] | None = None
    """Instead of `spec.algorithm.clip.high`."""
    stop_properly: Annotated[float, Field(ge=0, le=1)] | None = None
    """Instead of `spec.algorithm.length.stopProperly`."""
    length_weight: Annotated[float, Field(ge=0, le=10)] | None = None
    """Instead of `spec.algorithm.length.weight`; 0: the stage has no penalty by length."""
    source_weights: Annotated[dict[str, Annotated[float, Field(ge=0, le=1e6)]], Field(max_length=64)] = {}
    """Source name to weight; sources not named keep theirs."""


class Stage(SpecModel):
    """A part of the run with its own settings, as ProRL's runs 1 to 8 (appendix E)."""

    name: Name
    """Unique; the `stage` label of metrics."""
    from_step: Annotated[int, Field(ge=1, le=10_000_000)]
    """First step of the stage; it ends where the next begins."""
    overrides: StageOverrides = StageOverrides()
    """Relative to `spec`, not to the stage before."""
    reset_reference_on_entry: bool = False
    """Reset the reference when the stage begins, as `spec.referenceReset` says for source and optimizer."""


class ScheduleSpec(SpecModel):
    """How long, and in which stages."""

    total_steps: Annotated[int, Field(ge=0, le=10_000_000), Change.STEP_BOUNDARY] = 2450
    """Training steps; one step samples one batch. 0: the validation before the first step alone, an evaluation."""
    stages: Annotated[tuple[Stage, ...], Field(max_length=64, json_schema_extra=KEYED_BY_NAME)] = ()
    """In order; before the first one the spec holds as it stands."""

    @rule(
        Cel(
            "self.stages.map(stage, stage.fromStep).isSorted() && "
            "self.stages.all(stage, self.stages.exists_one(other, other.fromStep == stage.fromStep))",
            "`stages` must begin at increasing steps, got {self.stages.map(stage, stage.fromStep)}",
        ),
        Cel(
            "self.stages.all(stage, stage.fromStep <= self.totalSteps)",
            "the last stage begins after `totalSteps` {self.totalSteps}",
        ),
    )
    def stages_are_in_order(self) -> None:
        """Stages begin later one after the other, within the run, under unique names."""
        starts = [stage.from_step for stage in self.stages]
        if sorted(set(starts)) != starts:
            raise ValueError(f"`stages` must begin at increasing steps, got {starts}")
        if starts and starts[-1] > self.total_steps:
            raise ValueError(f"the last stage begins at step {starts[-1]}, after `totalSteps` {self.total_steps}")
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"stage names must be unique, got {names}")


DEFAULT_VALIDATION_SIZE = 128
"""Prompts of a source whose size is not given, and of a generated one when `validation.sources` is empty."""


class ValidationSource(SpecModel):
    """Held-out prompts of one source."""

    name: Name
    """Of `spec.data.sources`."""
    size: Annotated[int, Field(ge=1, le=100_000)] = DEFAULT_VALIDATION_SIZE
    """Prompts; always the same ones."""


class ValidationSpec(SpecModel):
    """Validation before the first step, every so many steps, and after the last."""

    every_steps: Annotated[int, Field(ge=1, le=1_000_000), Change.STEP_BOUNDARY] = 10
    """Steps between validations."""
    samples_per_prompt: Annotated[int, Field(ge=1, le=1024)] = 4
    """Completions of each prompt; the accuracy is their mean."""
    temperature: Annotated[float, Field(ge=0, le=5)] = 0.6
    """0 is greedy; ProRL evaluates at 0.6."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Nucleus sampling in validation; ProRL evaluates at 0.95."""
    sources: Annotated[tuple[ValidationSource, ...], Field(max_length=64, json_schema_extra=KEYED_BY_NAME)] = ()
    """Empty: every source with held-out prompts: 128 generated ones, or a jsonl source's `heldOut`."""

    @rule
    def validated_sources_are_unique(self) -> None:
        """Two sizes for one source cannot both hold."""
        names = [source.name for source in self.sources]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"`sources` must name each source once, got {', '.join(repeated)} more than once")


class CheckpointSpec(SpecModel):
    """When the run's state is written, and how much of it is kept."""

    every_steps: Annotated[int, Field(ge=1, le=1_000_000), Change.LIVE] = 50
    """Steps between checkpoints."""
    every_minutes: Annotated[float, Field(gt=0, le=100_000), Change.LIVE] = 30.0
    """Whichever of the two comes first."""
    keep: Annotated[int, Field(ge=1, le=1000), Change.LIVE] = 3
    """Newest checkpoints kept. The best policy's weights are kept beside the references."""
    export_best: Annotated[bool, Change.LIVE] = False
    """Keep the best policy as a Hugging Face folder too, `exported/best` in the run folder, brought up to date at
    checkpoints. Condition `BestExported` says how that stands."""
    volume: Name | None = None
    """Name of the volume that holds run folders in a cluster."""


class RestartSpec(SpecModel):
    """How often members may be started again."""

    max_restarts: Annotated[int, Field(ge=0, le=1000), Change.LIVE] = 10
    """Restarts of one role without progress in between; a completed step refills the budget."""
    backoff_seconds: Annotated[float, Field(ge=0, le=3600), Change.LIVE] = 1.0
    """Wait before the first restart; doubles up to a minute without progress."""


class GangSpec(SpecModel):
    """The pods of all roles are placed together or not at all, by a scheduler that must be installed beside this."""

    scheduler: Literal["coscheduling"]
    """`coscheduling`: the plugin of kubernetes-sigs/scheduler-plugins, with its PodGroup definition."""
    scheduler_name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=253)] = (
        "scheduler-plugins-scheduler"
    )
    """`schedulerName` of the profile that has the plugin; the default is that of scheduler-plugins' own chart."""
    schedule_timeout_seconds: Annotated[int, Field(ge=1, le=86400)] | None = None
    """How long places are held for pods that do not fit yet; unset: as the scheduler is configured."""


class SchedulingSpec(SpecModel):
    """Where and when pods are placed, beyond what `podTemplate` says."""

    gang: GangSpec | None = None
    """Unset: each pod is placed by itself."""


class Signal(SpecModel):
    """A number of one's own, for triggers: what an evaluation job, a judge or anything else says in Prometheus."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$", max_length=63)]
    """Unique, and no name of the learner's metrics. Triggers know it as `signals.<name>`."""
    query: Annotated[str, Field(min_length=1, max_length=2048)]
    """PromQL that gives one series: `avg(eval_accuracy{run="$job"})`. `$job` and `$namespace` stand for the job's; only
    series of the job's namespace are seen."""


class MonitoringSpec(SpecModel):
    """Where the series that resets are decided on come from in a cluster: the learner's own API, or Prometheus."""

    prometheus: Name | None = None
    """A Prometheus of the installation, by its name in the chart's `monitoring.prometheus`: with its credentials.
    Thanos, Mimir and VictoriaMetrics speak the same API. Neither this nor `prometheusUrl`: the learner's own series."""
    prometheus_url: (
        Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?$", max_length=2048)] | None
    ) = None
    """A Prometheus that asks for no credentials, by its address; only one that the chart's
    `monitoring.allowedPrometheusUrls` lists is asked."""
    on_missing: Literal["wait", "learner"] | None = None
    """While Prometheus is away, is behind or cannot be trusted. `wait`, which unset means: no trigger on metrics fires,
    so that every reset can be replayed from what Prometheus holds. `learner`: the learner's own series stand in."""
    signals: Annotated[tuple[Signal, ...], Field(max_length=16, json_schema_extra=KEYED_BY_NAME)] = ()
    """Own signals, from the same Prometheus."""

    @property
    def is_from_prometheus(self) -> bool:
        """Whether resets are decided on what a Prometheus says."""
        return self.prometheus is not None or self.prometheus_url is not None

    @rule(
        Cel(
            "!(has(self.prometheus) && has(self.prometheusUrl))",
            "`prometheus` and `prometheusUrl` exclude one another",
        ),
        Cel(
            "has(self.prometheus) || has(self.prometheusUrl) || !has(self.onMissing)",
            "`onMissing` has no effect without `prometheus` or `prometheusUrl`",
        ),
        Cel(
            "has(self.prometheus) || has(self.prometheusUrl) || self.signals.size() == 0",
            "`signals` need `prometheus` or `prometheusUrl`",
        ),
    )
    def one_prometheus_is_named(self) -> None:
        """Two sources could contradict each other, and what none of them feeds would have no effect."""
        if self.prometheus is not None and self.prometheus_url is not None:
            raise ValueError("`prometheus` and `prometheusUrl` exclude one another")
        if not self.is_from_prometheus and self.on_missing is not None:
            raise ValueError("`onMissing` has no effect without `prometheus` or `prometheusUrl`")
        if not self.is_from_prometheus and self.signals:
            raise ValueError("`signals` need `prometheus` or `prometheusUrl`")

    @rule
    def signal_names_are_unique(self) -> None:
        """Triggers name them beside the learner's metrics."""
        names = [signal.name for signal in self.signals]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"`signals` must have unique names, got {', '.join(repeated)} more than once")
