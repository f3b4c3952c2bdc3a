"""`prorl.json` in an exported model's folder: where the model comes from, and how it was asked while it learnt.

Written by the export; `prorl chat` reads it, so that a model is asked as it was trained to be asked.
"""

from __future__ import annotations

from prorl_api.spec.data import PromptFormat
from prorl_api.wire.base import Count, WireModel

RECORD_FILE = "prorl.json"
"""Name of the record in the folder."""


class TrainedSource(WireModel):
    """One source of prompts that the model was trained on or measured with."""

    name: str
    """As in `spec.data.sources`."""
    prompt: PromptFormat
    """How a question becomes a prompt."""


class ExportRecord(WireModel):
    """Content of `RECORD_FILE`."""

    job: str
    """Name of the job."""
    run_uid: str = ""
    """The run's identity; empty where the folder did not say."""
    checkpoint: str
    """What was asked for: `best`, `last` or `step-N`."""
    step: Count
    """Training steps that the policy has seen."""
    accuracy: float | None = None
    """Held-out accuracy at that step, where it was measured."""
    base_model: str = ""
    """The model that training began with, as the manifest named it."""
    digest: str = ""
    """Of the weights as the run keeps them; empty for a checkpoint's own files."""
    sources: tuple[TrainedSource, ...] = ()
    """In the manifest's order; empty where the manifest was not there."""
    max_completion_tokens: Count | None = None
    """Longest completion that was sampled."""
    stop: tuple[str, ...] = ()
    """Strings that ended a completion."""
