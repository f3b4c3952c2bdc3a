"""The `prorl resets` commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prorl_cli.commands.options import Run
from prorl_cli.errors import errors_for_people

resets_app = typer.Typer(help="Reference resets of a run.", no_args_is_help=True)

ResetName = Annotated[str, typer.Argument(help="Name of the reset, as `prorl resets list` shows it.")]


@resets_app.command("list")
def list_resets(run: Run) -> None:
    """Return every reset of a run, with its evidence and what came of it."""
    from prorl_cli.resets import print_records, records_of
    from prorl_cli.terminal import stdout_console

    with errors_for_people():
        print_records(records_of(run), stdout_console())


@resets_app.command("approve")
def approve_reset(run: Run, name: ResetName) -> None:
    """Approve a pending reset; the run applies it at its next step boundary."""
    from prorl_cli.resets import approve

    with errors_for_people():
        typer.echo(approve(run, name))


@resets_app.command("veto")
def veto_reset(run: Run, name: ResetName) -> None:
    """Refuse a pending reset."""
    from prorl_cli.resets import veto

    with errors_for_people():
        typer.echo(veto(run, name))


@resets_app.command("request")
def request_reset(
    run: Run,
    source: Annotated[str | None, typer.Option(help="current | best; default: as the manifest says.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="clear | keep; default: as the manifest says.")] = None,
) -> None:
    """Ask for a reset by hand."""
    from prorl_cli.resets import request

    with errors_for_people():
        typer.echo(request(run, source, optimizer))


@resets_app.command("replay")
def replay_resets(
    series: Annotated[
        Path,
        typer.Argument(help="A run's folder or a metrics.jsonl; with --prometheus the manifest.", show_default=False),
    ],
    manifest: Annotated[Path | None, typer.Argument(help="The ProRLJob manifest.", show_default=False)] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(help="Try values: cooldownSteps=50,100 or <trigger>.<kind>.<field>=2,3; may be repeated."),
    ] = None,
    prometheus: Annotated[str | None, typer.Option(help="Address of a Prometheus to read the series from.")] = None,
    job: Annotated[str | None, typer.Option(help="With --prometheus: NAMESPACE/NAME of the ProRLJob.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="With --prometheus: 2026-01-31T12:00:00Z.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="With --prometheus; default: now.")] = None,
    credentials: Annotated[
        Path | None,
        typer.Option(
            help="With --prometheus: a folder with token, or username and password; ca.crt.", show_default=False
        ),
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option(help="With --prometheus: a header, `X-Scope-OrgID: research`; may be repeated.")
    ] = None,
) -> None:
    """Print which resets a manifest's triggers would have proposed over a stored series."""
    from prorl_cli.resets import ReplayRequest, print_replay
    from prorl_cli.terminal import stdout_console

    with errors_for_people():
        request = ReplayRequest(
            series=series,
            manifest=manifest,
            sweeps=sweep or [],
            prometheus=prometheus,
            job=job,
            start=start,
            end=end,
            credentials=credentials,
            headers=header or [],
        )
        print_replay(request, stdout_console())
