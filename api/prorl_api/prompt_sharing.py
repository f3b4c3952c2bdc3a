"""When completions of one prompt share it in a pack: the learner packs so, and a plan counts so."""

from __future__ import annotations

SHARING_SAVES = 0.02
"""Share of a group's positions that a shared prompt must save to be worth it. What it costs: each completion's
attention is put together of two parts, and a group that stays together leaves more of a pack empty."""


def sharing_pays(prompt: int, num_completions: int, completion_tokens: int) -> bool:
    """Tell whether completions share their prompt.

    Args:
        prompt: Its tokens.
        num_completions: Of the prompt.
        completion_tokens: Of all of them together.
    """
    return prompt * (num_completions - 1) >= SHARING_SAVES * (prompt * num_completions + completion_tokens)
