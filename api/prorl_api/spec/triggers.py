"""The triggers of `spec.referenceReset`: what is looked at, and what counts as a reason for a reset."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from prorl_api.metrics import BY_NAME, TABLE
from prorl_api.spec.base import KEYED_BY_NAME, Cel, Name, SpecModel, rule

SIGNAL_PREFIX = "signals."
"""`signals.<name>` is the job's own signal of that name, from `spec.monitoring.signals`."""
DEFAULT_SPIKE_WINDOW = 10
DEFAULT_BASELINE = 100
DEFAULT_PATIENCE = 35
DEFAULT_DROP_VALIDATIONS = 1
DEFAULT_FOR_STEPS = 1

_WATCHABLE = tuple(metric for metric in TABLE if metric.name not in ("step", "attempt"))
_PLAIN = sorted(metric.name for metric in _WATCHABLE if not metric.by_source)
_BY_SOURCE = sorted(metric.name for metric in _WATCHABLE if metric.by_source)
MetricName = Annotated[
    str,
    Field(
        max_length=128, pattern=r"^(signals\.[a-z][a-z0-9_]{0,62}|[a-z][a-z0-9_]*(/[a-z0-9]([a-z0-9-]*[a-z0-9])?)?)$"
    ),
]
"""A metric of the learner's table, `<metric>/<source>` for those that every source has, or `signals.<name>`."""
Confidence = Annotated[float, Field(gt=0, lt=1)]
"""Such as 0.95. (Not "at least 0.5": the API server takes the whole number 0 for no less than a fraction.)"""


class WeightedSource(SpecModel):
    """One source's share in a blended accuracy."""

    name: Name
    """Of the validated sources."""
    weight: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """Relative to the other sources named here."""


_Sources = Annotated[tuple[WeightedSource, ...], Field(max_length=8, json_schema_extra=KEYED_BY_NAME)]


def _check_unique(sources: tuple[WeightedSource, ...]) -> None:
    names = [source.name for source in sources]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"`sources` must name each source once, got {', '.join(repeated)} more than once")


class KLSpike(SpecModel):
    """Fires when the KL to the reference, averaged over a window, is above a bound: a fixed one, or one that the steps
    before the window set."""

    metric: Literal["kl", "klLossShare"] = "kl"
    """`kl`: nats per token. `klLossShare`: share of the KL term in the loss's magnitude, 0 to 1."""
    above: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Bound on the average. No published bound transfers from one job to another."""
    deviations: Annotated[float, Field(gt=0, le=1000)] | None = None
    """Instead of `above`: the average must lie so many robust standard deviations (1.4826 times the median absolute
    deviation) above the median of the baseline, and every step of the window at least half as many."""
    window_steps: Annotated[int, Field(ge=1, le=100_000)] = DEFAULT_SPIKE_WINDOW
    """Steps averaged; fewer samples than this never fire."""
    baseline_steps: Annotated[int, Field(ge=10, le=100_000)] | None = None
    """With `deviations`: steps before the window, since the last reset, that are the baseline; fewer never fire.
    Unset: 100."""

    @property
    def baseline(self) -> int:
        """Steps before the window that are looked at."""
        return 0 if self.deviations is None else self.baseline_steps or DEFAULT_BASELINE

    @rule(
        Cel("has(self.above) != has(self.deviations)", "set exactly one of `above` and `deviations`"),
    )
    def exactly_one_bound(self) -> None:
        """A bound is fixed, or set by what was before."""
        if (self.above is None) == (self.deviations is None):
            raise ValueError("set exactly one of `above` and `deviations`")

    @rule(
        Cel(
            "!has(self.baselineSteps) || has(self.deviations)",
            "`baselineSteps` has no effect without `deviations`; remove it, or set `deviations` instead of `above`",
        ),
    )
    def a_baseline_is_for_deviations(self) -> None:
        """A fixed bound has no baseline."""
        if self.baseline_steps is not None and self.deviations is None:
            raise ValueError(
                "`baselineSteps` has no effect without `deviations`; remove it, or set `deviations` instead of `above`"
            )


class ValidationStalled(SpecModel):
    """Fires when validation accuracy has not gained for some validations."""

    patience: Annotated[int, Field(ge=1, le=10_000)] = DEFAULT_PATIENCE
    """Validations without a gain."""
    min_gain: Annotated[float, Field(ge=0, lt=1)] = 0.005
    """Less than this is no gain (accuracy, 0 to 1)."""
    confidence: Confidence | None = None
    """Set: a gain counts if the line through the last `patience` + 1 validations rises by more than `minGain` with so
    much confidence, given the validations' sampling noise. Unset: if one validation beats the best by `minGain`,
    noise or not."""
    sources: _Sources = ()
    """Sources whose accuracies are blended, with weights; empty: `validation_accuracy`, every source by its size."""

    @rule
    def sources_are_unique(self) -> None:
        """Two weights for one source cannot both hold."""
        _check_unique(self.sources)


class ValidationDropped(SpecModel):
    """Fires when validation accuracy lies below its best since the last reset."""

    below_best: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Distance below the best accuracy since the last reset (accuracy, 0 to 1)."""
    validations: Annotated[int, Field(ge=1, le=1000)] = DEFAULT_DROP_VALIDATIONS
    """How many validations in a row."""
    confidence: Confidence | None = None
    """Set: the drop must also stand out from sampling noise, so that noise alone fires it between two resets with a
    probability of at most one minus this, however often it is looked at."""
    sources: _Sources = ()
    """Sources whose accuracies are blended, with weights; empty: `validation_accuracy`, every source by its size."""

    @rule(
        Cel("has(self.belowBest) || has(self.confidence)", "set `belowBest`, `confidence`, or both"),
    )
    def some_drop_is_meant(self) -> None:
        """Any validation below the best would be a drop otherwise."""
        if self.below_best is None and self.confidence is None:
            raise ValueError("set `belowBest`, `confidence`, or both")

    @rule
    def sources_are_unique(self) -> None:
        """Two weights for one source cannot both hold."""
        _check_unique(self.sources)


class Threshold(SpecModel):
    """Fires when a metric has been above or below a bound for some steps."""

    metric: MetricName
    """Of the learner's metrics, such as `entropy`, `kl_loss_share`, `gradient_norm` or `accuracy_sampled/<source>`; or
    `signals.<name>` of `spec.monitoring.signals`."""
    above: Annotated[float, Field(ge=-1e12, le=1e12)] | None = None
    """Every value must be above this."""
    below: Annotated[float, Field(ge=-1e12, le=1e12)] | None = None
    """Every value must be below this."""
    for_steps: Annotated[int, Field(ge=1, le=100_000)] = DEFAULT_FOR_STEPS
    """The newest steps that must all be so; one without a value is no evidence."""

    @rule(
        Cel("has(self.above) != has(self.below)", "set exactly one of `above` and `below`"),
    )
    def exactly_one_side(self) -> None:
        """Two sides are two triggers, or an `all`."""
        if (self.above is None) == (self.below is None):
            raise ValueError("set exactly one of `above` and `below`")

    @rule(
        Cel(
            f"(self.metric).startsWith('{SIGNAL_PREFIX}') || self.metric in {_PLAIN} || "
            f"((self.metric).contains('/') && (self.metric).split('/')[0] in {_BY_SOURCE})",
            "`metric` must be one of the learner's metrics (docs/resets.md lists them), `<metric>/<source>` for those "
            "that every source has, or `signals.<name>`; got {self.metric}",
        ),
    )
    def the_metric_exists(self) -> None:
        """A metric that nobody writes would never fire."""
        name, has_source, _ = self.metric.partition("/")
        if self.metric.startswith(SIGNAL_PREFIX):
            return
        metric = BY_NAME.get(name)
        if metric is None or metric not in _WATCHABLE or metric.by_source != bool(has_source):
            raise ValueError(_unknown(self.metric))


class Interval(SpecModel):
    """Fires after a fixed number of steps since the start or the last reset (ProRL v2: 200 to 500)."""

    every_steps: Annotated[int, Field(ge=1, le=1_000_000)]
    """Steps since the last reset, or since the start."""


class Condition(SpecModel):
    """One thing to look at. Exactly one kind."""

    kl_spike: KLSpike | None = None
    validation_stalled: ValidationStalled | None = None
    validation_dropped: ValidationDropped | None = None
    threshold: Threshold | None = None
    interval: Interval | None = None

    @property
    def watches_validation(self) -> bool:
        """Whether it looks at the validation accuracy."""
        is_on_it = self.threshold is not None and self.threshold.metric.startswith("validation_")
        return self.validation_stalled is not None or self.validation_dropped is not None or is_on_it

    @property
    def sources(self) -> frozenset[str]:
        """Sources whose validation it looks at by name."""
        named = {
            source.name
            for rule in (self.validation_stalled, self.validation_dropped)
            if rule
            for source in rule.sources
        }
        is_validated = self.threshold is not None and self.threshold.metric.startswith("validation_")
        return frozenset(named | ({self.metric_source} if is_validated and self.metric_source else set()))

    @property
    def metric_source(self) -> str | None:
        """The source that a metric's name ends in."""
        if self.threshold is None or self.threshold.metric.startswith(SIGNAL_PREFIX):
            return None
        return self.threshold.metric.partition("/")[2] or None

    @property
    def signal(self) -> str | None:
        """The job's own signal that it looks at."""
        if self.threshold is None or not self.threshold.metric.startswith(SIGNAL_PREFIX):
            return None
        return self.threshold.metric.removeprefix(SIGNAL_PREFIX)

    @property
    def watches_kl_term(self) -> bool:
        """Whether it looks at the KL's part in the loss, which is there with a coefficient alone."""
        if self.kl_spike is not None:
            return self.kl_spike.metric == "klLossShare"
        return self.threshold is not None and self.threshold.metric in ("kl_loss", "kl_loss_share")

    @property
    def watches_kl(self) -> bool:
        """Whether it looks at the KL itself."""
        is_spike = self.kl_spike is not None and self.kl_spike.metric == "kl"
        return is_spike or (self.threshold is not None and self.threshold.metric == "kl")

    def steps_needed(self, validation_every: int) -> int:
        """Return the fewest steps in which it can fire."""
        if self.kl_spike is not None:
            return self.kl_spike.window_steps + self.kl_spike.baseline
        if self.validation_stalled is not None:
            return self.validation_stalled.patience * validation_every
        if self.validation_dropped is not None:
            return self.validation_dropped.validations * validation_every
        if self.threshold is None:
            return 1
        if self.threshold.metric.startswith("validation_"):  # before training there is one
            return max(1, (self.threshold.for_steps - 1) * validation_every)
        return self.threshold.for_steps

    @rule(
        Cel(
            "[has(self.klSpike), has(self.validationStalled), has(self.validationDropped), has(self.threshold), "
            "has(self.interval)].exists_one(is_set, is_set)",
            "set exactly one of `klSpike`, `validationStalled`, `validationDropped`, `threshold` and `interval`",
        ),
    )
    def exactly_one_kind(self) -> None:
        """A condition that could mean two things means none."""
        if sum(kind is not None for kind in _kinds(self)) != 1:
            raise ValueError(
                "set exactly one of `klSpike`, `validationStalled`, `validationDropped`, `threshold` and `interval`"
            )


_Conditions = Annotated[tuple[Condition, ...], Field(min_length=2, max_length=4)]


class Trigger(SpecModel):
    """One named reason for a reset. Exactly one kind."""

    name: Name
    """Unique; stands in the record of every reset it causes."""
    max_resets: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Once it has caused so many resets it fires no more; unset: no bound."""
    kl_spike: KLSpike | None = None
    validation_stalled: ValidationStalled | None = None
    validation_dropped: ValidationDropped | None = None
    threshold: Threshold | None = None
    interval: Interval | None = None
    all: _Conditions | None = None
    """Fires when all of these do, in the same step."""
    any: _Conditions | None = None
    """Fires when one of these does."""

    @property
    def is_clear(self) -> bool:
        """Whether it is of exactly one kind."""
        return sum(kind is not None for kind in (*_kinds(self), self.all, self.any)) == 1

    @functools.cached_property
    def conditions(self) -> tuple[Condition, ...]:
        """What it looks at: those of `all` or `any`, or the one that it is."""
        if self.all is not None or self.any is not None:
            return (*(self.all or ()), *(self.any or ()))
        kinds = {name: kind for name in Condition.model_fields if (kind := getattr(self, name)) is not None}
        return tuple(Condition.model_construct(None, **{name: kind}) for name, kind in kinds.items())

    @property
    def watches_validation(self) -> bool:
        """Whether it looks at the validation accuracy."""
        return any(condition.watches_validation for condition in self.conditions)

    @rule(
        Cel(
            "[has(self.klSpike), has(self.validationStalled), has(self.validationDropped), has(self.threshold), "
            "has(self.interval), has(self.all), has(self.any)].exists_one(is_set, is_set)",
            "set exactly one of `klSpike`, `validationStalled`, `validationDropped`, `threshold`, `interval`, `all` "
            "and `any`",
        ),
    )
    def exactly_one_kind(self) -> None:
        """A trigger that could mean two things means none."""
        if not self.is_clear:
            raise ValueError(
                "set exactly one of `klSpike`, `validationStalled`, `validationDropped`, `threshold`, `interval`, "
                "`all` and `any`"
            )

    @rule(
        Cel(
            "!has(self.all) || !self.all.exists(low, has(low.threshold) && has(low.threshold.above) && "
            "self.all.exists(high, has(high.threshold) && has(high.threshold.below) && "
            "high.threshold.metric == low.threshold.metric && low.threshold.above >= high.threshold.below))",
            "`all` wants one metric above a bound and below a lower one, and can never fire; swap the bounds, or use "
            "`any`",
        ),
        Cel(
            "!has(self.any) || !self.any.exists(low, has(low.threshold) && has(low.threshold.above) && "
            "self.any.exists(high, has(high.threshold) && has(high.threshold.below) && "
            "high.threshold.metric == low.threshold.metric && low.threshold.above < high.threshold.below))",
            "`any` wants one metric above a bound or below a higher one, and fires always; swap the bounds, or use "
            "`all`",
        ),
    )
    def bounds_leave_a_choice(self) -> None:
        """Two bounds on one metric that nothing meets, or that everything meets, are a mistake."""
        for metric, above, below in _bound_pairs(self.all or ()):
            if above >= below:
                raise ValueError(
                    f"`all` wants {metric} above {above:g} and below {below:g}, and can never fire; swap "
                    "the bounds, or use `any`"
                )
        for metric, above, below in _bound_pairs(self.any or ()):
            if above < below:
                raise ValueError(
                    f"`any` wants {metric} above {above:g} or below {below:g}, and fires always; swap the "
                    "bounds, or use `all`"
                )


def _kinds(holder: Condition | Trigger) -> tuple[SpecModel | None, ...]:
    return (
        holder.kl_spike,
        holder.validation_stalled,
        holder.validation_dropped,
        holder.threshold,
        holder.interval,
    )


def _bound_pairs(conditions: tuple[Condition, ...]) -> Iterator[tuple[str, float, float]]:
    """Yield the metric, a bound to be above and one to be below, for every two such bounds on one metric."""
    thresholds = [condition.threshold for condition in conditions if condition.threshold is not None]
    for low in thresholds:
        for high in thresholds:
            if low.above is not None and high.below is not None and low.metric == high.metric:
                yield low.metric, low.above, high.below


def _unknown(metric: str) -> str:
    wanted = [*_PLAIN, *(f"{name}/<source>" for name in _BY_SOURCE)]
    near = difflib.get_close_matches(metric, wanted, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return (
        "`metric` must be one of the learner's metrics (docs/resets.md lists them), `<metric>/<source>` for those that "
        f"every source has, or `signals.<name>`; got {metric}{hint}"
    )


DEFAULT_TRIGGERS = (
    Trigger(name="kl-spike", kl_spike=KLSpike(deviations=3.25, window_steps=3)),
    Trigger(name="validation-dropped", validation_dropped=ValidationDropped(validations=2, confidence=0.95)),
    Trigger(name="interval", interval=Interval(every_steps=200)),
)
"""Why these: docs/resets.md."""
