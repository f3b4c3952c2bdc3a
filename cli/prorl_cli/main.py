"""The `prorl` command: its subcommands in the order of `--help`."""

from __future__ import annotations

from typing import Annotated

import typer

from prorl_cli.commands import evaluations, manifests, runs, trained
from prorl_cli.commands.resets import resets_app
from prorl_cli.data.commands import data_app

app = typer.Typer(
    invoke_without_command=True,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def main_options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """Prolonged reinforcement learning for language models, on one machine."""
    if version:
        from importlib.metadata import version as version_of

        typer.echo(f"prorl {version_of('prorl')}")
        raise typer.Exit


app.command("ls")(runs.list_runs)
app.command()(runs.prune)
app.command()(manifests.init)
app.command()(runs.run)
app.command()(manifests.validate)
app.command("plan")(manifests.plan_job)
app.command()(runs.status)
app.command()(runs.report)
app.command()(runs.observe)
app.command()(evaluations.evaluate)
app.command()(evaluations.boundary)
app.command()(evaluations.novelty)
app.command()(runs.watch)
app.command()(trained.export)
app.command()(trained.chat)
app.add_typer(resets_app, name="resets")
app.add_typer(data_app, name="data")


def main() -> None:
    """Entry point of the `prorl` script."""
    app()
