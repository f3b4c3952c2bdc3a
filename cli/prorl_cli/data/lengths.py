"""Rows as a manifest's source takes them: the prompt that its settings make, and its tokens by the model's own."""

from __future__ import annotations

import statistics
from array import array
from pathlib import Path
from typing import Any

from prorl_api.data_lines import GoodLine
from prorl_api.errors import Fault, SpecError
from prorl_api.manifest import read_job
from prorl_api.model.folder import look_at
from prorl_api.spec.data import DataSource
from prorl_api.spec.job import ProRLJob
from prorl_api.spec.merge import on_one_machine
from prorl_cli.local.machine import with_absolute_paths


class SourceSettings:
    """One source with what it asks of a row; keeps the lengths of prompts."""

    def __init__(self, source: DataSource, job: ProRLJob, tokenizer: Any) -> None:
        """Take a source of a job whose paths are absolute; no tokenizer: lengths are not counted."""
        self.source = source
        self.limit = job.spec.rollout.max_prompt_tokens
        self.needed = source.held_out + job.spec.is_trained_on(source)
        self.lengths = array("Q")
        self._tokenizer = tokenizer

    def fault(self, line: GoodLine) -> Fault | None:
        """Name what keeps the source from using a row, by the learner's own code."""
        from prorl_trainer.data.jsonl_items import format_fault
        from prorl_trainer.data.rendering import TEMPLATE_FAILURES, render, tokenise

        if (found := format_fault(line, self.source.prompt)) is not None:
            return found
        if self._tokenizer is None:
            return None
        try:
            text = render(self._tokenizer, self.source.prompt, line.question)
        except TEMPLATE_FAILURES as error:
            got = f"a conversation that the chat template refuses: {str(error)[:200]}"
            return Fault(path=line.where, got=got, want="roles and order that the model's template takes")
        self.lengths.append(len(tokenise(self._tokenizer, self.source.prompt, text)))
        if self.lengths[-1] <= self.limit:
            return None
        want = f"at most spec.rollout.maxPromptTokens = {self.limit}"
        return Fault(path=line.where, got=f"a prompt of {self.lengths[-1]} tokens", want=want)

    def row_fault(self, rows: int) -> Fault | None:
        """Name a source that asks for more rows than its files hold."""
        if rows >= self.needed:
            return None
        want = f"at least {self.needed}: heldOut = {self.source.held_out}, and some to train on"
        return Fault(path=f"spec.data.sources[{self.source.name}].heldOut", got=f"{rows} rows", want=want)

    def as_json(self) -> dict[str, int] | None:
        """Return figures of the lengths, in tokens; None if none were counted."""
        if not self.lengths:
            return None
        ordered = sorted(self.lengths)
        return {
            "prompts": len(ordered),
            "shortest": ordered[0],
            "median": round(statistics.median(ordered)),
            "p95": ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)],
            "longest": ordered[-1],
            "limit": self.limit,
            "above": sum(length > self.limit for length in ordered),
        }


def sources_of(manifest: Path) -> list[SourceSettings]:
    """Return every source of files of a manifest.

    Raises:
        SpecError: The manifest or its model has faults, or it has no such source.
    """
    folder = manifest.resolve().parent
    job = with_absolute_paths(on_one_machine(read_job(manifest)), folder)
    tokenizer = _tokenizer(job)
    found = [SourceSettings(source, job, tokenizer) for source in job.spec.data.sources if source.jsonl is not None]
    if not found:
        want = "a source with `jsonl`; generated tasks are judged by `prorl validate`"
        raise SpecError([Fault(path="spec.data.sources", got="no files", want=want)], source=str(manifest))
    return found


def _tokenizer(job: ProRLJob) -> Any:
    path = Path(job.spec.model.path)
    if not path.is_absolute():
        return None  # a hub's name: `prorl validate` says whether it is to be had
    if faults := look_at(path).faults:
        raise SpecError(faults, source="the model")
    from prorl_trainer.model_folder import load_tokenizer
    from prorl_trainer.preflight import chat_faults
    from prorl_trainer.setup import quiet_libraries

    quiet_libraries()
    tokenizer = load_tokenizer(path)
    if refused := list(chat_faults(job.spec, tokenizer, path)):
        raise SpecError(refused, source="the model")
    return tokenizer
