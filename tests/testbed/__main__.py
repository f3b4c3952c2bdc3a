"""`python -m tests.testbed`: a cluster to work with by hand. The tests start their own."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from tests.testbed.build import build, folder_of
from tests.testbed.errors import TestbedError
from tests.testbed.kubeconfig import ADMIN_KUBECONFIG
from tests.testbed.modules import fetch_monitoring_definitions
from tests.testbed.network import MAX_NODES
from tests.testbed.packages import install_command, install_packages, missing_packages
from tests.testbed.processes import processes_of
from tests.testbed.teardown import end
from tests.testbed.tools import CACHE, TOOLS, version

if TYPE_CHECKING:
    from tests.testbed.node import Node

app = typer.Typer(
    help="A real Kubernetes control plane on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Name = Annotated[str, typer.Option(help="Which cluster, where there are several.")]


@contextmanager
def _errors_for_people() -> Iterator[None]:
    try:
        yield
    except TestbedError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


@app.command(name="build")
def build_tools() -> None:
    """Build what is not built yet: minutes the first time, nothing later."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with _errors_for_people():
        for tool in TOOLS:
            build(tool)
            typer.echo(f"{tool.name} {version(tool)} is ready")
        typer.echo(f"{fetch_monitoring_definitions()} are ready")


@app.command()
def packages(
    install: Annotated[bool, typer.Option(help="Install them, as root, instead of only naming them.")] = False,
) -> None:
    """Name the Debian packages that real nodes need and this machine lacks; exit code 1 if there are any."""
    missing = missing_packages()
    if not missing:
        typer.echo("everything that a real node needs is there")
        return
    command = install_command(missing)
    typer.echo(" ".join(command))
    if not install:
        raise typer.Exit(1)
    with _errors_for_people():
        install_packages(missing)


@app.command()
def up(
    name: Name = "default",
    fake_nodes: Annotated[
        int | None, typer.Option(min=0, help="Nodes that kwok plays; 2, or none beside real ones, unless given.")
    ] = None,
    nodes: Annotated[int, typer.Option(min=0, max=MAX_NODES, help="Real nodes, which need root.")] = 0,
    image: Annotated[
        list[str] | None, typer.Option(help="An image of buildah's store, by its full name, for all real nodes.")
    ] = None,
) -> None:
    """Start a cluster that stays until `down`."""
    # These load the Kubernetes client, seconds that the other commands can do without.
    from tests.testbed.control_plane import ControlPlane
    from tests.testbed.images import toolbox_image
    from tests.testbed.node import Node

    folder = _folder(name)
    references = image or []
    with _errors_for_people():
        if folder.exists():
            raise TestbedError(f"cluster {name} is there already: {_restart_advice(name)}")
        if references and not nodes:
            raise TestbedError(f"images ({', '.join(references)}) need a real node to hold them: give --nodes 1 too")
        cluster = ControlPlane(folder, real_nodes=nodes > 0)
        try:
            cluster.start()
            workers = [Node(cluster, f"node-{index}") for index in range(nodes)]
            for worker in workers:
                worker.start()
                worker.import_image(toolbox_image())
            for reference in references:
                _load(reference, workers)
            num_fake = fake_nodes if fake_nodes is not None else 0 if nodes else 2
            if num_fake:
                cluster.add_fake_nodes([f"fake-{index}" for index in range(num_fake)])
        except BaseException:
            cluster.close()
            raise
        cluster.abandon()
    typer.echo(
        f'{cluster.url} is up; to use it: eval "$({_command("env", name)})"; to end it: {_command("down", name)}'
    )


@app.command()
def down(name: Name = "default") -> None:
    """End a cluster and forget everything in it; it is no error if there is none."""
    folder = _folder(name)
    killed = end(folder)
    typer.echo(f"{killed} processes ended; cluster {name} is gone")


@app.command()
def status(name: Name = "default") -> None:
    """List a cluster's processes; exit code 1 if there are none."""
    processes = processes_of(_folder(name))
    if not processes:
        typer.echo(f"cluster {name} does not run; to start it: {_command('up', name)}")
        raise typer.Exit(1)
    for process in processes:
        megabytes = process.memory_info().rss / 2**20
        typer.echo(f"{Path(process.cmdline()[0]).name:<24} pid {process.pid:<8} {megabytes:6.0f} MiB")


@app.command()
def env(name: Name = "default") -> None:
    """Print shell commands that point kubectl, helm and every other client at a cluster."""
    kubeconfig = _folder(name) / ADMIN_KUBECONFIG
    with _errors_for_people():
        if not kubeconfig.exists():
            raise TestbedError(f"there is no cluster {name}; to start it: {_command('up', name)}")
    typer.echo(f"export KUBECONFIG={kubeconfig}")
    typer.echo(f"export PATH={os.pathsep.join(str(folder_of(tool)) for tool in TOOLS)}{os.pathsep}$PATH")


def _load(reference: str, workers: Sequence[Node]) -> None:
    """Hand a built image to all nodes."""
    from tests.testbed.images import built_image

    with TemporaryDirectory() as folder:
        archive = built_image(reference, Path(folder))
        for worker in workers:
            worker.import_image(archive)
    typer.echo(f"{reference} is on {', '.join(worker.name for worker in workers)}")


def _folder(name: str) -> Path:
    return CACHE / "clusters" / name


def _command(verb: str, name: str) -> str:
    return f".venv/bin/python -m tests.testbed {verb}" + ("" if name == "default" else f" --name {name}")


def _restart_advice(name: str) -> str:
    return f"use it ({_command('env', name)}), or end it first ({_command('down', name)})"


if __name__ == "__main__":
    app()
