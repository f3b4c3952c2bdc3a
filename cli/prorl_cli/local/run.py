"""One start of `prorl run`: folder, lock, leftovers, sockets, the supervisor, and what is said at the end."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from prorl_api.errors import ExitCode
from prorl_api.journalled import sampled_again
from prorl_api.manifest import read_job
from prorl_api.process.listen import address_of, bind
from prorl_api.run_folder import RunFolder
from prorl_api.run_identity import RunIdentity
from prorl_api.spec.values import Role
from prorl_cli.errors import INTERRUPTED, storage_error
from prorl_cli.local import folder, shared_memory, targets
from prorl_cli.local.environment import PROGRAMS, Surroundings, serves
from prorl_cli.local.gpus import GpuShares, assign_gpus, find_gpus, gpu_lines
from prorl_cli.local.inputs import digests_of
from prorl_cli.local.interrupts import Interrupts
from prorl_cli.local.job import LocalJob, kept_model, load_local_job, model_argument
from prorl_cli.local.leftovers import end_leftovers
from prorl_cli.local.live import LiveProgress
from prorl_cli.local.manifest_watch import ManifestWatch, write_effective
from prorl_cli.local.observer import checkpoint_step
from prorl_cli.local.plain import PlainProgress, Unbreakable
from prorl_cli.local.supervisor import Supervisor, SupervisorParts
from prorl_cli.program import command
from prorl_cli.watch.serving import beside_the_run
from prorl_control.decision import Outcome, OutcomeKind
from prorl_control.members import MemberKey
from prorl_control.notices import notices
from prorl_control.plan import RunPlan, plan

_MAX_LINES = 60
"""Of what the failing member said last that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What `prorl run` was asked for."""

    manifest: Path
    run_dir: Path | None = None
    model: str | None = None
    assignments: tuple[str, ...] = ()
    """`--set`, each `path=value`."""
    is_plain: bool = False
    programs: Mapping[Role, Sequence[str]] | None = None
    """Other programs than the real components, for tests."""
    has_report: bool = True
    """Close with the summary and the report."""
    resumed_by: str | None = None
    """The command that goes on with it; None: `prorl run`."""
    live_port: int | None = None
    """Port of the live page; 0: the one it had, or any free one; None: no page."""

    def folder(self, job_name: str) -> Path:
        """Return where the job of that name runs."""
        return self.run_dir or Path("runs") / job_name


def run_job(request: RunRequest, console: Console) -> int:
    """Run or resume a job to its end; the process exit code.

    Raises:
        ProRLError: The job cannot start here, or the run folder fails while it runs.
    """
    name = read_job(request.manifest, request.assignments).metadata.name
    run = RunFolder(request.folder(name).absolute())
    model = model_argument(request.model) or kept_model(run)
    job = load_local_job(request.manifest, model, request.folder, assignments=request.assignments)
    with Interrupts() as interrupts, folder.locked(run), contextlib.ExitStack() as kept:
        identity = _accept(run, job, model, console)
        run_plan = plan(job.effective)
        if folder.has_finished(run, run_plan.total_steps):
            _say_finished(run, run_plan, console)
            return ExitCode.OK
        gpus = assign_gpus(run_plan, find_gpus(os.environ))
        page_url = kept.enter_context(beside_the_run(run, request.live_port))
        _prepare(run, job, console)
        load = partial(
            load_local_job, request.manifest, identity.model, request.folder, assignments=request.assignments
        )
        watch = ManifestWatch(request.manifest, run, job, load, identity)
        outcome = _supervise(
            run=run,
            identity=identity,
            run_plan=run_plan,
            gpus=gpus,
            watch=watch,
            request=request,
            interrupts=interrupts,
            console=console,
            page_url=page_url,
        )
    is_suspended_by_spec = watch.effective.spec.suspend and not interrupts.count
    return _conclude(run, outcome, request, console, is_suspended_by_spec=is_suspended_by_spec)


def _accept(run: RunFolder, job: LocalJob, model: str | None, console: Console) -> RunIdentity:
    """Begin a new run, or take the manifest over into the one that is there."""
    identity = folder.read_identity(run)
    if identity is None:
        digests = digests_of(job.effective)
        return folder.begin(run, job.stored, manifest_folder=job.manifest_folder, model=model, digests=digests)
    now = identity.model_copy(update={"model": model, "manifest_folder": str(job.manifest_folder)})
    for change in folder.adopt_changes(run, identity, now, job.accepted, job.effective, job.stored):
        console.print(f"changed since the last start: {change}", markup=False, highlight=False)
    for text in sampled_again(run, job.effective.spec, checkpoint_step(run.current)):
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    return folder.read_identity(run) or now


def _prepare(run: RunFolder, job: LocalJob, console: Console) -> None:
    for notice in notices(job.accepted.spec):
        console.print(f"notice: {notice}", markup=False, highlight=False, soft_wrap=True)
    for name in end_leftovers(run.processes):
        console.print(f"ended a leftover of an earlier start: {name}", markup=False)
    try:
        run.logs.mkdir(exist_ok=True)
        write_effective(run, job.effective)
    except OSError as error:
        raise storage_error(error, run.path) from error


def _supervise(
    *,
    run: RunFolder,
    identity: RunIdentity,
    run_plan: RunPlan,
    gpus: GpuShares,
    watch: ManifestWatch,
    request: RunRequest,
    interrupts: Interrupts,
    console: Console,
    page_url: str | None,
) -> Outcome:
    is_plain = request.is_plain or not console.is_terminal
    progress = Unbreakable(PlainProgress(console) if is_plain else LiveProgress(console))
    progress.line(f"run folder: {run.path}")
    if page_url is not None:
        progress.line(f"live page: {page_url}")
    for text in gpu_lines(gpus, run_plan):
        progress.line(text)
    with _sockets(run_plan) as sockets, shared_memory.held(identity.uid) as shared, progress:
        around = Surroundings(
            run=run,
            run_uid=identity.uid,
            plan=run_plan,
            urls={key: f"http://{address_of(listening)}" for key, listening in sockets.items()},
            shared_memory=shared,
            token_key=secrets.token_bytes(32),
            inherited=dict(os.environ),
            gpus=gpus.visible,
        )
        parts = SupervisorParts(
            run=run,
            plan=run_plan,
            watch=watch,
            around=around,
            sockets=sockets,
            progress=progress,
            interrupts=interrupts,
            programs=request.programs or PROGRAMS,
        )
        with targets.listed(run, around.urls, job=run_plan.job_name, run_uid=identity.uid):
            return Supervisor(parts).run()


@contextlib.contextmanager
def _sockets(run_plan: RunPlan) -> Iterator[dict[MemberKey, socket.socket]]:
    """Open one listening socket a member, kept over restarts: addresses stay, and callers queue meanwhile."""
    with contextlib.ExitStack() as stack:
        yield {key: stack.enter_context(bind("127.0.0.1", 0)) for key in run_plan.members if serves(key)}


def _say_finished(run: RunFolder, run_plan: RunPlan, console: Console) -> None:
    text = (
        f"{run.path} has finished its {run_plan.total_steps} steps. To go on, raise spec.schedule.totalSteps and run "
        "the same command; to begin anew, choose another --run-dir."
    )
    console.print(
        text if run_plan.total_steps else f"{run.path} has finished its evaluation.",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _conclude(
    run: RunFolder, outcome: Outcome, request: RunRequest, console: Console, *, is_suspended_by_spec: bool
) -> int:
    """Say how it ended, and what can be done next."""
    if outcome.kind is OutcomeKind.SUCCEEDED:
        if request.has_report:
            conclude_report(run, console)
        return ExitCode.OK
    if outcome.kind is OutcomeKind.SUSPENDED and is_suspended_by_spec:
        text = "spec.suspend is true: nothing runs; set it to false and run the same command to go on"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
        return ExitCode.OK
    if outcome.kind is OutcomeKind.SUSPENDED:
        command = request.resumed_by or resume_command(request)
        text = f"stopped ({outcome.message}). The same command resumes: {command}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
        return INTERRUPTED
    message = outcome.message.removesuffix(outcome.quote)
    console.print(f"failed: {message}", markup=False, highlight=False, soft_wrap=True, style="red")
    if outcome.member is not None:
        log = run.logs / f"{outcome.member.name}.log"
        words = outcome.exit.termination_message if outcome.exit is not None else ""
        for line in words.splitlines()[-_MAX_LINES:]:
            console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
        console.print(f"the whole log: {log}", markup=False, highlight=False, soft_wrap=True)
    known = outcome.exit.known_code if outcome.exit is not None else None
    return known or ExitCode.FAILED


def resume_command(request: RunRequest) -> str:
    """Return the command line that continues the run."""
    parts = ["run", str(request.manifest)]
    if request.run_dir is not None:
        parts += ["--run-dir", str(request.run_dir)]
    for assignment in request.assignments:
        parts += ["--set", assignment]
    return command(*parts)


def conclude_report(run: RunFolder, console: Console) -> None:
    """Print the closing table and write the page; a fault in them does not turn a finished run into a failed one."""
    try:
        from prorl_cli.report import write_report
        from prorl_cli.report.summary import print_summary

        try:
            written = write_report(run)
        finally:  # the table names the page, and is worth printing without one
            print_summary(run, console)
        console.print(f"report: {written}", markup=False, highlight=False, soft_wrap=True)
    except Exception as error:  # noqa: BLE001 - a process edge: the run itself has succeeded
        again, why = command("report", run.path), f"{type(error).__name__}: {error}"
        text = f"the run has finished, but its report could not be made ({why}); try `{again}`"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
