"""`prorl data check`: one pass over the files, then the index of prompts is asked for repetitions.

Memory does not grow with the size of a line's content, only with the number of lines: see `duplicates`.
"""

from __future__ import annotations

import asyncio
import glob
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from prorl_api.custom_rewards import read_reward
from prorl_api.data_lines import BadLine, GoodLine, judge_line
from prorl_api.errors import Fault, SpecError
from prorl_api.jsonl import RawLine, raw_lines
from prorl_api.questions import normalised, question_text
from prorl_api.spec.values import Domain
from prorl_api.wire.sandbox import RewardFunction, ScoreResult
from prorl_api.wording import reason_of
from prorl_cli.data.contamination import EvaluationIndex
from prorl_cli.data.duplicates import PromptIndex, Repeat
from prorl_cli.data.findings import CheckReport, FileFigures, Kind, Shape
from prorl_cli.data.gold import CUSTOM_REWARD, Probe, fault_of, probes_of
from prorl_cli.data.importers import importers_of
from prorl_cli.data.judge import Judging, LocalJudge, local_judge
from prorl_cli.data.lengths import SourceSettings, sources_of
from prorl_cli.data.text import digest
from prorl_cli.local.packages import raise_if_no_judge

_REPORT_EVERY_LINES = 500
_SHOWN_HITS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """How to check."""

    against: tuple[Path, ...] = ()
    """Evaluation files."""
    min_share: float = 0.0
    """Share of an evaluation item's runs of words from which a prompt touches it."""
    verify_share: float = 1.0
    """Share of the rows that are sent to the judge, in [0, 1]; chosen by content, always the same ones. 0: no judge."""
    workers: int = 2
    """Of the judge."""
    finds_near: bool = True
    """Near-duplicates are looked for."""
    max_findings: int = 50
    """Of each kind that are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRequest:
    """What to check, and how."""

    files: tuple[Path, ...]
    domain: Domain
    reward: str | None = None
    """Domain `custom`: `module:function`, from the current folder."""
    options: CheckOptions = CheckOptions()
    settings: SourceSettings | None = None
    """Of a manifest's source: its rows are judged as it uses them."""


def requests_of(
    options: CheckOptions, files: tuple[Path, ...], domain: Domain | None, reward: str | None, manifest: Path | None
) -> dict[str, CheckRequest]:
    """Return what to check by the names of a manifest's sources; of files that were named, the name is empty.

    Raises:
        SpecError: Both or neither were named, or the manifest has faults.
    """
    if manifest is None:
        missing = {"FILES": not files, "--domain": domain is None}
        want = "JSONL files and their domain, or --manifest job.yaml, whose sources say both"
        if faults := [Fault(path=name, got="nothing", want=want) for name, lacks in missing.items() if lacks]:
            raise SpecError(faults, source="the command line")
        assert domain is not None
        return {"": CheckRequest(files=files, domain=domain, reward=reward, options=options)}
    given = {"FILES": bool(files), "--domain": domain is not None, "--reward": reward is not None}
    want = "nothing beside --manifest, whose sources say it"
    if faults := [Fault(path=name, got="a value", want=want) for name, is_given in given.items() if is_given]:
        raise SpecError(faults, source="the command line")
    return {
        settings.source.name: CheckRequest(
            files=tuple(Path(path) for path in sorted(glob.glob(settings.source.jsonl or "", recursive=True))),
            domain=settings.source.domain,
            reward=settings.source.reward,
            options=options,
            settings=settings,
        )
        for settings in sources_of(manifest)
    }


Progress = Callable[[int], None]
"""Called with the number of bytes read since the last call."""


def check(
    request: CheckRequest, progress: Progress = lambda _: None, tell: Callable[[str], None] = lambda _: None
) -> CheckReport:
    """Check data files.

    Args:
        request: What to check.
        progress: Hears how far it is.
        tell: Hears what a person would otherwise wait for in silence.

    Raises:
        SpecError: A file cannot be read, or is named twice.
        JudgeError: The local reward sandbox does not come up, or ends before the check does.
    """
    return asyncio.run(_Check(request, progress, tell).run())


class _Check:
    """One check under way."""

    def __init__(self, request: CheckRequest, progress: Progress, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._request = request
        self._progress = progress
        self._report = CheckReport(request.domain, request.options.max_findings)
        self._prompts = PromptIndex(finds_near=request.options.finds_near)
        self._figures: dict[Path, FileFigures] = {}
        self._start_judging: Callable[[], Awaitable[LocalJudge]]
        self._judging: Judging | None = None
        """From the first row on that is to be judged: without one no sandbox is started."""

    async def run(self) -> CheckReport:
        """Run the whole check."""
        started = time.monotonic()
        _refuse_bad_paths(self._request.files)
        rewards = _rewards(self._request)
        evaluation = EvaluationIndex(list(self._request.options.against), min_share=self._request.options.min_share)
        if self._request.options.verify_share > 0:
            raise_if_no_judge()
        async with AsyncExitStack() as stack:
            self._start_judging = lambda: stack.enter_async_context(local_judge(self._request.options.workers, rewards))
            for path in self._request.files:
                await self._read(path, evaluation)
            if self._judging is not None:
                self._take(await self._judging.finish())
        self._add_repeats()
        self._add_settings()
        self._report.evaluation = evaluation.files
        self._report.seconds = time.monotonic() - started
        return self._report

    async def _read(self, path: Path, evaluation: EvaluationIndex) -> None:
        figures = self._figures[path] = FileFigures(path)
        self._report.files.append(figures)
        reported = end = 0
        for raw in raw_lines(path):
            figures.lines += 1
            line = judge_line(raw, f"{path}:{raw.number}", self._request.domain)
            if isinstance(line, BadLine):
                self._take_bad_line(figures, raw, line)
            else:
                await self._take_line(figures, raw.number, line, evaluation)
            end = raw.offset + len(raw.content)
            if figures.lines % _REPORT_EVERY_LINES == 0:
                self._progress(end - reported)
                reported = end
        self._progress(end - reported)

    def _take_bad_line(self, figures: FileFigures, raw: RawLine, line: BadLine) -> None:
        if not figures.findings[Kind.SCHEMA]:
            figures.importers = importers_of(raw, self._request.domain)
        for fault in line.faults:
            shape = Shape(fault.path.removeprefix(line.where).strip(), fault.want)
            self._report.add(figures, Kind.SCHEMA, fault.path, f"got {fault.got}; {fault.want}", shape)

    async def _take_line(self, figures: FileFigures, number: int, line: GoodLine, evaluation: EvaluationIndex) -> None:
        figures.good_lines += 1
        settings = self._request.settings
        if settings is not None and (fault := settings.fault(line)) is not None:
            shape = Shape(fault.path.removeprefix(line.where).strip(), fault.want, Kind.SETTINGS)
            self._report.add(figures, Kind.SETTINGS, fault.path, f"got {fault.got}; {fault.want}", shape)
        text = normalised(question_text(line.question))
        row = json.dumps(line.row, sort_keys=True)
        self._prompts.add(figures.path, number, line.offset, text, row)
        hits = evaluation.hits(text)
        if hits:
            places = ", ".join(
                f"{hit.item} (equal)" if hit.is_equal else f"{hit.item} ({hit.share:.0%} of its runs)"
                for hit in hits[:_SHOWN_HITS]
            )
            more = f" and {len(hits) - _SHOWN_HITS} more" if len(hits) > _SHOWN_HITS else ""
            remedy = f"delete line {number}, or what is measured there is memory"
            self._report.add(figures, Kind.CONTAMINATION, line.where, f"touches {places}{more}: {remedy}")
        if digest(text + row)[0] < self._request.options.verify_share * 2**64:
            found = probes_of(self._request.domain, line.row, line.where)
            figures.judged_rows += 1
            figures.unproven_rows += found.lacks_solution
            if self._judging is None:
                self._tell("a reward sandbox starts, to judge the rows; usually about 10 s")
                self._judging = Judging(await self._start_judging(), in_flight=2 * self._request.options.workers)
            self._take(await self._judging.submit(found.probes, len(row)))

    def _take(self, judged: Sequence[tuple[Probe, ScoreResult]]) -> None:
        for probe, result in judged:
            fault = fault_of(probe, result)
            if fault:
                self._report.add(self._figures[Path(probe.where.rpartition(":")[0])], Kind.JUDGE, probe.where, fault)

    def _add_settings(self) -> None:
        settings = self._request.settings
        if settings is None:
            return
        self._report.prompt_tokens = settings.as_json()
        rows = sum(figures.good_lines for figures in self._figures.values())
        if (fault := settings.row_fault(rows)) is not None:
            last = self._figures[self._request.files[-1]]
            self._report.add(last, Kind.SETTINGS, fault.path, f"got {fault.got}; {fault.want}")

    def _add_repeats(self) -> None:
        for repeat in self._prompts.exact():
            number = repeat.line.number
            same = Kind.DUPLICATE, "the same row", f"delete line {number}, unless it is meant to count twice"
            other = Kind.CONTRADICTION, "another row", f"keep one of them: delete the other line, or mend line {number}"
            kind, row, remedy = same if repeat.has_same_row else other
            self._add_repeat(repeat, kind, f"the same prompt and {row} as {repeat.earlier}: {remedy}")
        for repeat in self._prompts.near():
            remedy = f"delete line {repeat.line.number} if it asks the same, and leave both if it does not"
            message = f"{repeat.similarity:.0%} similar to {repeat.earlier}: {remedy}"
            self._add_repeat(repeat, Kind.NEAR_DUPLICATE, message)

    def _add_repeat(self, repeat: Repeat, kind: Kind, message: str) -> None:
        self._report.add(self._figures[repeat.line.path], kind, str(repeat.line), message)


def _rewards(request: CheckRequest) -> dict[str, RewardFunction]:
    """Read the function that judges rows of domain `custom`.

    Raises:
        SpecError: It cannot be read, or it is missing, or it has no effect.
    """
    if (request.domain is Domain.CUSTOM) != (request.reward is not None):
        got, want = (
            f"domain {request.domain.value}",
            "`--reward module:function` with domain `custom`, and with no other",
        )
        raise SpecError([Fault(path="--reward", got=got, want=want)], source="the command line")
    return {CUSTOM_REWARD: read_reward(request.reward, Path.cwd(), "--reward")} if request.reward is not None else {}


def _refuse_bad_paths(paths: Sequence[Path]) -> None:
    """Return every file that cannot be read, or is named more than once."""
    faults = [] if paths else [Fault(path="the files", got="no file", want="a path or glob that matches one")]
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            faults.append(Fault(path=str(path), got="the same file twice", want="every file once"))
        seen.add(path.resolve())
        try:
            path.open("rb").close()
        except OSError as error:
            faults.append(Fault(path=str(path), got=reason_of(error), want="a readable JSONL file"))
    if faults:
        raise SpecError(faults, source="the command line")
