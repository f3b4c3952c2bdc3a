"""The manifest's main settings with the values that held, defaults and the one-machine overlay included. Pure."""

from __future__ import annotations

from contextlib import suppress

from prorl_api.errors import SpecError
from prorl_api.spec.algorithm import AlgorithmSpec
from prorl_api.spec.data import DataSource
from prorl_api.spec.job import ProRLJob, ProRLJobSpec
from prorl_api.spec.merge import on_one_machine
from prorl_api.spec.values import EngineKind, LengthPenalty, MismatchCorrection
from prorl_control.resets.words import described

Settings = dict[str, dict[str, str]]
"""Group to label to value."""


def main_settings(job: ProRLJob, *, is_local: bool) -> Settings:
    """Return the settings that a reader asks for first; the manifest has the rest.

    Args:
        job: As accepted.
        is_local: Whether the run was driven on one machine, where `spec.local` holds.
    """
    spec = as_it_ran(job, is_local=is_local).spec
    return {
        "Model and data": _data(spec),
        "Sampling": _sampling(spec),
        "Learner": _learner(spec),
        "Algorithm": _algorithm(spec.algorithm),
        "Reference resets": _resets(spec),
        "Schedule": _schedule(spec),
    }


def as_it_ran(job: ProRLJob, *, is_local: bool) -> ProRLJob:
    """Return the job with `spec.local` applied, if it was driven on one machine."""
    if is_local:
        # Refused: `prorl run` would not have started it, so it is a cluster's run that somebody copied.
        with suppress(SpecError):
            return on_one_machine(job)
    return job


def _data(spec: ProRLJobSpec) -> dict[str, str]:
    begun = {} if spec.init_from is None else {"continues": f"{spec.init_from.run}, {spec.init_from.checkpoint}"}
    sources = {f"source {source.name}": _source(source) for source in spec.data.sources}
    return {"model": spec.model.path, **begun, **sources, "seed": str(spec.seed)}


def _source(source: DataSource) -> str:
    return f"{source.generator or source.jsonl} ({source.domain}, weight {source.weight:g})"


def _sampling(spec: ProRLJobSpec) -> dict[str, str]:
    rollout = spec.rollout
    return {
        "rollout servers": f"{rollout.replicas}, {rollout.dtype}",
        "temperature": f"{rollout.temperature:g}",
        "longest prompt": f"{rollout.max_prompt_tokens:,} tokens",
        "longest completion": f"{rollout.max_completion_tokens:,} tokens",
    }


def _learner(spec: ProRLJobSpec) -> dict[str, str]:
    learner, optimizer = spec.learner, spec.learner.optimizer
    zero = f", ZeRO stage {learner.deepspeed.zero_stage}" if learner.engine is EngineKind.DEEPSPEED else ""
    steps = learner.prompts_per_step // learner.minibatch_prompts
    return {
        "engine": f"{learner.engine}{zero}",
        "precision": str(learner.precision),
        "processes": str(learner.replicas * learner.processes_per_replica),
        "batch": f"{learner.prompts_per_step} prompts × {learner.group_size} completions",
        "optimizer steps a batch": str(steps),
        "learning rate": f"{optimizer.learning_rate:g}, {optimizer.warmup_steps} warm-up steps",
        "gradient clip": f"{optimizer.gradient_clip:g}",
    }


def _algorithm(algorithm: AlgorithmSpec) -> dict[str, str]:
    sampling, mismatch, length = algorithm.dynamic_sampling, algorithm.engine_mismatch, algorithm.length
    capped = "" if mismatch.correction is MismatchCorrection.NONE else f", cap {mismatch.cap:g}"
    stop = "" if length.stop_properly == 1.0 else f", truncated completions × {length.stop_properly:g}"
    return {
        "advantage": str(algorithm.advantage),
        "clip": f"1 − {algorithm.clip.low:g} to 1 + {algorithm.clip.high:g}",
        "loss": str(algorithm.loss_aggregation),
        "dynamic sampling": f"at most {sampling.max_rounds} rounds" if sampling.enabled else "off",
        "KL term": algorithm.kl.in_words,
        "engine mismatch": f"{mismatch.correction}{capped}",
        "length shaping": f"{'none' if length.penalty is LengthPenalty.NONE else length.penalty}{stop}",
    }


def _resets(spec: ProRLJobSpec) -> dict[str, str]:
    resets = spec.reference_reset
    triggers = {f"trigger {trigger.name}": described(trigger) for trigger in resets.triggers}
    return {
        "mode": str(resets.mode),
        "reference becomes": f"the {resets.source} policy",
        "optimizer": str(resets.optimizer),
        "cooldown": f"{resets.cooldown_steps} steps",
        **({"warm-up": f"{resets.warmup_steps} steps"} if resets.warmup_steps is not None else {}),
        **({"most resets": str(resets.max_resets)} if resets.max_resets is not None else {}),
        **triggers,
    }


def _schedule(spec: ProRLJobSpec) -> dict[str, str]:
    validation, checkpoint = spec.validation, spec.checkpoint
    how = "greedy" if validation.temperature == 0 else f"temperature {validation.temperature:g}"
    sizes = ", ".join(f"{source.size} of {source.name}" for source in validation.sources) or "every source"
    stages = {
        f"stage {stage.name}": ", ".join(
            [
                f"from step {stage.from_step}",
                *(
                    f"{name} {value}"
                    for name, value in stage.overrides.model_dump(by_alias=True, exclude_defaults=True).items()
                ),
            ]
        )
        for stage in spec.schedule.stages
    }
    return {
        "steps": f"{spec.schedule.total_steps:,}",
        **stages,
        "validation": f"every {validation.every_steps} steps, {validation.samples_per_prompt} × {sizes}, {how}",
        "checkpoint": f"every {checkpoint.every_steps} steps or {checkpoint.every_minutes:g} min",
    }
