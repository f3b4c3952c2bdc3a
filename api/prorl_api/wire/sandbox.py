"""Bodies of the reward sandbox's API: judging completions and running programs.

`POST /v1/score` judges a batch of completions; `POST /v1/execute` runs one program against tests and
`POST /v1/execute-batch` many. The judge's own failure is the verdict `sandbox_error` with no reward: it is retried,
then masked and counted, and never a zero.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from prorl_api.rows import AssertTest, CallTest, Checker, type_of_test
from prorl_api.spec.values import AnswerFormat, Domain, Libraries
from prorl_api.wire.base import WireModel

CORRECT_REWARD = 0.99
"""A reward at least this counts as correct, in accuracies and in pass@k."""


class Verdict(StrEnum):
    """What the judge found."""

    CORRECT = "correct"
    PARTIAL = "partial"
    """Some of the reward: a fraction of the tests, or a task's own partial score."""
    WRONG = "wrong"
    FORMAT_ERROR = "format_error"
    """No answer could be found in the completion."""
    COMPILE_ERROR = "compile_error"
    RUNTIME_ERROR = "runtime_error"
    TIMEOUT_CPU = "timeout_cpu"
    TIMEOUT_WALL = "timeout_wall"
    MEMORY = "memory"
    OUTPUT = "output"
    """More output than allowed."""
    PIDS = "pids"
    """More processes than allowed."""
    SKIPPED = "skipped"
    """A test that was not run because one before it had failed and all must pass."""
    UNSUPPORTED = "unsupported"
    """This row cannot be judged here; masked like an error, but trying again does not help."""
    SANDBOX_ERROR = "sandbox_error"
    """The judge failed; the same item may be tried again."""

    @property
    def has_reward(self) -> bool:
        """Whether the verdict speaks about the model's answer rather than about the judge."""
        return self not in (Verdict.UNSUPPORTED, Verdict.SANDBOX_ERROR)


class RewardFunction(WireModel):
    """A reward function of a user's own. It judges in a jail, like a model's program: the service does not trust it."""

    source: Annotated[str, Field(max_length=2**20)]
    """Python, as a file."""
    function: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$", max_length=128)]
    """Called with a completion and its row; returns a number from 0 to 1, or None for what it cannot judge."""


class ScoreItem(WireModel):
    """One completion to judge."""

    item_id: Annotated[str, Field(min_length=1, max_length=256)]
    """Chosen by the caller; comes back in the result."""
    domain: Domain
    answer_format: AnswerFormat = AnswerFormat.TEXT
    """How the answer is found in the completion before the verifier sees it."""
    row: dict[str, Any]
    """What the verifier needs: a row of `prorl_api.rows` for the domain; one that is not is `unsupported`. Secrets of
    the judge: they never reach a process that runs the completion."""
    completion: Annotated[str, Field(max_length=2_000_000)]
    """What the model wrote, without the prompt."""
    reward: Annotated[str, Field(max_length=256)] = ""
    """Domain `custom`: which of the request's `rewards` judges."""


class ScoreRequest(WireModel):
    """`POST /v1/score`."""

    items: Annotated[tuple[ScoreItem, ...], Field(min_length=1, max_length=4096)]
    """Judged independently of each other."""
    rewards: Annotated[dict[str, RewardFunction], Field(max_length=64)] = {}
    """Domain `custom`: functions by the name that items give."""
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 10.0
    """Wall-clock limit for judging one item, queueing not counted. code: bounds the tests of a program, beside the
    row's own limits; compilers and checkers have limits of their own."""


class ScoreResult(WireModel):
    """The judgement of one item."""

    item_id: str
    """Of the item judged."""
    verdict: Verdict
    reward: Annotated[float, Field(ge=0.0, le=1.0)] | None
    """In [0, 1]; None exactly when the verdict says nothing about the answer."""
    detail: str = ""
    """For people: what was extracted, which test failed. Never the expected answer of a hidden test."""
    judge_seconds: float = 0.0
    """Wall time of the verifier."""

    @model_validator(mode="after")
    def _judge_failure_is_not_a_score(self) -> Self:
        if (self.reward is None) == self.verdict.has_reward:
            raise ValueError(f"verdict {self.verdict} and reward {self.reward} contradict each other")
        return self


class ScoreResponse(WireModel):
    """One result per item, in the order of the items."""

    results: tuple[ScoreResult, ...]
    """One an item."""
    queue_seconds: float = 0.0
    """Longest wait of an item for a worker."""
    isolation_level: str = ""
    """What contained programs; empty if no item needed one."""


class ExecutionLimits(WireModel):
    """What one run of a program may use."""

    wall_seconds: Annotated[float, Field(gt=0, le=120)] = 5.0
    """Wall time."""
    cpu_seconds: Annotated[float, Field(gt=0, le=120)] = 5.0
    """CPU time of each process."""
    memory_bytes: Annotated[int, Field(ge=16 * 2**20, le=64 * 2**30)] = 512 * 2**20
    """Address space of each process."""
    processes: Annotated[int, Field(ge=1, le=1024)] = 32
    """Processes and threads at once."""
    output_bytes: Annotated[int, Field(ge=1, le=64 * 2**20)] = 1 * 2**20
    """Standard output and standard error, each."""
    file_bytes: Annotated[int, Field(ge=0, le=1 * 2**30)] = 16 * 2**20
    """Largest file it may write."""


class ProgramTest(WireModel):
    """One test by standard input and output."""

    type: Literal["stdio"] = "stdio"
    """Tells it from the other kinds of tests."""
    stdin: Annotated[str, Field(max_length=16 * 2**20)] = ""
    """Standard input, as UTF-8."""
    expected_stdout: Annotated[str, Field(max_length=16 * 2**20)] | None = None
    """None: only run. Compared outside the program's process, as `checker` says."""


class ExecuteRequest(WireModel):
    """`POST /v1/execute`: one program, all its tests."""

    language: Annotated[str, Field(pattern=r"^[a-z0-9+#-]{1,32}$")] = "python"
    """What the source is written in."""
    source: Annotated[str, Field(max_length=1 * 2**20)]
    """The program."""
    tests: Annotated[
        tuple[
            Annotated[
                Annotated[ProgramTest, Tag("stdio")]
                | Annotated[CallTest, Tag("call")]
                | Annotated[AssertTest, Tag("asserts")],
                Discriminator(type_of_test),
            ],
            ...,
        ],
        Field(min_length=1, max_length=1024),
    ]
    """Run one after the other, each in a fresh process."""
    checker: Checker = Checker()
    """How outputs of `stdio` tests are compared, and floats that functions return."""
    reward: Literal["fraction", "all"] = "fraction"
    """The share of tests passed, or 1 only if all pass. `all` stops at the first test that fails; those after it have
    the verdict `skipped`."""
    libraries: Libraries | None = None
    """Python: what the program may import besides the standard library; null: what the sandbox's settings say."""
    limits: ExecutionLimits = ExecutionLimits()
    """Limits of each test. Compilers and checkers have limits of their own."""
    total_wall_seconds: Annotated[float, Field(gt=0, le=600)] = 5.0
    """For all tests together; tests not reached are `timeout_wall`, and the reward is then 0."""
    deterministic: bool = False
    """Declares that an equal program does the same whenever it runs, so that the results of an equal request may be
    taken from a cache. Results that hang on time are never kept."""


class ExecuteBatchRequest(WireModel):
    """`POST /v1/execute-batch`: many programs at once."""

    programs: Annotated[tuple[ExecuteRequest, ...], Field(min_length=1, max_length=4096)]
    """Judged independently of each other; each waits for a slot of its own."""


class ProgramTestResult(WireModel):
    """What one test did."""

    verdict: Verdict
    detail: str = ""
    """For people: why. Never what was expected."""
    exit_code: int | None = None
    """None: it ended by a signal or never ran."""
    signal: int | None = None
    """Number of the signal that ended it."""
    stdout: str = ""
    """At most `output_bytes`, undecodable bytes replaced."""
    stderr: str = ""
    """At most `output_bytes`, undecodable bytes replaced."""
    is_output_shown: bool = True
    """Off: `stdout` and `stderr` are left out, because the answer would be too large. They were judged as a whole."""
    wall_seconds: float = 0.0
    """Wall time of the run."""
    cpu_seconds: float = 0.0
    """CPU time of the run."""
    cpu_wait_seconds: float | None = None
    """The longest that one of its threads was ready to run while others had the processors; None where the kernel does
    not tell, where it had a crowd of threads of its own, or where the run was short."""
    peak_bytes: int | None = None
    """Most memory of all its processes together; None where the level of isolation cannot tell."""


class CompileResult(WireModel):
    """What the compiler did."""

    verdict: Verdict
    """`correct`: there is a program to run. `compile_error`, or a limit that the compiler ran into."""
    output: str = ""
    """The end of what the compiler wrote, if it failed."""
    wall_seconds: float = 0.0
    """Wall time of the compiler, when it ran."""
    is_cached: bool = False
    """Whether the program had been compiled before, by this request's twin or an earlier one."""


class ExecuteResponse(WireModel):
    """Per-test results, in the order of the tests."""

    tests: tuple[ProgramTestResult, ...]
    """One a test."""
    isolation_level: str
    """What contained the program: `process`, `landlock`, `namespaces`, ..."""
    reward: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    """By the request's policy; None if some test could not be judged."""
    compilation: CompileResult | None = None
    """None for languages that are not compiled."""
    queue_seconds: float = 0.0
    """Wait for a slot; not part of any limit."""
    judge_seconds: float = 0.0
    """Compiling, running and checking."""
    is_cached: bool = False
    """Whether these are the results of an equal, deterministic request."""


class ExecuteBatchResponse(WireModel):
    """One response a program, in the order of the programs."""

    programs: tuple[ExecuteResponse, ...]
    """One a program."""
