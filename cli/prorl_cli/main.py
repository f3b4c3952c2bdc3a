"""The `prorl` command: thin commands, each importing what it needs when it is called."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from prorl_cli.data.commands import data_app
from prorl_cli.errors import errors_for_people
from prorl_cli.evaluation.kinds import Preset
from prorl_cli.program import command
from prorl_cli.starting.kinds import Kind

app = typer.Typer(
    invoke_without_command=True,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
resets_app = typer.Typer(help="Reference resets of a run.", no_args_is_help=True)
app.add_typer(resets_app, name="resets")
app.add_typer(data_app, name="data")

Manifest = Annotated[Path, typer.Argument(help="The ProRLJob manifest.", show_default=False)]
Run = Annotated[Path, typer.Argument(help="The run's folder.", show_default=False)]
Model = Annotated[str | None, typer.Option(help="Base model instead of the manifest's: a Hugging Face folder or name.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", help="path=value instead of the manifest's, such as learner.groupSize=16; may be repeated."),
]
LivePort = Annotated[
    int | None,
    typer.Option(help="As --live, on this port; 0: the one it had before, or any free one.", min=0, max=65535),
]
Checkpoint = Annotated[str, typer.Option(help="best (by held-out accuracy) | last | step-N.")]
BaseModel = Annotated[str | None, typer.Option("--model", help="The base model's folder, where the run's is gone.")]
Spans = Annotated[str, typer.Option(help="Lengths of spans by which novelty is measured, in words.")]
ResetName = Annotated[str, typer.Argument(help="Name of the reset, as `prorl resets list` shows it.")]


@app.callback()
def main_options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """Prolonged reinforcement learning for language models, on one machine."""
    if version:
        from importlib.metadata import version as version_of

        typer.echo(f"prorl {version_of('prorl')}")
        raise typer.Exit


@app.command("ls")
def list_runs(
    folder: Annotated[Path, typer.Argument(help="Folder that holds runs.")] = Path("runs"),
) -> None:
    """List the runs in a folder: where each stands, and the disk that it takes."""
    from prorl_cli.disk import describe_runs

    with errors_for_people():
        typer.echo(describe_runs(folder))


@app.command()
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


@app.command()
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


@app.command()
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


@app.command()
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


@app.command("plan")
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


@app.command()
def status(run: Run) -> None:
    """Return where a run stands."""
    from prorl_cli.inspection import describe_run
    from prorl_cli.local.folder import existing

    with errors_for_people():
        typer.echo(describe_run(existing(run)))


@app.command()
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


@app.command()
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


@app.command()
def evaluate(
    manifest: Manifest,
    output: Annotated[Path, typer.Option(help="Folder for the results.", show_default=False)],
    model: Annotated[str | None, typer.Option(help="Model instead of the manifest's: a folder or a hub name.")] = None,
    preset: Annotated[
        Preset, typer.Option(help="How ProRL samples: paper is 16 at 0.6 and 0.95, boundary 256.")
    ] = Preset.PAPER,
    samples: Annotated[
        int | None, typer.Option(help="Completions of each held-out item; default: the preset's.", min=1, max=1024)
    ] = None,
    file: Annotated[
        list[str] | None,
        typer.Option(help="SET=FILE: a published set that `prorl data import` wrote; may be repeated."),
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option(help="NAME or NAME=ITEMS; default: every source with held-out items.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="Default: the preset's.", min=0, max=5)] = None,
    top_p: Annotated[float | None, typer.Option(help="Default: the preset's.", min=0.001, max=1)] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest completion; default: the manifest's.", min=1)] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Log lines instead of a live display.")] = False,
) -> None:
    """Sample a model many times on held-out items and judge the samples; again to go on after a kill."""
    from prorl_cli.evaluation.evaluate import evaluate as run_evaluation
    from prorl_cli.evaluation.job import EvaluationRequest, read_sizes
    from prorl_cli.evaluation.presets import SAMPLINGS, read_files, sources_of
    from prorl_cli.local.job import model_argument
    from prorl_cli.terminal import stdout_console

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    sampling = SAMPLINGS[preset]
    with errors_for_people():
        request = EvaluationRequest(
            model=model_argument(model),
            samples=sampling.samples if samples is None else samples,
            temperature=sampling.temperature if temperature is None else temperature,
            top_p=sampling.top_p if top_p is None else top_p,
            sizes=read_sizes(source or []),
            max_completion_tokens=max_tokens,
            files=sources_of(read_files(file or [])),
        )
        code = run_evaluation(manifest, output, request, is_plain=plain, console=stdout_console())
    raise typer.Exit(code)


@app.command()
def boundary(
    base: Annotated[Path, typer.Argument(help="The base model's results.jsonl.", show_default=False)],
    checkpoints: Annotated[list[Path], typer.Argument(help="Results of trained models.", show_default=False)],
    k: Annotated[int | None, typer.Option(help="Samples of an item that count; default: all.", min=1, max=1024)] = None,
    corpus: Annotated[Path | None, typer.Option(help="Folder or file: show novelty against it, too.")] = None,
    spans: Spans = "5-11",
    page: Annotated[Path | None, typer.Option(help="Where to write one self-contained HTML page.")] = None,
    output: Annotated[Path | None, typer.Option(help="Where to write the same as JSON.")] = None,
) -> None:
    """Show what training lost and gained against the base model on the same items, with pass@k and intervals."""
    from prorl_cli.evaluation.boundary import BoundaryRequest, read_spans, show_boundary
    from prorl_cli.terminal import stdout_console

    with errors_for_people():
        request = BoundaryRequest(
            base=base,
            checkpoints=tuple(checkpoints),
            k=k,
            corpus=corpus,
            spans=read_spans(spans),
            page=page,
            output=output,
        )
        show_boundary(request, stdout_console())


@app.command()
def novelty(
    corpus: Annotated[Path, typer.Argument(help="Folder or file of text, or results of the base.", show_default=False)],
    results: Annotated[list[Path], typer.Argument(help="results.jsonl of evaluations, in order.", show_default=False)],
    spans: Spans = "5-11",
    output: Annotated[Path | None, typer.Option(help="Where to write the same as JSON.")] = None,
) -> None:
    """Show how new completions are against a corpus: creativity index, distinct n-grams, entropy of answers."""
    from prorl_cli.evaluation.boundary import read_spans, show_novelty
    from prorl_cli.terminal import stdout_console

    with errors_for_people():
        show_novelty(corpus, results, read_spans(spans), output, stdout_console())


@app.command()
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


@app.command()
def export(
    run: Annotated[str, typer.Argument(help="The run's folder; with --namespace a job's name.", show_default=False)],
    output: Annotated[str, typer.Option(help="The folder to write; it must not hold anything yet.")],
    checkpoint: Checkpoint = "best",
    model: BaseModel = None,
    push: Annotated[str | None, typer.Option(help="Then upload it to this repository of a hub, OWNER/NAME.")] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="RUN is a job in a cluster.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="In a cluster: create the Job, do not print it.")] = False,
    image: Annotated[str | None, typer.Option(help="In a cluster: learner's image; default: the newest's.")] = None,
    secret: Annotated[str | None, typer.Option(help="In a cluster: Secret with HF_TOKEN, for --push.")] = None,
) -> None:
    """Write a run's policy as a Hugging Face folder, which transformers and vLLM load."""
    from prorl_cli.terminal import waiting
    from prorl_cli.trained import ClusterOptions, export_anywhere

    cluster = ClusterOptions(namespace=namespace, should_apply=apply, image=image, secret=secret)
    with errors_for_people():
        with waiting("reading the run's weights and writing the model"):
            written = export_anywhere(run, output, checkpoint=checkpoint, model=model, push=push, cluster=cluster)
        typer.echo(written)


@app.command()
def chat(
    place: Annotated[
        Path, typer.Argument(help="A run's folder, or one that `prorl export` wrote.", show_default=False)
    ],
    prompt: Annotated[list[str] | None, typer.Option(help="Answer this and end; may be given several times.")] = None,
    checkpoint: Checkpoint = "best",
    source: Annotated[str | None, typer.Option(help="Prompt as for this source; default: the run's first.")] = None,
    system: Annotated[str | None, typer.Option(help="System message instead of the source's.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer; default: as in training.")] = None,
    temperature: Annotated[float, typer.Option(min=0.0, max=5.0, help="0 is greedy.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of sampling.")] = 0,
    model: BaseModel = None,
) -> None:
    """Ask a trained model, prompted as in training: in the terminal, from a pipe, or with --prompt."""
    from prorl_cli.chat import ChatRequest
    from prorl_cli.chat import chat as answer_questions

    request = ChatRequest(
        place=place, checkpoint=checkpoint, model=model, prompts=prompt or (), source=source, system=system,
        max_tokens=max_tokens, temperature=temperature, seed=seed,
    )  # fmt: skip
    with errors_for_people():
        answer_questions(request)


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


def main() -> None:
    """Entry point of the `prorl` script."""
    app()
