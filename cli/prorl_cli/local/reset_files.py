"""Reset records as files: `resets/<name>.json`, one each, never deleted.

The body, and commands such as `prorl resets approve` beside it, change them under one lock, each reading anew before
it writes, so that no approval is lost to a concurrent update. Numbers never decrease because files stay.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from prorl_api.resets import ResetRecord
from prorl_api.run_folder import RunFolder
from prorl_api.wire.learner import ResetCommand, ResetOutcome, ResetState
from prorl_api.wording import reason_of
from prorl_cli.errors import RunFolderError, storage_error
from prorl_cli.local.files import read_lines, reading, write_atomically


class ResetFiles:
    """The records of one run."""

    def __init__(self, run: RunFolder) -> None:
        self._folder = run.resets

    def read(self) -> tuple[ResetRecord, ...]:
        """Return all records by number.

        Raises:
            RunFolderError: A file is damaged, or cannot be read: guessing could apply a reset twice.
        """
        try:
            with reading(self._folder):
                names = os.listdir(self._folder)
        except FileNotFoundError:
            return ()
        paths = (self._folder / name for name in names if name.endswith(".json") and not name.startswith("."))
        return tuple(sorted((_read(path) for path in paths), key=lambda record: record.number))

    def get(self, name: str) -> ResetRecord:
        """Return one record.

        Raises:
            RunFolderError: There is none of that name.
        """
        records = self.read()
        found = next((record for record in records if record.name == name), None)
        if found is None:
            known = ", ".join(record.name for record in records) or "none yet"
            raise RunFolderError(f"no reset is called {name}; this run has {known}")
        return found

    def create(self, build: Callable[[int], ResetRecord]) -> ResetRecord:
        """Store a new record under the next free number."""
        with self._locked():
            number = 1 + max((record.number for record in self.read()), default=0)
            record = build(number)
            self._write(record, exclusive=True)
            return record

    def update(self, name: str, change: Callable[[ResetRecord], ResetRecord]) -> ResetRecord:
        """Read one record, change it, write it if it differs; the record as it stands then."""
        with self._locked():
            before = self.get(name)
            after = change(before)
            if after != before:
                self._write(after, exclusive=False)
            return after

    def _write(self, record: ResetRecord, *, exclusive: bool) -> None:
        path = self._folder / f"{record.name}.json"
        try:
            write_atomically(path, record.model_dump_json(indent=2), exclusive=exclusive)
        except OSError as error:
            raise storage_error(error, path) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise storage_error(error, self._folder) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def intended_resets(reset_log: Path) -> list[ResetOutcome]:
    """Return what a learner that has succeeded applied: its last checkpoint contains every reset that it intended."""
    outcomes = []
    for line in read_lines(reset_log, "event", "step", "command"):
        command = ResetCommand.model_validate(line["command"])
        outcomes.append(
            ResetOutcome(
                uid=command.uid,
                name=command.name,
                state=ResetState.APPLIED,
                applied_step=line["step"],
                digest_before=line.get("digest_before"),
                digest_after=line.get("digest_after"),
                source=command.source,
                optimizer=command.optimizer,
                trigger=command.trigger,
            )
        )
    return outcomes


def _read(path: Path) -> ResetRecord:
    try:
        with reading(path):
            return ResetRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise RunFolderError(
            f"{path} is damaged: {reason_of(error)}; correct it, or move it away to forget this reset"
        ) from error
