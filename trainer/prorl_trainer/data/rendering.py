"""From a question to the text of a prompt."""

from __future__ import annotations

from typing import Any

from jinja2 import TemplateError

from prorl_api.data_lines import Question
from prorl_api.spec.data import PromptFormat

TEMPLATE_FAILURES = (TemplateError, ValueError, TypeError, KeyError, AttributeError)
"""What rendering raises where there is no chat template, or one that refuses or fails."""


def render(tokenizer: Any, form: PromptFormat, question: Question) -> str:
    """Return the prompt's text: chat template with the generation prompt, then the assistant prefix.

    Raises:
        TEMPLATE_FAILURES: The tokenizer's chat template does not take it.
    """
    if isinstance(question, str):
        user = form.template.replace("{question}", question)
        if not form.chat:
            return user + form.assistant_prefix
        messages = [{"role": "user", "content": user}]
    else:
        messages = question
    if form.system is not None:
        messages = [{"role": "system", "content": form.system}, *messages]
    text: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return text + form.assistant_prefix


def tokenise(tokenizer: Any, form: PromptFormat, text: str) -> tuple[int, ...]:
    """Return the tokens of a prompt's text; a chat template has written the special ones already."""
    return tuple(tokenizer(text, add_special_tokens=not form.chat)["input_ids"])
