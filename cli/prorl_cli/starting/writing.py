"""Writing a first manifest: what model, data and machine say is filled in, the rest is explained beside its field."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from prorl_api.data_lines import BadLine, judge_line
from prorl_api.errors import Fault, SpecError
from prorl_api.jsonl import LineError, parse_object, raw_lines
from prorl_api.manifest import read_job
from prorl_api.spec.values import Domain
from prorl_api.wording import reason_of
from prorl_cli.data.importing import import_files, summary
from prorl_cli.data.sources import is_lines
from prorl_cli.errors import storage_error
from prorl_cli.local.files import write_atomically
from prorl_cli.local.gpus import find_gpus
from prorl_cli.local.machine import tidy
from prorl_cli.starting.asking import SMALL, Asking, asking, read_object
from prorl_cli.starting.kinds import STARTS, Kind
from prorl_cli.starting.rewards import reward_file
from prorl_cli.starting.samples import REWARD_FILE
from prorl_control.few_rows import few_rows

_HELD_OUT_SHARE, _MAX_HELD_OUT = 5, 200
_COMMENT_COLUMN = 40
_TINY = 30_000_000
"""Parameters of models for trials."""
_IMPORTERS = {Kind.MATH: "question-answer", Kind.OWN: "question-row"}
"""What reads records that are not in our form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InitRequest:
    """What was asked for."""

    kind: Kind
    output: Path
    model: str
    data: Path | None = None
    """None: a small file is written, too."""
    replaces: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What came of it."""

    files: tuple[Path, ...]
    import_summary: str = ""
    """What became of the records of a file that was not in our form."""
    notices: tuple[str, ...] = ()
    """Of a file of the user's: what would train better."""


def write_start(request: InitRequest) -> Written:
    """Write the manifest, and data and reward function where none are given.

    Raises:
        SpecError: Something is there already, or the data is no data of this kind.
        StorageError: A file cannot be written.
    """
    folder, stem = request.output.parent, request.output.stem
    data = request.data or folder / f"{stem}.jsonl"
    reward = folder / f"{stem}_reward.py" if request.kind is Kind.OWN else None
    is_converted = request.data is not None and not _has_prompts(data)
    made = folder / f"{stem}.jsonl"
    if is_converted and made.resolve() == data.resolve():
        want = f"an --output of another name, since the rows in our form go to {made}, which is your --data"
        raise SpecError([Fault(path="--output", got=str(request.output), want=want)], source="the command line")
    new = [request.output, *([reward] if reward else []), *([made] if is_converted or request.data is None else [])]
    _refuse_existing(new, replaces=request.replaces)
    said = ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if request.data is None:
            write_atomically(made, "".join(json.dumps(line) + "\n" for line in STARTS[request.kind].samples()))
        elif is_converted:
            said = _converted(request.kind, data, made, replaces=request.replaces)
            data = made
        rows = _rows(data, STARTS[request.kind].domain)
        if reward:
            write_atomically(reward, REWARD_FILE if request.data is None else reward_file(rows[0]))
        values = _values(request, data, rows, f"{reward.stem}:score" if reward else "")
        write_atomically(request.output, _render(values))
    except OSError as error:
        raise storage_error(error, folder, "--output") from error
    files = tuple(sorted(new, key=lambda path: path == request.output))
    return Written(files=files, import_summary=said, notices=_notices(request, values["asking"], len(rows)))


def _notices(request: InitRequest, form: Asking, num_rows: int) -> tuple[str, ...]:
    if request.data is None:
        return ()  # a sample is to try with
    few = few_rows(read_job(request.output).spec, {request.kind.value: num_rows})
    return (*([form.advice] if form.advice else []), *map(str, few))


def _converted(kind: Kind, data: Path, made: Path, *, replaces: bool) -> str:
    """Bring records with usual names into our form; what became of them.

    Raises:
        SpecError: Nothing reads records of this kind, or none of them could be read.
    """
    importer = _IMPORTERS.get(kind)
    if importer is None:
        want = (
            f'lines of the form {{"prompt": ..., "row": ...}} with rows of {kind.value}: docs/data.md shows them, and '
        )
        want += "`prorl data sets` lists what `prorl data import` makes them of"
        raise SpecError([Fault(path=str(data), got="lines of another form", want=want)], source="the data")
    counts = import_files(importer, [data], made, replaces=replaces)
    return summary(counts, made) if counts.skipped else ""


def _rows(data: Path, domain: Domain) -> list[dict[str, Any]]:
    """Return every row.

    Raises:
        SpecError: A line is no row of the domain.
    """
    rows = []
    for raw in raw_lines(data):
        line = judge_line(raw, f"{data}:{raw.number}", domain)
        if isinstance(line, BadLine):
            faults = [
                replace(fault, want=f"{fault.want}; `prorl data check` names all faults") for fault in line.faults
            ]
            raise SpecError(faults, source="the data")
        rows.append(line.row)
    return rows


def _refuse_existing(paths: list[Path], *, replaces: bool) -> None:
    found = [path for path in paths if path.exists()]
    if found and not replaces:
        want = "another --output, or --force to replace it"
        raise SpecError(
            [Fault(path=str(path), got="a file that exists", want=want) for path in found], source="the command line"
        )


def _has_prompts(data: Path) -> bool:
    """Tell whether a file's first line is in our form.

    Raises:
        SpecError: It is named as JSON Lines and holds no JSON object in its first line.
    """
    if data.is_file() and not is_lines(data):
        return False
    where = str(data)
    try:
        first = next(iter(raw_lines(data)), None)
        if first is None:
            raise SpecError([Fault(path=str(data), got="no line", want="at least one")], source="the data")
        where = f"{data}:{first.number}"
        value = parse_object(first.content)
    except (OSError, LineError) as error:
        got = error.got if isinstance(error, LineError) else reason_of(error)
        want = "JSON Lines, one object a line; or a file whose name says what it is: .json, .csv, .parquet, .jsonl.gz"
        raise SpecError([Fault(path=where, got=got, want=want)], source="the data") from error
    return "prompt" in value and "row" in value


def _values(request: InitRequest, data: Path, rows: list[dict[str, Any]], reward: str) -> dict[str, Any]:
    start, has_gpu = STARTS[request.kind], bool(find_gpus(os.environ))
    form = asking(request.kind, request.model, [row.get("answer") for row in rows])
    completion_tokens = form.direct_tokens or start.completion_tokens * (8 if has_gpu else 1)
    prompt_tokens = 1024 if has_gpu else 256
    room = _context_of(request.model)
    if room is not None and prompt_tokens + completion_tokens > room:
        completion_tokens = min(completion_tokens, max(1, room // 2))
        prompt_tokens = max(1, room - completion_tokens)
    held_out = max(1, min(_MAX_HELD_OUT, len(rows) // _HELD_OUT_SHARE))
    return {
        "title": start.title,
        "file": request.output,
        "name": _name(request.output.stem),
        "kind": request.kind.value,
        "domain": start.domain.value,
        "model": json.dumps(_from(request.output.parent, request.model)),
        "data": json.dumps(_from(request.output.parent, str(data))),
        "reward": reward,
        "held_out": held_out,
        "asking": form,
        "precision": "bfloat16" if has_gpu else "float32",
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "running": 256 if has_gpu else 128,
        "gpu": has_gpu,
        "prompts": 64 if has_gpu else 8,
        "group": 16 if has_gpu else 8,
        "minibatch": 32 if has_gpu else 8,
        "microbatch": max(16384 if has_gpu else 2048, prompt_tokens + completion_tokens),
        "learning_rate": _learning_rate(form.num_parameters, has_gpu=has_gpu),
        "steps": 200 if has_gpu or (form.num_parameters or _TINY) < _TINY else 20,
        "samples": 1 if start.is_greedy else 4,
        "validation_temperature": "0  # greedy" if start.is_greedy else "1.0",
    }


def _learning_rate(num_parameters: int | None, *, has_gpu: bool) -> str:
    """Return AdamW's: small models need larger steps; ProRL's 2e-6 is for 1.5 B, the quickstart's 1e-5 for 135 M."""
    if num_parameters is None:
        return "0.000002" if has_gpu else "0.00001"
    return "0.0001" if num_parameters < _TINY else "0.00001" if num_parameters < SMALL else "0.000002"


def _render(values: dict[str, Any]) -> str:
    from jinja2 import Environment, StrictUndefined

    text = (resources.files("prorl_cli.starting") / "templates" / "job.yaml.j2").read_text(encoding="utf-8")
    # A manifest, no page: nothing is to be escaped for HTML.
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)  # noqa: S701
    lines = environment.from_string(text).render(values).splitlines()
    return "".join(f"{_aligned(line)}\n" for line in lines)


def _aligned(line: str) -> str:
    """Move a comment behind a field to its column."""
    field, mark, comment = line.partition("  # ")
    return f"{field.rstrip():<{_COMMENT_COLUMN}} # {comment.strip()}" if mark else line


def _from(folder: Path, path: str) -> str:
    """Return a path as the manifest in `folder` writes it: relative where it lies below, else absolute."""
    place = Path(path).expanduser()
    if not place.exists():
        return path
    absolute, base = tidy(place.absolute()), tidy(folder.absolute())
    return f"./{absolute.relative_to(base)}" if absolute.is_relative_to(base) else str(absolute)


def _name(stem: str) -> str:
    """Return a job's name from a file's: lower case letters, digits and hyphens."""
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in stem.lower())
    return kept.strip("-")[:40].strip("-") or "job"


def _context_of(model: str) -> int | None:
    """Return how many positions a model has, if its folder says so."""
    found = read_object(Path(model).expanduser() / "config.json").get("max_position_embeddings")
    return found if isinstance(found, int) and found > 1 else None
