"""What a completion answers, as a text that can be counted: for maj@n and for the entropy of answers.

Two answers count as the same if their texts are, white space apart: `1/2` and `0.5` are two. Programs and free texts
have no answer in this sense.
"""

from __future__ import annotations

from prorl_api.spec.data import DataSource
from prorl_api.spec.values import AnswerFormat, Domain

_COUNTED = (Domain.MATH, Domain.STEM, Domain.LOGIC, Domain.CUSTOM)
_LONGEST = 400
"""Characters; a longer text is not an answer that anybody gives twice."""


def answer_of(source: DataSource, completion: str) -> str | None:
    """Return what the source's verifier looks at, shortened to the last box, tag or line where it looks at all."""
    if source.domain not in _COUNTED:
        return None
    from prorl_verifiers.extraction import extract, final_text

    if source.answer_format is not AnswerFormat.TEXT:
        found = extract(completion, source.answer_format)
    else:
        found = extract(completion, AnswerFormat.ANSWER_TAG) or extract(completion, AnswerFormat.BOXED)
        found = found or next(reversed(final_text(completion).strip().splitlines()), None)
    text = " ".join((found or "").split())
    return text if 0 < len(text) <= _LONGEST else None
