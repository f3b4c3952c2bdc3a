"""The job's spec as it holds now: read at start, and looked at again between two steps.

A body that takes up an edited manifest replaces the file; only fields marked `live` and `step-boundary` are taken from
it here. The rest holds from the next attempt on.
"""

from __future__ import annotations

import logging
from pathlib import Path

from prorl_api.errors import SpecError
from prorl_api.manifest import read_job
from prorl_api.spec.edits import changes, taken_up
from prorl_api.spec.job import ProRLJob, ProRLJobSpec

_logger = logging.getLogger(__name__)


class LiveSpec:
    """Holds the spec of one attempt."""

    def __init__(self, path: Path) -> None:
        """Read the manifest at `path`.

        Raises:
            SpecError: It is not valid.
        """
        self._path = path
        self._seen = path.read_bytes()
        self._job = read_job(path)
        self._engine_tokens = self._job.spec.max_sequence_tokens

    @property
    def spec(self) -> ProRLJobSpec:
        """The spec as it holds now."""
        return self._job.spec

    @property
    def job(self) -> ProRLJob:
        """The whole job as it holds now."""
        return self._job

    @property
    def qualified_name(self) -> str:
        """The job's `namespace/name`, or its name where it has no namespace."""
        metadata = self._job.metadata
        return f"{metadata.namespace}/{metadata.name}" if metadata.namespace else metadata.name

    def refresh(self) -> bool:
        """Take up what has changed in the file, and tell whether anything did.

        A fault in it is logged once and changes nothing.
        """
        try:
            content = self._path.read_bytes()
        except OSError as error:
            _logger.warning("the manifest cannot be read: %s; going on as before", error)
            return False
        if content == self._seen:
            return False
        self._seen = content
        try:
            job = taken_up(self._job, read_job(self._path), engine_tokens=self._engine_tokens)
        except SpecError as error:
            _logger.warning("going on without the edited manifest: %s", error)
            return False
        for change in changes(self._job, job):
            _logger.info("taken up: %s", change)
        is_new, self._job = job != self._job, job
        return is_new
