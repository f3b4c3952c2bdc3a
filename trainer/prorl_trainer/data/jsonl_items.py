"""Rows of JSONL files, shuffled once by the seed; the first ones are held out.

Rows stay in their files: some hold megabytes of tests. What is kept of one is where it lies and a digest, so that a row
that has changed under a run is noticed.
"""

from __future__ import annotations

import glob
import hashlib
import random
import sys
from collections.abc import Callable, Set
from dataclasses import dataclass
from pathlib import Path

from prorl_api.data_lines import BadLine, GoodLine, Question, judge_line
from prorl_api.errors import Fault, SpecError
from prorl_api.jsonl import line_at, parse_object, raw_lines
from prorl_api.questions import question_digest
from prorl_api.row_faults import RowFaults
from prorl_api.spec.data import DataSource, PromptFormat
from prorl_api.wording import reason_of
from prorl_trainer.data.items import MAX_FAULTS, Item
from prorl_trainer.storage.prompt_store import FilesRecord

ALL_ROWS = sys.maxsize
FindFault = Callable[[GoodLine], Fault | None]
"""Says what is wrong with a row beside its form."""


@dataclass(frozen=True, slots=True)
class _Row:
    """Where a row lies."""

    file: str
    offset: int
    digest: bytes
    """sha256 of the line."""
    question: bytes
    """Digest of the question alone, normalised."""


class JsonlItems:
    """The rows of one source."""

    def __init__(
        self,
        source: DataSource,
        base: Path,
        seed: int,
        *,
        is_trained_on: bool,
        find_fault: FindFault,
        max_rows: int = ALL_ROWS,
    ) -> None:
        """Read and check every row.

        Args:
            source: With a `jsonl` path or glob.
            base: Folder that a relative path starts from.
            seed: Of the shuffle.
            is_trained_on: Whether rows beside the held-out ones are needed.
            find_fault: Judges a row that its domain accepts.
            max_rows: Rows that are read at most, beside those that are needed.

        Raises:
            SpecError: With file and line number of each bad row, or that there are too few.
        """
        assert source.jsonl is not None
        self._path = f"spec.data.sources[{source.name}].jsonl"
        self._name = source.name
        self._seed = seed
        pattern = source.jsonl if Path(source.jsonl).is_absolute() else str(base / source.jsonl)
        files = sorted(glob.glob(pattern, recursive=True))
        needed = source.held_out + is_trained_on
        rows, faults, self.is_partial = _read_rows(files, source, find_fault, max(max_rows, needed))
        if not files or (not rows and not faults.total):
            want = "a path or glob that matches files with at least one row"
            faults.add(Fault(path=self._path, got=pattern, want=want))
        elif len(rows) < needed and not faults.total:
            why = f"heldOut = {source.held_out}" + (" and some to train on" if is_trained_on else "")
            faults.add(Fault(path=self._path, got=f"{len(rows)} rows", want=f"at least {needed} rows: {why}"))
        if faults.total:
            raise SpecError(faults.listed(self._path), source=f"source {source.name}")
        self.record = _record(rows)
        """What the files hold, in the order in which they were read."""
        random.Random(f"{seed}/{source.name}").shuffle(rows)  # noqa: S311
        self._held, self._train = rows[: source.held_out], rows[source.held_out :]
        self._is_trained_on = is_trained_on
        self._orders: dict[int, list[int]] = {}
        self.held_questions: Set[bytes] = {row.question for row in self._held}
        """Digests of everything that is held out, whether it is validated or not."""
        self.num_kept_out = 0
        """See `ItemSource`."""
        self.reserve(self.held_questions)

    def raise_if_changed(self, recorded: FilesRecord) -> None:
        """Make sure that the files hold what they held when the run began.

        Raises:
            SpecError: They do not: other rows would be held out, some of which the run has trained on.
        """
        if recorded != self.record:
            got = f"{self.record.rows} rows with sha256 {self.record.sha256[:16]}…"
            want = (
                f"the {recorded.rows} rows with sha256 {recorded.sha256[:16]}… that the run began with, in that order: "
                "others would be held out, some of which were trained on. Put the files back, or start a new run "
                "(initFrom continues this one's policy)"
            )
            raise SpecError([Fault(path=self._path, got=got, want=want)], source=f"source {self._name}")

    def train(self, index: int) -> Item:
        """See `ItemSource.train`. Every epoch has its own order."""
        epoch, position = divmod(index, len(self._train))
        if epoch not in self._orders:
            order = list(range(len(self._train)))
            random.Random(f"{self._seed}/{self._name}/{epoch}").shuffle(order)  # noqa: S311
            self._orders = {epoch: order}
        return self._item(self._train[self._orders[epoch][position]])

    def held_out(self, size: int, is_usable: Callable[[Question], bool]) -> list[Item]:
        """See `ItemSource.held_out`; every row can be used, since each was checked when the files were read."""
        if size > len(self._held):
            want = "set heldOut of the source to at least the size in spec.validation.sources"
            raise SpecError([Fault(path=f"source {self._name}", got=f"{len(self._held)} held-out rows", want=want)])
        return [self._item(row) for row in self._held[:size]]

    def reserve(self, questions: Set[bytes]) -> None:
        """See `ItemSource.reserve`. Within the rest, a question may be repeated."""
        rest = [row for row in self._train if row.question not in questions]
        if self._is_trained_on and not rest:
            got = f"{len(self._train)} rows to train on, all with a question that is held out"
            want = "more questions, or a smaller heldOut here or in the source that holds the same ones out"
            raise SpecError([Fault(path=self._path, got=got, want=want)])
        self.num_kept_out += len(self._train) - len(rest)
        self._train = rest

    def _item(self, row: _Row) -> Item:
        content = line_at(Path(row.file), row.offset)
        if hashlib.sha256(content).digest() != row.digest:
            got, want = "another row than when the run started", "a file that does not change while the run goes on"
            raise SpecError([Fault(path=f"{row.file} at byte {row.offset}", got=got, want=want)])
        value = parse_object(content)
        return value["prompt"], value["row"]


def _read_rows(
    files: list[str], source: DataSource, find_fault: FindFault, max_rows: int
) -> tuple[list[_Row], RowFaults, bool]:
    """Read the rows of all files, and collect what is wrong with the others; say whether some were left unread."""
    rows: list[_Row] = []
    faults = RowFaults(MAX_FAULTS)
    for file in files:
        try:
            for raw in raw_lines(Path(file)):
                if len(rows) + faults.num_rows >= max_rows:
                    return rows, faults, True
                faults.saw(file)
                line = judge_line(raw, f"{file}:{raw.number}", source.domain)
                if isinstance(line, BadLine):
                    faults.add_row(file, raw.number, *line.faults)
                elif fault := format_fault(line, source.prompt) or find_fault(line):
                    faults.add_row(file, raw.number, fault)
                else:
                    digest = hashlib.sha256(raw.content).digest()
                    rows.append(_Row(file, raw.offset, digest, question_digest(line.question)))
        except OSError as error:
            faults.add(Fault(path=file, got=reason_of(error), want="a readable file"))
    return rows, faults, False


def _record(rows: list[_Row]) -> FilesRecord:
    """Describe rows by their number and a digest over their digests; names of files do not matter."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(row.digest)
    return FilesRecord(rows=len(rows), sha256=digest.hexdigest())


def format_fault(line: GoodLine, form: PromptFormat) -> Fault | None:
    """Name a setting of `prompt` that cannot take effect on this row's conversation."""
    if isinstance(line.question, str):
        return None
    got = f"a conversation of {len(line.question)} messages"
    if not form.chat:
        return Fault(path=f"{line.where} prompt", got=got, want="text, because the source says `prompt.chat: false`")
    if form.template != "{question}":
        return Fault(path=f"{line.where} prompt", got=got, want="text, because the source sets `prompt.template`")
    if form.system is not None and line.question[0]["role"] == "system":
        want = "no system message, because the source sets `prompt.system`"
        return Fault(path=f"{line.where} prompt", got="a conversation with its own system message", want=want)
    return None
