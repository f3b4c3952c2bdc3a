"""The lines of a data file: a prompt, and what the domain's verifier needs to judge a completion of it.

The learner judges the lines of its sources with `judge_line`, and so does `prorl data check`: what one accepts, the
other accepts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from prorl_api.errors import Fault
from prorl_api.jsonl import LineError, RawLine, parse_object
from prorl_api.rows import ROWS, Row, Text
from prorl_api.spec.values import Domain
from prorl_api.wording import wanted

Question = str | list[dict[str, str]]
"""A prompt as it stands in a file: one text, or messages with `role` and `content`."""

MAX_FAULTS_OF_A_LINE = 5
"""A row with a thousand bad tests must not hide the other rows."""
_SHOWN = 60


class Message(Row):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant"]
    """Who speaks."""
    content: Annotated[str, Field(min_length=1, max_length=4 * 2**20)]
    """What is said."""


class DataLine(Row):
    """One line of a data file."""

    prompt: (
        Annotated[str, Field(min_length=1, max_length=4 * 2**20)]
        | Annotated[list[Message], Field(min_length=1, max_length=256)]
    )
    """The question as text, or a conversation that ends with the user's turn."""
    row: dict[str, Any]
    """What the verifier needs: `prorl_api.rows`, by domain."""
    id: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """Where the row came from, for people; importers write it."""
    comment: Text | None = None
    """Anything, for people."""

    @model_validator(mode="after")
    def _the_prompt_asks_something(self) -> Self:
        if isinstance(self.prompt, str):
            if not self.prompt.strip():
                raise ValueError("`prompt` must hold more than white space")
            return self
        if self.prompt[-1].role != "user":
            raise ValueError(f"`prompt` must end with the user's message, got role `{self.prompt[-1].role}` at its end")
        if any(message.role == "system" for message in self.prompt[1:]):
            raise ValueError("only the first message of `prompt` may have role `system`")
        return self


@dataclass(frozen=True, slots=True)
class GoodLine:
    """A line that fits its domain."""

    where: str
    """File and line number."""
    offset: int
    """Of the line in the file, for `prorl_api.jsonl.line_at`."""
    question: Question
    row: dict[str, Any]
    """As it stands in the file: what a score request carries."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that does not fit its domain."""

    where: str
    """File and line number."""
    faults: tuple[Fault, ...]
    """At least one, at most `MAX_FAULTS_OF_A_LINE`."""


def judge_line(raw: RawLine, where: str, domain: Domain) -> GoodLine | BadLine:
    """Judge one line of a data file; `where` is put into its faults."""
    try:
        value = parse_object(raw.content)
    except LineError as error:
        return BadLine(where, (Fault(path=where, got=error.got, want=error.want),))
    faults = data_faults(value, domain)
    if faults:
        return BadLine(where, tuple(_placed(fault, where) for fault in faults))
    return GoodLine(where, raw.offset, value["prompt"], value["row"])


def data_faults(value: dict[str, Any], domain: Domain) -> list[Fault]:
    """Return what keeps an object from being a line of a data file; paths start at the object. Empty: it is one."""
    faults = _faults(DataLine, value, ())
    if isinstance(value.get("row"), dict):
        faults += _faults(ROWS[domain], value["row"], ("row",))
    if len(faults) > MAX_FAULTS_OF_A_LINE:
        rest = len(faults) - MAX_FAULTS_OF_A_LINE + 1
        faults = faults[: MAX_FAULTS_OF_A_LINE - 1]
        faults.append(Fault(path="", got=f"{rest} more faults", want="see the first ones"))
    return faults


def _placed(fault: Fault, where: str) -> Fault:
    return Fault(path=f"{where} {fault.path}".rstrip(), got=fault.got, want=fault.want)


def _faults(model: type[Row], value: Mapping[str, Any], prefix: tuple[str, ...]) -> list[Fault]:
    """Return one fault a place, whatever number of alternatives pydantic tried there."""
    try:
        model.model_validate(value)
    except ValidationError as error:
        found: dict[str, tuple[str, list[str]]] = {}
        problems = error.errors(include_url=False)
        deepest = {problem["loc"][:depth] for problem in problems for depth in range(1, len(problem["loc"]))}
        for problem in problems:
            if problem["type"] == "too_short" and problem["loc"] in deepest:
                continue  # pydantic does not count a list's faulty items
            place, got = _place(value, problem["loc"], is_missing=problem["type"] == "missing")
            path = ".".join(str(part) for part in (*prefix, *place))
            message = wanted(problem)
            messages = found.setdefault(path, (got, []))[1]
            if message not in messages:
                messages.append(message)
        return [Fault(path=path, got=got, want=", or: ".join(messages)) for path, (got, messages) in found.items()]
    return []


def _place(value: Any, location: Sequence[str | int], *, is_missing: bool) -> tuple[list[str | int], str]:
    """Return the part of pydantic's location that lies in the value, and what is there: the rest names alternatives."""
    place: list[str | int] = []
    for part in location:
        is_item = isinstance(value, list) and isinstance(part, int) and 0 <= part < len(value)
        if is_item or (isinstance(value, dict) and part in value):
            place.append(part)
            value = value[part]
    if is_missing:
        return [*place, location[-1]], "nothing"
    text = repr(value)
    return place, text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
