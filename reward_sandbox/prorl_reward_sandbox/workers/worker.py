"""The loop of one verifier worker: a frame with an item in, a frame with its judgement out.

It is hostile territory: an answer may make it hang, grow or crash. It therefore keeps no secrets but the item at
hand, and whoever started it kills it.
"""

from __future__ import annotations

import logging
import os
import resource
import socket
from collections.abc import Mapping
from typing import Any

from prorl_api.spec.values import AnswerFormat, Domain
from prorl_reward_sandbox import frames
from prorl_verifiers import Verifier

_logger = logging.getLogger(__name__)

_MAX_DESCRIPTORS = 64
"""Scorers open a data file each at most; the connection and the standard streams are four."""
FAILURE = "failure"
"""Header field of a reply that is no judgement: `memory` or a description of an unexpected error."""
FAILURE_MEMORY = "memory"


def serve(connection: socket.socket, verifiers: Mapping[Domain, Verifier], *, memory_bytes: int) -> None:
    """Judge items until the connection ends."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MAX_DESCRIPTORS, _MAX_DESCRIPTORS))
    connection.sendall(frames.encode({"pid": os.getpid()}))
    while (frame := frames.receive(connection)) is not None:
        connection.sendall(frames.encode(_reply(frame.header, verifiers)))


def _reply(item: Mapping[str, Any], verifiers: Mapping[Domain, Verifier]) -> dict[str, Any]:
    try:
        verifier = verifiers[Domain(item["domain"])]
        judgement = verifier.judge(item["row"], AnswerFormat(item["answer_format"]), item["completion"])
    except MemoryError:
        return {FAILURE: FAILURE_MEMORY}
    except Exception as error:  # process edge: one bad item must not take the worker down without a word
        _logger.exception("a verifier failed unexpectedly")
        return {FAILURE: f"{type(error).__name__} in the {item['domain']} verifier"}
    return {"verdict": judgement.verdict.value, "reward": judgement.reward, "detail": judgement.detail}
