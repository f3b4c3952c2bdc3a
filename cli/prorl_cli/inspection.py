"""What `prorl validate` and `prorl status` say. Reads, never writes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Container, Sequence
from typing import Any

from prorl_api.errors import SpecError
from prorl_api.manifest import read_job
from prorl_api.metrics import surviving
from prorl_api.reset_manifest import ResetManifest
from prorl_api.resets import ResetCondition
from prorl_api.run_folder import RunFolder
from prorl_api.spec.data import DataSource
from prorl_api.spec.job import ProRLJob
from prorl_api.spec.triggers import Trigger
from prorl_api.status import Condition, ConditionStatus, ConditionType
from prorl_cli.durations import duration
from prorl_cli.local.files import METRICS_KEYS, read_lines
from prorl_cli.local.folder import is_driven, read_status
from prorl_cli.local.job import LocalJob
from prorl_cli.local.reset_files import ResetFiles
from prorl_cli.local.unjudged import unjudged_text
from prorl_cli.local.view import STEPS_FOR_PACE, step_seconds, truncation_text, warnings
from prorl_cli.looking import Looked
from prorl_cli.program import command
from prorl_cli.speed import SAMPLED, sampled_per_second
from prorl_control.advice import Advice, advise_on
from prorl_control.notices import notices
from prorl_control.plan import plan
from prorl_control.resets.words import described


def describe_job(job: LocalJob) -> str:
    """Return what would run here."""
    spec = job.effective.spec
    run_plan = plan(job.effective)
    learner, rollout, resets = spec.learner, spec.rollout, spec.reference_reset
    names = ", ".join(_source(source) for source in spec.data.sources)
    triggers = ", ".join(trigger.name for trigger in resets.triggers) or "none"
    lines = [
        f"{job.effective.metadata.name} is valid and can run here:",
        f"  model       {spec.model.path}",
        f"  data        {names}",
        f"  learner     {run_plan.learner_ranks} process(es), engine {learner.engine.value}, {learner.precision.value}",
        f"  rollout     {run_plan.num_rollout_servers} server(s), {rollout.dtype.value}, up to "
        f"{spec.max_sequence_tokens} tokens",
        f"  sandbox     {run_plan.num_sandboxes} with {spec.sandbox.workers} workers",
        f"  schedule    {spec.schedule.total_steps} steps of {learner.prompts_per_step} prompts x {learner.group_size} "
        f"completions, {learner.prompts_per_step // learner.minibatch_prompts} optimizer step(s) each",
        f"  resets      {resets.mode.value}; triggers: {triggers}",
        *(f"              {_trigger(trigger)}" for trigger in resets.triggers),
        *notice_lines(job.accepted),
    ]
    return "\n".join(lines)


def notice_lines(job: ProRLJob) -> list[str]:
    """Return what the manifest sets that cannot take effect in its run."""
    return [f"  notice      {notice}" for notice in notices(job.spec)]


def describe_looked(looked: Looked) -> str:
    """Return what was looked at, and what was not."""
    parts = {"takes": looked.forecast, "checked": looked.checked, "not checked": looked.unchecked}
    lines = [
        f"  {name if number == 0 else '':<12}{text}"
        for name, texts in parts.items()
        for number, text in enumerate(texts)
    ]
    return "\n".join([*(f"  notice      {notice}" for notice in looked.notices), *lines])


def describe_cluster_job(job: ProRLJob) -> str:
    """Return what would run in a cluster, and what only the cluster can tell."""
    spec, run_plan = job.spec, plan(job)
    lines = [
        f"{job.metadata.name} is valid for a cluster:",
        f"  learner     {spec.learner.replicas} pod(s) of {spec.learner.processes_per_replica} rank(s)",
        f"  rollout     {run_plan.num_rollout_servers} pod(s)",
        f"  sandbox     {run_plan.num_sandboxes} pod(s)",
        f"  runs on     volume {spec.checkpoint.volume}",
        "  not checked what lies on the volumes: model and data are judged when the learner starts; whether claims,",
        "              runtime classes and quota are there: the job's conditions say so",
        *notice_lines(job),
    ]
    return "\n".join(lines)


def describe_reset(reset: ResetManifest) -> str:
    """Return what a reset that a person writes would do."""
    spec = reset.spec
    taken = {"source": spec.source, "optimizer": spec.optimizer}
    how = "; ".join(f"{name} {value.value if value else 'as the job says'}" for name, value in taken.items())
    when = "at the next step" if spec.apply_at_step is None else f"after step {spec.apply_at_step}"
    waits = "" if spec.approved else "; it waits for `approved: true`"
    return "\n".join(
        [
            f"{reset.metadata.name} is a valid ProRLReset:",
            f"  asks        job {spec.job_name} to reset its reference {when}: {how}{waits}",
            "  not checked whether that job is there: the API server takes the object, the operator answers in it",
            "  on one machine: prorl resets request RUN",
        ]
    )


def describe_run(run: RunFolder) -> str:
    """Return where a run stands, from its folder alone."""
    status = read_status(run)
    if status is None:
        if run.status.exists():
            return f"{run.path}: its status.json is damaged, or of another version; `prorl run` writes it anew"
        return f"{run.path}: accepted, not started yet"
    driven = is_driven(run)
    age = duration(max(0.0, time.time() - status.updated))
    advice = () if driven else _advice(run)
    lines = [
        f"{run.path}: {'running' if driven else 'not running'}, seen {age} ago",
        f"  step        {status.step}/{status.total_steps}" + (f", stage {status.stage}" if status.stage else ""),
        f"  attempt     {status.attempt}; restarts: {_restarts(status.restarts)}",
        f"  checkpoint  {'none yet' if status.last_checkpoint_step is None else f'step {status.last_checkpoint_step}'}",
        f"  held-out    {_rounded(status.last_accuracy, 3)};  KL {_rounded(status.last_kl, 4)}",
        *_progress(run, lines_of(run), status.total_steps, status.step, {one.name for one in advice}),
        f"  resets      {_resets(run)}",
    ]
    for condition in status.conditions:
        # What an ended body last saw of its members says nothing about now.
        if not driven and not _still_holds(condition):
            continue
        mark = {ConditionStatus.TRUE: "yes", ConditionStatus.FALSE: "no"}.get(condition.status, "unknown")
        lines.append(f"  {condition.type.value:<16} {mark:<8} {condition.reason}: {condition.message}".rstrip(": "))
    if not driven and _ended_unsaid(status.conditions):
        lines.append("  ended       nobody wrote why: `prorl run` was killed, or the machine went down")
    lines += [f"  advice      {one.text}" for one in advice]
    if not driven and not _has_succeeded(status.conditions):
        lines.append(f"  resume      `{command('run', run.manifest, '--run-dir', run.path)}` resumes it")
    return "\n".join(lines)


def _rounded(text: str, digits: int) -> str:
    """Return a figure with as many digits as the console and the report show of it."""
    try:
        return f"{float(text):.{digits}f}"
    except ValueError:
        return text or "unknown"


def _advice(run: RunFolder) -> tuple[Advice, ...]:
    """Return what the lines of a run that is not running say; of one that runs, its condition `Healthy` says more."""
    try:
        spec = read_job(run.effective_manifest).spec
    except SpecError:  # of another version, or not begun
        return ()
    return advise_on(spec, lines_of(run))


def lines_of(run: RunFolder) -> list[dict[str, Any]]:
    """Return the surviving timeline of a run."""
    return surviving(read_lines(run.metrics, *METRICS_KEYS))


def _progress(
    run: RunFolder, lines: Sequence[dict[str, Any]], total_steps: int, step: int, advised: Container[str]
) -> list[str]:
    """Return what the console shows while a run goes on, from its lines; what advice says already is no warning."""
    if not lines:
        return []
    newest = lines[-1]
    found = []
    rewards = [f"{newest['reward_mean']:.3f}"] if newest.get("reward_mean") is not None else []
    rewards += _by_source(newest, "accuracy_sampled", "solved of")
    if rewards:
        found.append(f"  reward      {', '.join(rewards)}")
    validated: dict[str, Any] = next(
        (line for line in reversed(lines) if line.get("validation_accuracy") is not None), {}
    )
    if by_source := _by_source(validated, "validation_source_accuracy", "held-out of"):
        found.append(f"  by source   {', '.join(by_source)} (step {validated['step']})")
    if newest.get("completion_length") is not None:
        cut = truncation_text(newest)
        found.append(f"  length      {newest['completion_length']:.0f} tokens{cut and f', {cut}'}")
    if text := unjudged_text(run, lines):
        found.append(f"  unjudged    {text}")
    if seconds := step_seconds(lines):
        pace = sampled_per_second(lines[-STEPS_FOR_PACE:])
        usual = statistics.fmean(seconds[-STEPS_FOR_PACE:])
        left = f", about {duration(usual * (total_steps - step))} left" if step < total_steps else ""
        speed = "" if pace is None else f", {pace:,.0f} {SAMPLED}"
        so_far = f"{duration(sum(seconds))} in steps so far"
        found.append(f"  speed       {duration(usual)} a step{speed}; {so_far}{left}")
    return [*found, *(f"  warning     {warning}" for kind, warning in warnings(lines) if kind not in advised)]


def _by_source(line: dict[str, Any], metric: str, what: str) -> list[str]:
    values = {name.partition("/")[2]: value for name, value in line.items() if name.startswith(f"{metric}/")}
    return [f"{what} {source} {value:.3f}" for source, value in values.items()]


def _still_holds(condition: Condition) -> bool:
    """Tell whether a condition that an ended body wrote last says something about now."""
    if condition.type is ConditionType.SUCCEEDED:
        return condition.status is not ConditionStatus.UNKNOWN
    return condition.type is ConditionType.SUSPENDED and condition.status is ConditionStatus.TRUE


def _ended_unsaid(conditions: tuple[Condition, ...]) -> bool:
    """Tell whether a body that is gone said neither that it had ended nor that it was stopped."""
    return not any(_still_holds(condition) for condition in conditions)


def _has_succeeded(conditions: object) -> bool:
    assert isinstance(conditions, tuple)
    return any(item.type is ConditionType.SUCCEEDED and item.status is ConditionStatus.TRUE for item in conditions)


def _restarts(restarts: dict[str, int]) -> str:
    return ", ".join(f"{role} {count}" for role, count in restarts.items() if count) or "none"


def _resets(run: RunFolder) -> str:
    records = ResetFiles(run).read()
    counts = {condition: sum(record.condition is condition for record in records) for condition in ResetCondition}
    return ", ".join(f"{count} {condition.value}" for condition, count in counts.items() if count) or "none"


def _source(source: DataSource) -> str:
    return f"{source.name} ({source.generator or source.jsonl})"


def _trigger(trigger: Trigger) -> str:
    if trigger.all is not None or trigger.any is not None:
        return f"{trigger.name}: {described(trigger)}"
    given = trigger.model_dump(by_alias=True, exclude_none=True, exclude={"name", "max_resets"})
    kind, rule = next(iter(given.items()))
    fields = ", ".join(f"{name} {value}" for name, value in rule.items() if value != ())
    return f"{trigger.name}: {kind} {fields}"
