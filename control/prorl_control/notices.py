"""What a manifest sets that cannot take effect in its run: said before it runs, and no reason not to run. Pure.

What contradicts itself is refused by the models' rules; here is what another length of the run would give an effect.
Only what somebody set is spoken of, and reset triggers, whose defaults are for long runs. An evaluation, without
steps, trains nothing and says nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel

from prorl_api.spec.job import ProRLJobSpec
from prorl_api.spec.merge import spec_at
from prorl_api.spec.triggers import DEFAULT_TRIGGERS, Condition, Trigger
from prorl_api.spec.values import EngineKind, MismatchCorrection, ResetMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One setting without effect."""

    path: str
    """Where, in the manifest's own spelling."""
    got: str
    effect: str
    """What does not happen because of it."""
    want: str
    """What would give it an effect."""

    def __str__(self) -> str:
        return f"{self.path}: got {self.got}: {self.effect}; {self.want}"


def notices(spec: ProRLJobSpec) -> tuple[Notice, ...]:
    """Return every setting that cannot take effect in the run that the manifest describes."""
    if spec.schedule.total_steps == 0:
        return ()
    parts = (_sources, _algorithm, _learner, _validation, _resets, _checkpoints)
    return tuple(notice for part in parts for notice in part(spec))


def _is_set(model: BaseModel, *names: str) -> bool:
    return any(name in model.model_fields_set for name in names)


def _sources(spec: ProRLJobSpec) -> Iterator[Notice]:
    for number, source in enumerate(spec.data.sources):
        where = f"spec.data.sources[{number}]"
        if source.generator is not None and _is_set(source, "held_out") and spec.validation.sources:
            effect = "`validation.sources` says which generated sources are validated, and on how many prompts"
            yield Notice(path=f"{where}.heldOut", got=str(source.held_out), effect=effect, want="remove it")
        if source.prompt.system and not source.prompt.chat:
            effect = "without a chat template there are no messages, and the prompt is the template's text alone"
            want = "put it into `template`, or leave `chat` on"
            yield Notice(path=f"{where}.prompt.system", got="a text with `chat: false`", effect=effect, want=want)


def _algorithm(spec: ProRLJobSpec) -> Iterator[Notice]:
    algorithm, total = spec.algorithm, spec.schedule.total_steps
    mismatch, kl, length = algorithm.engine_mismatch, algorithm.kl, algorithm.length
    if mismatch.correction is MismatchCorrection.NONE and _is_set(mismatch, "cap"):
        path, got = "spec.algorithm.engineMismatch.cap", f"{mismatch.cap:g} with `correction: none`"
        yield Notice(path=path, got=got, effect="nothing is weighted", want="remove it, or use `tis` or `icepop`")
    has_term = spec.measures_kl or any(stage.overrides.kl_coefficient for stage in spec.schedule.stages)
    if not has_term and _is_set(kl, "estimator", "log_ratio_clamp"):
        name = "estimator" if _is_set(kl, "estimator") else "logRatioClamp"
        effect = "the KL is not computed: its `coefficient` is 0 and no reset trigger watches it"
        want = "set a `coefficient`, or remove it"
        yield Notice(path=f"spec.algorithm.kl.{name}", got="a value", effect=effect, want=want)
    if length.off_steps is not None and length.on_steps is not None and length.on_steps >= total:
        got, effect = f"{length.off_steps} after `onSteps: {length.on_steps}`", "the term is on in every step"
        want = f"`onSteps` below `schedule.totalSteps` {total}"
        yield Notice(path="spec.algorithm.length.offSteps", got=got, effect=effect, want=want)


def _learner(spec: ProRLJobSpec) -> Iterator[Notice]:
    learner, total = spec.learner, spec.schedule.total_steps
    engines = {learner.engine, spec.local.learner.engine or learner.engine}
    if engines == {EngineKind.PLAIN} and _is_set(learner, "deepspeed"):
        effect = "DeepSpeed has no part in it"
        want = "remove it, or use `engine: deepspeed`"
        yield Notice(path="spec.learner.deepspeed", got="settings with `engine: plain`", effect=effect, want=want)
    warmup = learner.optimizer.warmup_steps
    if warmup >= (steps := _optimizer_steps(spec)):
        got, effect = str(warmup), f"the learning rate is never reached: the run takes at most {steps} optimizer steps"
        want = f"fewer of them, or more `schedule.totalSteps` than {total}"
        yield Notice(path="spec.learner.optimizer.warmupSteps", got=got, effect=effect, want=want)


def _optimizer_steps(spec: ProRLJobSpec) -> int:
    """Return the most that a run takes."""
    total = spec.schedule.total_steps
    starts = [1, *(stage.from_step for stage in spec.schedule.stages if stage.from_step > 1), total + 1]
    learners = {start: spec_at(spec, start).learner for start in starts}
    return sum(
        (end - start) * (learners[start].prompts_per_step // learners[start].minibatch_prompts)
        for start, end in itertools.pairwise(starts)
    )


def _validation(spec: ProRLJobSpec) -> Iterator[Notice]:
    validation, total, where = spec.validation, spec.schedule.total_steps, "spec.validation"
    if not spec.validated_sources:
        if validation.model_fields_set or spec.checkpoint.export_best:
            path = where if validation.model_fields_set else "spec.checkpoint.exportBest"
            got, effect = "settings, and no source with held-out rows", "nothing is validated, and no policy is best"
            yield Notice(path=path, got=got, effect=effect, want="set `heldOut` of a source, or remove them")
        return
    if _is_set(validation, "every_steps") and validation.every_steps > total:
        effect = f"no validation comes between the first and the last of {total} steps"
        want = f"at most {max(1, total - 1)} for one between; before and after the run there are two anyway"
        yield Notice(path=f"{where}.everySteps", got=str(validation.every_steps), effect=effect, want=want)
    if validation.temperature > 0:
        return
    greedy = "with `temperature: 0` (greedy)"
    if _is_set(validation, "samples_per_prompt") and validation.samples_per_prompt > 1:
        got, effect = f"{validation.samples_per_prompt} {greedy}", "all completions of a prompt are the same"
        want = "1, or a `temperature` above 0"
        yield Notice(path=f"{where}.samplesPerPrompt", got=got, effect=effect, want=want)
    if _is_set(validation, "top_p") and validation.top_p < 1:
        got, effect = f"{validation.top_p:g} {greedy}", "the likeliest token is taken in any case"
        yield Notice(path=f"{where}.topP", got=got, effect=effect, want="remove it, or a `temperature` above 0")


def _resets(spec: ProRLJobSpec) -> Iterator[Notice]:
    policy, total, where = spec.reference_reset, spec.schedule.total_steps, "spec.referenceReset"
    if policy.mode is ResetMode.DISABLED:
        if _is_set(policy, "triggers") and policy.triggers:
            got, effect = f"{len(policy.triggers)} with `mode: disabled`", "none of them proposes a reset"
            yield Notice(path=f"{where}.triggers", got=got, effect=effect, want="another `mode`, or remove them")
        return
    if not policy.triggers:
        return
    name, attribute = ("cooldownSteps", "cooldown_steps")
    if policy.warmup_steps is not None:
        name, attribute = ("warmupSteps", "warmup_steps")
    rest: int = getattr(policy, attribute)
    if rest >= total:
        got = f"{rest}" if _is_set(policy, attribute) else f"{rest}, the default"
        effect = f"no reset can happen in the {total} steps of the run, since no trigger fires in its first {rest}"
        want = (
            f"harmless in a short run; for resets in it, more `schedule.totalSteps`, or a first wait of its own "
            f"(`warmupSteps`) below {total}; `mode: disabled` where no reset is wanted"
        )
        yield Notice(path=f"{where}.{name}", got=got, effect=effect, want=want)
        return
    for number, trigger in enumerate(policy.triggers):
        if trigger not in DEFAULT_TRIGGERS:
            yield from _late(spec, trigger, f"{where}.triggers[{number}]")
        if trigger.max_resets is not None and trigger.max_resets > (policy.max_resets or trigger.max_resets):
            got, effect = str(trigger.max_resets), f"`referenceReset.maxResets` {policy.max_resets} ends them before"
            path, want = f"{where}.triggers[{number}].maxResets", f"at most {policy.max_resets}, or remove it"
            yield Notice(path=path, got=got, effect=effect, want=want)


def _late(spec: ProRLJobSpec, trigger: Trigger, where: str) -> Iterator[Notice]:
    """Yield the conditions that hold at the last step at the earliest."""
    total = spec.schedule.total_steps
    conditions = trigger.all or trigger.any
    groups = {"all": trigger.all, "any": trigger.any}
    group = next((name for name, found in groups.items() if found is not None), None)
    for number, condition in enumerate(conditions or trigger.conditions):
        field, need = _reach(condition, spec.validation.every_steps)
        if need < total:
            continue
        path = f"{where}.{group}[{number}].{field}" if group else f"{where}.{field}"
        effect = f"it cannot fire before the last of `schedule.totalSteps` {total}"
        want = f"fewer than {total} steps, or a longer run"
        yield Notice(path=path, got=f"a look back over {need} steps", effect=effect, want=want)


def _reach(condition: Condition, validation_every: int) -> tuple[str, int]:
    """Return the field that says how far back a condition looks, and the fewest steps in which it can hold."""
    if condition.interval is not None:
        return "interval.everySteps", condition.interval.every_steps
    fields = {
        "klSpike.windowSteps": condition.kl_spike,
        "validationStalled.patience": condition.validation_stalled,
        "validationDropped.validations": condition.validation_dropped,
        "threshold.forSteps": condition.threshold,
    }
    field = next(name for name, kind in fields.items() if kind is not None)
    return field, condition.steps_needed(validation_every)


def _checkpoints(spec: ProRLJobSpec) -> Iterator[Notice]:
    checkpoint, total = spec.checkpoint, spec.schedule.total_steps
    if _is_set(checkpoint, "every_steps") and checkpoint.every_steps > total:
        effect = f"the run of {total} steps writes one at its end, and every {checkpoint.every_minutes:g} minutes"
        want = f"at most {max(1, total - 1)} for one between"
        yield Notice(path="spec.checkpoint.everySteps", got=str(checkpoint.every_steps), effect=effect, want=want)
