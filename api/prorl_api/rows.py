"""What a verifier needs of a data row, one model a domain: the `row` of a JSONL line and of a score request.

The learner checks every row when it reads a file, `prorl data check` does so before a run, and the reward sandbox
before it judges; all three with these models. Rows hold the judge's secrets: expected answers and hidden tests.
Field names are snake_case, because rows are data and not part of the manifest.
"""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    StrictFloat,
    StrictInt,
    Tag,
    field_validator,
    model_validator,
)

from prorl_api.instructions import parse_arguments
from prorl_api.spec.values import Domain, Libraries


class Row(BaseModel):
    """Base of rows: immutable, unknown fields refused, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


Text = Annotated[str, Field(max_length=4 * 2**20)]
Answer = Annotated[str, Field(min_length=1, max_length=4096)]
MathAnswer = Answer | StrictInt | StrictFloat


class MathRow(Row):
    """A mathematical answer, compared as mathematics."""

    answer: MathAnswer | Annotated[list[MathAnswer], Field(min_length=1, max_length=16)]
    """The expected answer in LaTeX or plain notation, or several that are accepted alike."""


class LogicEntry(Row):
    """One item as reasoning-gym made it."""

    question: Text
    """What is asked."""
    answer: Text | None
    """The library's own answer; None where a task has many right answers and gives no example."""
    metadata: dict[str, Any] = {}
    """What the task's scorer looks at."""


class LogicRow(Row):
    """An item of a reasoning-gym task, judged by the task's scorer."""

    task: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")]
    """The task's name in the library."""
    entry: LogicEntry
    """The item."""


class StemRow(Row):
    """A multiple-choice, numeric or symbolic answer of a science question."""

    answer: Answer
    """`choice`: the letter. `number`: a number, with its unit if it has one. `expression`: LaTeX or plain notation."""
    kind: Literal["choice", "number", "expression"]
    """How the answer is compared."""
    choices: Annotated[dict[Annotated[str, Field(pattern=r"^[A-Z]$")], Answer], Field(max_length=26)] = {}
    """`choice`: the options by letter, so that an option's text counts like its letter."""
    relative_tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """`number`: accepted difference relative to the expected value."""

    @field_validator("choices", mode="before")
    @classmethod
    def _choices_have_letters(cls, value: object) -> object:
        if isinstance(value, list):
            letters = string.ascii_uppercase
            shown = ", ".join(
                f'"{letter}": {json.dumps(text)[:40]}' for letter, text in zip(letters, value[:2], strict=False)
            )
            raise ValueError(f"choices must be an object from letters to texts, as {{{shown}, ...}}; got a list")
        return value

    @model_validator(mode="after")
    def _choice_is_among_the_choices(self) -> Self:
        if self.kind == "choice" and self.choices and self.answer not in self.choices:
            letters = ", ".join(sorted(self.choices))
            raise ValueError(f"answer must be a letter of `choices` ({letters}), got {self.answer!r}")
        if self.kind == "choice" and not (len(self.answer) == 1 and "A" <= self.answer <= "Z"):
            raise ValueError(f"answer of kind `choice` must be one letter from A to Z, got {self.answer!r}")
        if self.choices and self.kind != "choice":
            raise ValueError(f"`choices` has no effect with kind `{self.kind}`; remove it or set kind `choice`")
        return self


class Instruction(Row):
    """One verifiable instruction of IFEval (arXiv 2311.07911)."""

    id: Annotated[str, Field(pattern=r"^[a-z_]+:[a-z_]+$", max_length=64)]
    """Its type, such as `keywords:existence`."""
    arguments: dict[str, Any] = {}
    """The type's own parameters, such as `{"keywords": ["sun"]}`: see `prorl_api.instructions`."""

    @model_validator(mode="after")
    def _arguments_are_those_of_the_type(self) -> Self:
        parse_arguments(self.id, self.arguments)
        return self


class InstructionRow(Row):
    """Instructions that the completion must follow."""

    instructions: Annotated[tuple[Instruction, ...], Field(min_length=1, max_length=64)]
    """Checked independently of each other."""
    strictness: Literal["strict", "loose", "ifeval", "ifeval-loose"] = "strict"
    """`loose` also accepts the text without its first line, last line or asterisks, as IFEval's loose accuracy.
    `ifeval` and `ifeval-loose` give the published verdicts, what they pay wrongly included: for comparable evaluation.
    """
    reward: Literal["fraction", "all"] = "fraction"
    """The share of followed instructions, or 1 only if all are followed."""


class StdioTest(Row):
    """A whole program: text in, text out."""

    type: Literal["stdio"] = "stdio"
    stdin: Text = ""
    """Standard input, as UTF-8."""
    expected_stdout: Text
    """Compared outside the program's process."""


class CallTest(Row):
    """A call of a function (Python)."""

    type: Literal["call"]
    function: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)?$", max_length=128)]
    """`name`, or `Class.method` of a class that is made without arguments."""
    arguments: Annotated[list[JsonValue], Field(max_length=64)] = []
    """Positional arguments."""
    expected: JsonValue
    """The returned value, compared as Python compares: 3.0 is 3. Any sequence in this order counts as a list, a
    dictionary's key 1 as "1"; where a float is expected, any number within the tolerances counts."""
    unordered: bool = False
    """The members of `expected` may come in any order, also as a set; they are compared exactly."""

    @model_validator(mode="after")
    def _only_lists_have_an_order(self) -> Self:
        if self.unordered and not isinstance(self.expected, list):
            raise ValueError(f"`unordered` needs a list as `expected`, got {json.dumps(self.expected)[:40]}")
        return self


class AssertTest(Row):
    """A test program in Python that imports or calls the candidate's functions and fails by an exception.

    It runs in a jail of its own and calls the candidate's functions by value: nothing that it passes is changed by a
    call. A test that needs more than values (instances, callbacks, changed arguments, patching) is `unsupported`.
    """

    type: Literal["asserts"]
    source: Annotated[str, Field(min_length=1, max_length=2**20)]
    """Finds the `functions` as its globals and in a module `solution`. It must call at least one of them."""
    functions: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$", max_length=128)], ...], Field(min_length=1, max_length=64)
    ]
    """Names that the test program uses of the candidate's program."""


def type_of_test(value: object) -> str:
    """Tell which kind of test a value is; one that does not say is `stdio`."""
    return str(value.get("type", "stdio")) if isinstance(value, Mapping) else str(getattr(value, "type", "stdio"))


Test = Annotated[
    Annotated[StdioTest, Tag("stdio")] | Annotated[CallTest, Tag("call")] | Annotated[AssertTest, Tag("asserts")],
    Discriminator(type_of_test),
]


class Checker(Row):
    """How an output is compared with the expected one."""

    kind: Literal["lines", "tokens", "numbers", "unordered-lines", "exact", "program"] = "lines"
    """`lines`: line by line; white space before and behind a line is ignored, unless the lines are a drawing. `tokens`:
    word by word. `numbers`: word by word, whole numbers exactly and decimals within the tolerances. `unordered-lines`:
    the same lines in any order. `exact`: every byte. `program`: `source` decides."""
    absolute_tolerance: Annotated[float, Field(ge=0, le=1e9)] = 1e-6
    """`numbers`, and floats that a function returns."""
    relative_tolerance: Annotated[float, Field(ge=0, lt=1)] = 1e-6
    """`numbers`, and floats that a function returns."""
    source: Annotated[str, Field(max_length=2**20)] = ""
    """`program`: a checker in `language`; reads the JSON object {stdin, expected_stdout, stdout} on standard input;
    exit code 0 accepts, 1 rejects. Anything else rejects too if it can judge the expected output, and is the judge's
    failure if it cannot. It runs in a jail of its own and its time does not count against the program."""
    language: Annotated[str, Field(pattern=r"^[a-z0-9+#-]{1,32}$")] = "python"
    """What `source` is written in."""

    @model_validator(mode="after")
    def _source_belongs_to_program(self) -> Self:
        if (self.kind == "program") != bool(self.source):
            raise ValueError(f"`source` and kind `program` need each other, got kind `{self.kind}`")
        return self


class CodeRow(Row):
    """A programming problem with its tests."""

    tests: Annotated[tuple[Test, ...], Field(min_length=1, max_length=1024)]
    """Hidden from the program. Without any there is nothing to judge: an empty list is refused."""
    language: Annotated[str, Field(pattern=r"^[a-z0-9+#-]{1,32}$")] = "python"
    """What the program must be written in."""
    checker: Checker = Checker()
    """How outputs of `stdio` tests are compared, and floats that functions return."""
    reward: Literal["fraction", "all"] = "fraction"
    """The share of tests passed (ProRL), or 1 only if all pass; `all` stops at the first test that fails."""
    total_wall_seconds: Annotated[float, Field(gt=0, le=600)] = 5.0
    """For all tests together, compilation and checkers not counted; ProRL: 5 s. A program that needs more has reward 0,
    whatever it passed before, as in ProRL (arXiv 2505.24864, appendix D)."""
    test_wall_seconds: Annotated[float, Field(gt=0, le=120)] = 5.0
    """For one test."""
    memory_bytes: Annotated[int, Field(ge=16 * 2**20, le=64 * 2**30)] = 512 * 2**20
    """For one test."""
    deterministic: bool = False
    """Declares that equal programs do the same whenever they run, so that the judgement of an equal program may be
    taken from a cache. Judgements that hang on time are never kept."""
    preamble: bool = False
    """Python: the imports that public sets assume stand before the program (`List`, `deque`, `inf`, ...). Set by their
    importers."""
    libraries: Libraries | None = None
    """Python: what the program may import besides the standard library. null: what the job's `sandbox.libraries` says;
    an empty list: nothing, for problems whose point is to do without."""
    solution: Annotated[str, Field(max_length=2**20)] | None = None
    """A right program: `prorl data check` runs it against the tests. Never shown to a model."""

    @model_validator(mode="after")
    def _functions_are_called_in_python(self) -> Self:
        kinds = sorted({test.type for test in self.tests if test.type != "stdio"})
        if kinds and self.language != "python":
            raise ValueError(f"tests of type {', '.join(kinds)} need language `python`, got `{self.language}`")
        if self.libraries and self.language != "python":
            raise ValueError(f"`libraries` has no effect in language `{self.language}`; remove it")
        if self.preamble and self.language != "python":
            raise ValueError(f"`preamble` has no effect in language `{self.language}`; remove it")
        return self


class CustomRow(Row):
    """What a reward function of one's own is given beside the completion: any JSON object."""

    model_config = ConfigDict(extra="allow")


ROWS: Mapping[Domain, type[Row]] = {
    Domain.MATH: MathRow,
    Domain.CODE: CodeRow,
    Domain.STEM: StemRow,
    Domain.LOGIC: LogicRow,
    Domain.INSTRUCTION_FOLLOWING: InstructionRow,
    Domain.CUSTOM: CustomRow,
}
"""The model of each domain's row."""
