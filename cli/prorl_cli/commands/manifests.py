"""Commands about a manifest before it runs: write one, judge it, say what it would take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prorl_cli.commands.options import Assignments, Manifest, Model
from prorl_cli.errors import errors_for_people
from prorl_cli.program import command
from prorl_cli.starting.kinds import Kind


def init(
    kind: Annotated[
        Kind,
        typer.Argument(
            help="math: questions with one right answer; code: problems with tests; instructions: what can be checked "
            "about a text; own: a reward function of yours judges.",
            show_default=False,
        ),
    ],
    model: Annotated[str, typer.Option(help="Base model: a Hugging Face folder or name.", show_default=False)],
    output: Annotated[Path, typer.Option(help="The manifest to write.")] = Path("job.yaml"),
    data: Annotated[
        Path | None,
        typer.Option(
            help="Your file: questions with answers, or rows in our form, as .jsonl, .json, .csv or .parquet; default: "
            "a small one is written, too.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
) -> None:
    """Write a commented manifest to start from, with data and reward function where you give none."""
    from prorl_cli.local.job import load_local_job, model_argument
    from prorl_cli.starting.writing import InitRequest, write_start

    with errors_for_people():
        named = model_argument(model) or model
        request = InitRequest(kind=kind, output=output, model=named, data=data, replaces=force)
        written = write_start(request)
        for line in (*(f"wrote {path}" for path in written.files), written.import_summary):
            if line:
                typer.echo(line)
        load_local_job(output, None)
        for notice in written.notices:
            typer.echo(f"notice: {notice}")
    if kind is Kind.OWN:
        typer.echo("next: change the function `score` to what is right for you")
    checks = f"{command('data', 'check', '--manifest', output)}, {command('validate', output)}"
    typer.echo(f"next: {checks}, then {command('run', output)}")


def validate(
    manifest: Manifest,
    model: Model = None,
    assignments: Assignments = None,
    cluster: Annotated[bool, typer.Option("--cluster", help="Judge for a cluster instead of this machine.")] = False,
) -> None:
    """Judge a manifest, its model and its data: every fault at once, or what would run."""
    from prorl_api.errors import SpecError
    from prorl_api.manifest import ManifestFaults
    from prorl_api.reset_manifest import read_reset
    from prorl_cli.inspection import describe_cluster_job, describe_job, describe_looked, describe_reset
    from prorl_cli.local.job import load_cluster_job, model_argument, read_local_job
    from prorl_cli.looking import look, look_despite
    from prorl_cli.terminal import waiting

    with errors_for_people():
        if (reset := read_reset(manifest)) is not None:
            typer.echo(describe_reset(reset))
            return
        if cluster:
            typer.echo(describe_cluster_job(load_cluster_job(manifest, model, tuple(assignments or ()))))
            return
        folder = model_argument(model)
        try:
            job = read_local_job(manifest, folder, tuple(assignments or ()))
        except ManifestFaults as error:
            with waiting("looking at the model and the data"):
                raise SpecError([*error.faults, *look_despite(error, manifest, folder)], source=error.source) from error
        with waiting("looking at the model and the data"):
            looked = look(job.effective, manifest)
    typer.echo(describe_job(job))
    typer.echo(describe_looked(looked))


def plan_job(
    manifest: Manifest,
    model: Model = None,
    assignments: Assignments = None,
    cluster: Annotated[bool, typer.Option("--cluster", help="As in a cluster instead of on this machine.")] = False,
    parameters: Annotated[
        float | None, typer.Option(help="Parameters of the model where its folder is not here, such as 7.6e9.", min=1)
    ] = None,
    gpu_memory: Annotated[
        float | None, typer.Option(help="Memory of one GPU in GiB; default: this machine's, if it has one.", min=1)
    ] = None,
    prompt_tokens: Annotated[int | None, typer.Option(help="Mean length; default: the longest.", min=1)] = None,
    completion_tokens: Annotated[int | None, typer.Option(help="Mean length; default: the longest.", min=1)] = None,
    server_tokens: Annotated[
        float | None, typer.Option(help="Completion tokens a second of one rollout server.", min=0.001)
    ] = None,
    rank_positions: Annotated[
        float | None, typer.Option(help="Positions a second that one rank passes forward and backward.", min=0.001)
    ] = None,
    link_bytes: Annotated[
        float | None, typer.Option(help="Bytes a second at which a server gets weights.", min=1)
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="A run whose measured throughputs hold; default: runs/NAME, if there is one.")
    ] = None,
) -> None:
    """Say what a job would take before it runs: batches, tokens, memory, bytes, time, and what does not fit."""
    from prorl_cli.planning import PlanRequest, describe_plan
    from prorl_control.forecast.batches import Lengths
    from prorl_control.forecast.times import Throughput

    with errors_for_people():
        request = PlanRequest(
            manifest=manifest,
            model=model,
            assignments=tuple(assignments or ()),
            in_cluster=cluster,
            parameters=None if parameters is None else int(parameters),
            gpu_bytes=None if gpu_memory is None else int(gpu_memory * 2**30),
            lengths=Lengths(prompt=prompt_tokens, completion=completion_tokens),
            throughput=Throughput(server_tokens=server_tokens, rank_positions=rank_positions, link_bytes=link_bytes),
            run_dir=run_dir,
        )
        text, fits = describe_plan(request)
    typer.echo(text)
    raise typer.Exit(0 if fits else 1)
