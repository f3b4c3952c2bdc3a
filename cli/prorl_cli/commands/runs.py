"""Commands about run folders: start one, see where it stands, look at it, tidy it up."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from prorl_cli.commands.options import Assignments, Manifest, Model, Run
from prorl_cli.errors import errors_for_people

LivePort = Annotated[
    int | None,
    typer.Option(help="As --live, on this port; 0: the one it had before, or any free one.", min=0, max=65535),
]


def run(
    manifest: Manifest,
    run_dir: Annotated[Path | None, typer.Option(help="Run folder; default: runs/<job name>.")] = None,
    model: Model = None,
    assignments: Assignments = None,
    plain: Annotated[bool, typer.Option("--plain", help="Log lines instead of a live display.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Serve the report live on 127.0.0.1 and print its URL.")] = False,
    live_port: LivePort = None,
) -> None:
    """Run a job on this machine, or resume it: the same command does both."""
    from prorl_cli.local.run import RunRequest, run_job
    from prorl_cli.terminal import stdout_console

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    with errors_for_people():
        port = live_port if live_port is not None or not live else 0
        request = RunRequest(
            manifest=manifest,
            run_dir=run_dir,
            model=model,
            assignments=tuple(assignments or ()),
            is_plain=plain,
            live_port=port,
        )
        code = run_job(request, stdout_console())
    raise typer.Exit(code)


def status(run: Run) -> None:
    """Return where a run stands."""
    from prorl_cli.inspection import describe_run
    from prorl_cli.local.folder import existing

    with errors_for_people():
        typer.echo(describe_run(existing(run)))


def list_runs(
    folder: Annotated[Path, typer.Argument(help="Folder that holds runs.")] = Path("runs"),
) -> None:
    """List the runs in a folder: where each stands, and the disk that it takes."""
    from prorl_cli.disk import describe_runs

    with errors_for_people():
        typer.echo(describe_runs(folder))


def prune(
    run: Run,
    keep: Annotated[int, typer.Option(min=1, help="Newest checkpoints that stay.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")] = False,
) -> None:
    """Remove checkpoints and references that a run does not need to go on, to be exported or continued."""
    from prorl_cli.disk import prune_run
    from prorl_cli.local.folder import existing

    with errors_for_people():
        typer.echo(prune_run(existing(run), keep=keep, is_rehearsal=dry_run))


def report(
    runs: Annotated[list[Path], typer.Argument(help="A run's folder; several are compared.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option(help="Where to write the page; default: RUN/report.html, of several comparison.html.")
    ] = None,
) -> None:
    """Write a run's report, one self-contained HTML page, and print its summary; of several runs, a comparison."""
    from prorl_cli.report.commands import report_comparison, report_run
    from prorl_cli.terminal import stdout_console

    with errors_for_people():
        if len(runs) == 1:
            report_run(runs[0], output, stdout_console())
        else:
            report_comparison(runs, output or Path("comparison.html"), stdout_console())


def watch(
    run: Run,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0: any free one.", min=0, max=65535)] = 0,
) -> None:
    """Serve a run's report on 127.0.0.1, live while it goes on, until Ctrl-C."""
    from prorl_cli.report.loading import readable
    from prorl_cli.watch.serving import begin_watching, serve_until_ended

    with errors_for_people():
        folder = readable(run)
        listening, session = begin_watching(folder, port)
    typer.echo(f"live page: {session.url}\nCtrl-C ends it; the run is not touched")
    serve_until_ended(folder, listening, session)


def observe(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.", show_default=False)],
    port: Annotated[int, typer.Option(help="Port of Prometheus on 127.0.0.1.", min=1, max=65535)] = 9090,
    prometheus: Annotated[Path | None, typer.Option(help="The program; default: the one on the PATH.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder that keeps its samples; default: none does.")] = None,
) -> None:
    """Start a Prometheus over runs on this machine, with the alerts loaded, until Ctrl-C."""
    from prorl_cli.observe import observe as lines_of

    with errors_for_people():
        for line in lines_of(runs, program=prometheus, port=port, data=data):
            typer.echo(line)
