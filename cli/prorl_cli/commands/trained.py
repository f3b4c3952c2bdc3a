"""Commands about the trained model: write it as a folder, ask it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prorl_cli.errors import errors_for_people

Checkpoint = Annotated[str, typer.Option(help="best (by held-out accuracy) | last | step-N.")]
BaseModel = Annotated[str | None, typer.Option("--model", help="The base model's folder, where the run's is gone.")]


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
