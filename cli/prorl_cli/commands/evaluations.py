"""Commands that measure models: sample one, and say what training lost, gained and made new."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from prorl_cli.commands.options import Manifest
from prorl_cli.errors import errors_for_people
from prorl_cli.evaluation.kinds import Preset

Spans = Annotated[str, typer.Option(help="Lengths of spans by which novelty is measured, in words.")]


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
