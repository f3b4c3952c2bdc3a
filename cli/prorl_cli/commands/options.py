"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Manifest = Annotated[Path, typer.Argument(help="The ProRLJob manifest.", show_default=False)]
Run = Annotated[Path, typer.Argument(help="The run's folder.", show_default=False)]
Model = Annotated[str | None, typer.Option(help="Base model instead of the manifest's: a Hugging Face folder or name.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", help="path=value instead of the manifest's, such as learner.groupSize=16; may be repeated."),
]
