"""Writing a first manifest: what model, data and machine say is filled in, the rest is explained beside its field."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from prorl_api.errors import Fault, SpecError
from prorl_api.jsonl import LineError, parse_object, raw_lines
from prorl_api.wording import reason_of
from prorl_cli.data.importing import import_files
from prorl_cli.errors import storage_error
from prorl_cli.local.files import write_atomically
from prorl_cli.local.gpus import find_gpus
from prorl_cli.starting.kinds import STARTS, Kind
from prorl_cli.starting.samples import REWARD_FILE

_HELD_OUT_SHARE, _MAX_HELD_OUT = 5, 200
_COMMENT_COLUMN = 40
_CHAT_FILES = ("chat_template.jinja", "chat_template.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class InitRequest:
    """What was asked for."""

    kind: Kind
    output: Path
    model: str
    data: Path | None = None
    """None: a small file is written, too."""
    replaces: bool = False


def write_start(request: InitRequest) -> list[Path]:
    """Write the manifest, and data and reward function where none are given; the files written.

    Raises:
        SpecError: Something is there already, or the data is no data.
        StorageError: A file cannot be written.
    """
    start = STARTS[request.kind]
    folder, stem = request.output.parent, request.output.stem
    data = request.data or folder / f"{stem}.jsonl"
    files: dict[Path, str] = {}
    if request.data is None:
        files[data] = "".join(json.dumps(line) + "\n" for line in start.samples())
    reward = f"{stem}_reward" if request.kind is Kind.OWN else ""
    if reward:
        files[folder / f"{reward}.py"] = REWARD_FILE
    _refuse_existing([request.output, *files], replaces=request.replaces)
    converted = folder / f"{stem}.jsonl"
    is_converted = request.data is not None and request.kind is Kind.MATH and not _has_prompts(data)
    if is_converted and converted.resolve() == data.resolve():
        want = f"an --output of another name, since the rows in our form go to {converted}, which is your --data"
        raise SpecError([Fault(path="--output", got=str(request.output), want=want)], source="the command line")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            write_atomically(path, text)
        written = list(files)
        if is_converted:
            import_files("question-answer", [data], converted, replaces=request.replaces)
            written.append(data := converted)
        values = _values(request, data, f"{reward}:score" if reward else "")
        write_atomically(request.output, _render(values))
    except OSError as error:
        raise storage_error(error, folder, "--output") from error
    return [*written, request.output]


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
        SpecError: It holds no JSON object in its first line.
    """
    try:
        first = next(iter(raw_lines(data)), None)
        if first is None:
            raise SpecError([Fault(path=str(data), got="no line", want="at least one")], source="the data")
        value = parse_object(first.content)
    except (OSError, LineError) as error:
        want = "a JSONL file: one JSON object a line"
        raise SpecError([Fault(path=str(data), got=reason_of(error), want=want)], source="the data") from error
    return "prompt" in value and "row" in value


def _values(request: InitRequest, data: Path, reward: str) -> dict[str, Any]:
    start, has_gpu = STARTS[request.kind], bool(find_gpus(os.environ))
    completion_tokens = start.completion_tokens * (8 if has_gpu else 1)
    prompt_tokens = 1024 if has_gpu else 256
    room = _context_of(request.model)
    if room is not None and prompt_tokens + completion_tokens > room:
        completion_tokens = min(completion_tokens, max(1, room // 2))
        prompt_tokens = max(1, room - completion_tokens)
    num_rows = sum(1 for _ in raw_lines(data))
    held_out = max(1, min(_MAX_HELD_OUT, num_rows // _HELD_OUT_SHARE))
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
        "answer_format": start.answer_format.value,
        "chat": _has_chat_template(request.model),
        "template": _template(request),
        "precision": "bfloat16" if has_gpu else "float32",
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "running": 256 if has_gpu else 128,
        "gpu": has_gpu,
        "prompts": 64 if has_gpu else 8,
        "group": 16 if has_gpu else 8,
        "minibatch": 32 if has_gpu else 8,
        "microbatch": max(16384 if has_gpu else 2048, prompt_tokens + completion_tokens),
        "learning_rate": "0.000002" if has_gpu else "0.00001",
        "steps": 200 if has_gpu else 20,
        "samples": 1 if start.is_greedy else 4,
        "validation_temperature": "0  # greedy" if start.is_greedy else "1.0",
    }


def _template(request: InitRequest) -> list[str]:
    lines = list(STARTS[request.kind].template)
    return ["{question}", *lines] if _has_chat_template(request.model) else lines


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
    absolute, base = place.absolute(), folder.absolute()
    return f"./{absolute.relative_to(base)}" if absolute.is_relative_to(base) else str(absolute)


def _name(stem: str) -> str:
    """Return a job's name from a file's: lower case letters, digits and hyphens."""
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in stem.lower())
    return kept.strip("-")[:40].strip("-") or "job"


def _has_chat_template(model: str) -> bool:
    """Tell whether a model folder's tokenizer has a chat template; of a hub name it is assumed."""
    folder = Path(model).expanduser()
    if not folder.is_dir() or any((folder / name).is_file() for name in _CHAT_FILES):
        return True
    return bool(_json(folder / "tokenizer_config.json").get("chat_template"))


def _context_of(model: str) -> int | None:
    """Return how many positions a model has, if its folder says so."""
    found = _json(Path(model).expanduser() / "config.json").get("max_position_embeddings")
    return found if isinstance(found, int) and found > 1 else None


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
