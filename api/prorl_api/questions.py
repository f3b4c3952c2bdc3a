"""When two prompts ask the same: one rule for keeping held-out questions out of training and for finding repeats."""

from __future__ import annotations

import hashlib
import unicodedata

from prorl_api.data_lines import Question


def question_text(question: Question) -> str:
    """Return what a prompt asks: a text as it is, of a conversation everything but system messages."""
    if isinstance(question, str):
        return question
    return "\n".join(message["content"] for message in question if message["role"] != "system")


def normalised(text: str) -> str:
    """Compatibility characters unified (NFKC), case folded, white space made single spaces; symbols stay."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def question_digest(question: Question) -> bytes:
    """Return 16 bytes that are equal for prompts that ask the same, normalised, whatever their system message."""
    text = normalised(question_text(question))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
