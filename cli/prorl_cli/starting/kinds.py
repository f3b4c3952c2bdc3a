"""What `prorl init` can begin with: a kind of data, its verifier, how it is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from prorl_api.spec.values import AnswerFormat, Domain
from prorl_cli.starting.samples import Line, instructions, programs, sentences, sums


class Kind(StrEnum):
    """The word on the command line, and the source's name."""

    MATH = "math"
    CODE = "code"
    INSTRUCTIONS = "instructions"
    OWN = "own"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a kind begins."""

    domain: Domain
    title: str
    answer_format: AnswerFormat
    template: tuple[str, ...]
    """Lines of the prompt after what introduces the question."""
    completion_tokens: int
    """On a CPU; a GPU gets eight times as many."""
    samples: Callable[[], Iterator[Line]]
    is_greedy: bool = False
    """Validated greedily; else by samples, since rewards come in parts."""


STARTS: Mapping[Kind, Start] = {
    Kind.MATH: Start(
        domain=Domain.MATH,
        title="Mathematics with final answers, compared as mathematics",
        answer_format=AnswerFormat.BOXED,
        template=(r"Put your final answer in \boxed{}.",),
        completion_tokens=96,
        samples=sums,
        is_greedy=True,
    ),
    Kind.CODE: Start(
        domain=Domain.CODE,
        title="Programs, judged by running them against hidden tests",
        answer_format=AnswerFormat.TEXT,
        template=("Answer with one code block:", "```python", "...", "```"),
        completion_tokens=128,
        samples=programs,
    ),
    Kind.INSTRUCTIONS: Start(
        domain=Domain.INSTRUCTION_FOLLOWING,
        title="Following instructions that can be checked",
        answer_format=AnswerFormat.TEXT,
        template=(),
        completion_tokens=48,
        samples=instructions,
    ),
    Kind.OWN: Start(
        domain=Domain.CUSTOM,
        title="Own data with a reward function of one's own",
        answer_format=AnswerFormat.TEXT,
        template=(),
        completion_tokens=32,
        samples=sentences,
    ),
}
