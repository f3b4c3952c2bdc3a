"""The verifiers, by domain. A new domain is one new module and one line here.

A verifier runs in a worker process that may be killed at any moment, so it keeps nothing but caches. Heavy libraries
are imported by its constructor, which the zygote calls once before workers are forked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from prorl_api.spec.values import AnswerFormat, Domain
from prorl_verifiers.judgement import Judgement

AVAILABLE_DOMAINS = (Domain.MATH, Domain.LOGIC, Domain.STEM, Domain.INSTRUCTION_FOLLOWING)
"""What `load_verifiers` provides; known without importing any verifier."""


class Verifier(Protocol):
    """Judges completions of one domain."""

    def judge(self, row: Mapping[str, Any], answer_format: AnswerFormat, completion: str) -> Judgement:
        """Return the judgement of one completion.

        May hang or exhaust memory on a hostile answer: the caller kills it.
        """
        ...

    def warm_up(self) -> None:
        """Take every cost of the first use."""
        ...


def load_verifiers() -> dict[Domain, Verifier]:
    """Return all verifiers, with their libraries imported. Takes seconds."""
    from prorl_verifiers.instructions.verifier import InstructionVerifier
    from prorl_verifiers.logic.verifier import LogicVerifier
    from prorl_verifiers.math.verifier import MathVerifier
    from prorl_verifiers.stem.verifier import StemVerifier

    math = MathVerifier()
    return {
        Domain.MATH: math,
        Domain.LOGIC: LogicVerifier(),
        Domain.STEM: StemVerifier(math),
        Domain.INSTRUCTION_FOLLOWING: InstructionVerifier(),
    }
