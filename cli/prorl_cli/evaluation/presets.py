"""What ProRL evaluates with (arXiv 2505.24864, section 4), and how published sets are asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prorl_api.errors import Fault, SpecError
from prorl_api.jsonl import raw_lines
from prorl_api.spec.values import AnswerFormat, Domain
from prorl_cli.data.importers import EVALUATION_SETS
from prorl_cli.evaluation.kinds import Preset

_MAX_ITEMS = 100_000
"""As many as a source may hold out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How completions are sampled."""

    samples: int
    temperature: float
    top_p: float


SAMPLINGS: Mapping[Preset, Sampling] = {
    Preset.PAPER: Sampling(samples=16, temperature=0.6, top_p=0.95),
    Preset.BOUNDARY: Sampling(samples=256, temperature=0.6, top_p=0.95),
}
"""The paper's: pass@1 from 16 samples, pass@k from 256. Its answers have up to 32,768 tokens, ours the manifest's."""

_BOXED = "{question}\n\nPlease reason step by step, and put your final answer within \\boxed{}."
_LETTER = "{question}\n\nPlease reason step by step, and put the letter of your answer within \\boxed{}."
_TAGS = "{question}\n\nThink first, then give your final answer, and nothing else, between <answer> and </answer>."
_ASKED: Mapping[Domain, tuple[AnswerFormat, str]] = {
    Domain.MATH: (AnswerFormat.BOXED, _BOXED),
    Domain.STEM: (AnswerFormat.BOXED, _LETTER),
    Domain.LOGIC: (AnswerFormat.ANSWER_TAG, _TAGS),
    Domain.CODE: (AnswerFormat.TEXT, "{question}"),
    Domain.INSTRUCTION_FOLLOWING: (AnswerFormat.TEXT, "{question}"),
}
"""By domain: how the answer is found, and the words around the question. Ours; the paper does not print its prompts."""


def read_files(texts: Sequence[str]) -> dict[str, Path]:
    """Read `SET=FILE`.

    Raises:
        SpecError: Something else, an unknown set, or one of them twice.
    """
    known = {importer.name for importer in EVALUATION_SETS}
    files: dict[str, Path] = {}
    faults = []
    for text in texts:
        name, _, path = text.partition("=")
        if name not in known or not path:
            want = f"SET=FILE, SET one of {', '.join(sorted(known))}; other files are sources of the manifest"
            faults.append(Fault(path="--file", got=text, want=want))
        elif name in files:
            faults.append(Fault(path="--file", got=f"{name} twice", want="each set once"))
        files[name] = Path(path)
    if faults:
        raise SpecError(faults, source="the command line")
    return files


def sources_of(files: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Return sources of a manifest, whole files held out, as `prorl data import` wrote them.

    Raises:
        SpecError: A file that cannot be read, or holds nothing or too much.
    """
    domains = {importer.name: importer.domain for importer in EVALUATION_SETS}
    return [_source(name, domains[name], path) for name, path in files.items()]


def _source(name: str, domain: Domain, path: Path) -> dict[str, Any]:
    try:
        num_items = sum(1 for _ in raw_lines(path))
    except OSError as error:
        fault = Fault(path="--file", got=f"{path}: {error.strerror}", want="a file that `prorl data import` wrote")
        raise SpecError([fault], source="the command line") from error
    if not 1 <= num_items <= _MAX_ITEMS:
        fault = Fault(path="--file", got=f"{path} with {num_items} rows", want=f"1 to {_MAX_ITEMS} rows")
        raise SpecError([fault], source="the command line")
    answer_format, template = _ASKED[domain]
    return {
        "name": name,
        "domain": domain.value,
        "jsonl": str(path.absolute()),
        "heldOut": num_items,
        "weight": 0,
        "answerFormat": answer_format.value,
        "prompt": {"template": template},
    }
