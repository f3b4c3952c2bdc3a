"""The first checker: math-verify's parser and comparison behind time limits.

For a worker's main thread only: math-verify's timeouts are SIGALRM (they also cancel any alarm set around them), and
it returns nonsense in threads. They are the first line; the deadline from outside is the second, because a bare
`except:` deep in sympy can swallow them. The comparison is asymmetric: the expected answer comes first.
"""

from __future__ import annotations

import re
from typing import Any

TIMEOUT_SECONDS = 2
"""For parsing, and for each comparison; whole seconds, as SIGALRM counts."""
# How math-verify recognises mathematics within text; without one of these the whole answer is taken as mathematics.
_MATH_MARK = re.compile(r"\$|\\boxed|\\\(|\\\[")


class TooSlowError(Exception):
    """The checker gave up after its time limit."""


class RejectedError(Exception):
    """The checker cannot take this text as mathematics. The message says why."""


class MathVerifyChecker:
    """Parses and compares; holds no state but the library's caches."""

    def __init__(self) -> None:
        import math_verify
        from math_verify.errors import TimeoutException

        self._parse = math_verify.parse
        self._verify = math_verify.verify
        self._timeout: type[BaseException] = TimeoutException
        self._other = self._parse(r"\boxed{7919}")

    def read_expected(self, text: str) -> list[Any]:
        """The expressions of an expected answer.

        Raises:
            TooSlowError: Parsing or comparing it takes too long.
            RejectedError: It is not mathematics, or not finite.
        """
        parsed = self._call(self._parse, _as_mathematics(text), parsing_timeout=TIMEOUT_SECONDS)
        equals_itself = self._call(self._verify, parsed, parsed, timeout_seconds=TIMEOUT_SECONDS)
        # Equal objects need no evaluation; an ordinary wrong answer does.
        self._call(self._verify, parsed, self._other, timeout_seconds=TIMEOUT_SECONDS)
        if all(isinstance(expression, str) for expression in parsed) or not equals_itself:
            raise RejectedError("does not parse as mathematics")
        if any(_is_not_a_number(expression) for expression in parsed):
            raise RejectedError("is not a number")
        return list(parsed)

    def accepts(self, expected: list[Any], text: str) -> bool:
        """Whether an answer equals one of the expected expressions.

        Raises:
            TooSlowError: It takes too long to tell.
            RejectedError: The answer is not mathematics.
        """
        candidates = self._call(self._parse, _as_mathematics(text), parsing_timeout=TIMEOUT_SECONDS)
        if not candidates:
            raise RejectedError("no mathematics")
        return bool(self._call(self._verify, expected, candidates, timeout_seconds=TIMEOUT_SECONDS))

    def _call(self, function: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options, raise_on_error=True)
        except self._timeout as error:
            raise TooSlowError from error
        except MemoryError:
            raise  # the worker's own memory may be to blame: the pool decides on a fresh worker
        except Exception as error:  # a parser that raises anything on junk
            raise RejectedError(f"raises {type(error).__name__}") from error


def _as_mathematics(answer: str) -> str:
    """Mark the whole string as mathematics unless it carries its own marks."""
    answer = answer.strip()
    if _MATH_MARK.search(answer):
        return answer
    return rf"\boxed{{{answer.rstrip('.')}}}"


def _is_not_a_number(expression: Any) -> bool:
    import sympy  # type: ignore[import-untyped]

    has = getattr(expression, "has", None)
    return bool(has is not None and has(sympy.nan, sympy.zoo))
