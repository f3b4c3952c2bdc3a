"""A warning of vLLM that is none, at every publish of a model with a tied head; everything else is heard."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

import pytest

from prorl_rollout_server.false_alarms import LOGGER, MESSAGE, without_false_alarms


def test_the_false_alarm_is_dropped_and_other_warnings_are_heard(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger(LOGGER)
    with caplog.at_level(logging.WARNING, LOGGER):
        with without_false_alarms():
            logger.warning(MESSAGE, "ParallelLMHead")
            logger.warning("something else")
        logger.warning(MESSAGE, "ParallelLMHead")
    assert caplog.messages == ["something else", "ParallelLMHead: Failed to load weights"]


def test_the_installed_engine_says_it_there() -> None:
    found = importlib.util.find_spec("vllm")
    assert found is not None
    assert found.origin is not None
    source = Path(found.origin).parent.joinpath(*LOGGER.split(".")[1:]).with_suffix(".py").read_text(encoding="utf-8")
    assert MESSAGE in source
