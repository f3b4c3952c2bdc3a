"""Keeps out of the log what vLLM warns of at every update of the weights, and which is none of our faults."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

LOGGER = "vllm.model_executor.model_loader.reload.layerwise"
MESSAGE = "%s: Failed to load weights"
"""Said of every layer that received nothing, as an output head tied to the embedding never does."""


@contextmanager
def without_false_alarms() -> Iterator[None]:
    """Drop that warning while an update is finished, of which it was proved before that no parameter is missing."""
    logger = logging.getLogger(LOGGER)

    def is_none_of_them(record: logging.LogRecord) -> bool:
        return record.msg != MESSAGE

    logger.addFilter(is_none_of_them)
    try:
        yield
    finally:
        logger.removeFilter(is_none_of_them)
