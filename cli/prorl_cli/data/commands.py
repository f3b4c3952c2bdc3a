"""The `prorl data` commands: thin, each importing what it needs when it is called."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prorl_api.errors import ExitCode
from prorl_api.spec.values import Domain
from prorl_cli.errors import errors_for_people

if TYPE_CHECKING:
    from prorl_cli.data.check import CheckRequest
    from prorl_cli.data.findings import CheckReport

data_app = typer.Typer(help="Data files: judge them before a run, make them from published sets.", no_args_is_help=True)

DataFiles = Annotated[
    list[Path] | None, typer.Argument(help="JSONL files of one domain; none with --manifest.", show_default=False)
]


@data_app.command("check")
def check_data(
    files: DataFiles = None,
    domain: Annotated[Domain | None, typer.Option(help="Domain of the rows.", show_default=False)] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(help="Check the files of its sources, with their settings, and count tokens.", show_default=False),
    ] = None,
    reward: Annotated[
        str | None, typer.Option(help="Domain custom: module:function, the function that judges.", show_default=False)
    ] = None,
    against: Annotated[
        list[Path] | None, typer.Option(help="Evaluation file that no prompt may touch; may be repeated.")
    ] = None,
    min_share: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Share of an evaluation item's 13-word runs that counts as touching."),
    ] = 0.0,
    verify_share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of rows sent to a local reward sandbox; 0: none is started.")
    ] = 1.0,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Workers of that sandbox.")] = 2,
    near: Annotated[bool, typer.Option(help="Look for near-duplicates, too.")] = True,
    max_faults: Annotated[int, typer.Option(min=1, help="Findings of each kind that are named; all are counted.")] = 50,
    report: Annotated[Path | None, typer.Option(help="Write what was found as JSON, too.")] = None,
) -> None:
    """Check rows, duplicates, answers that verify against themselves, and overlap with evaluation sets."""
    from prorl_cli.data.check import CheckOptions, requests_of
    from prorl_cli.data.printing import print_report
    from prorl_cli.terminal import stdout_console

    options = CheckOptions(
        against=tuple(against or ()),
        min_share=min_share,
        verify_share=verify_share,
        workers=workers,
        finds_near=near,
        max_findings=max_faults,
    )
    with errors_for_people():
        requests = requests_of(options, tuple(files or ()), domain, reward, manifest)
        found = {name: _checked(request) for name, request in requests.items()}
        if report is not None:
            _write_report(found, report)
    console = stdout_console()
    for name, one in found.items():
        if name:
            console.print(f"source {name}:", markup=False, highlight=False)
        print_report(one, console)
    raise typer.Exit(ExitCode.FAILED if any(one.num_faults for one in found.values()) else ExitCode.OK)


@data_app.command("import")
def import_data(
    name: Annotated[str, typer.Argument(help="Which published set; `prorl data sets` lists them.", show_default=False)],
    source: Annotated[
        list[Path], typer.Argument(help="Its files: .jsonl, .json, .csv or .parquet.", show_default=False)
    ],
    output: Annotated[Path, typer.Option(help="The JSONL file to write.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Replace the output if it exists.")] = False,
) -> None:
    """Make a data file from a published set's own files."""
    from prorl_cli.data.importing import import_files, next_check, summary

    with errors_for_people():
        typer.echo(summary(import_files(name, source, output, replaces=force), output))
        typer.echo(next_check(name, output))


@data_app.command("sets")
def list_sets() -> None:
    """Return the published sets that can be imported."""
    from prorl_cli.data.importers import IMPORTERS

    for name, importer in IMPORTERS.items():
        typer.echo(f"{name:<18} {importer.domain.value:<22} {importer.description}")


def _checked(request: CheckRequest) -> CheckReport:
    """Check with a progress bar where a person watches."""
    from rich.progress import Progress

    from prorl_cli.data.check import check
    from prorl_cli.terminal import stderr_console

    console = stderr_console()
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        total = sum(path.stat().st_size for path in request.files if path.is_file())
        task = progress.add_task("checking", total=total)

        return check(request, lambda size: progress.advance(task, size), console.print)


def _write_report(found: Mapping[str, CheckReport], path: Path) -> None:
    import json

    from prorl_cli.errors import storage_error
    from prorl_cli.local.files import write_atomically

    reports = {name: one.as_json() for name, one in found.items()}
    try:
        write_atomically(path, json.dumps(reports.get("", {"sources": reports}), indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise storage_error(error, path, "--report") from error
