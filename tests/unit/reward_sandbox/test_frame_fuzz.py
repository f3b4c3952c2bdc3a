"""Whatever stands in a frame, what reads it yields data or refuses, in time. `make fuzz-frames` does so for minutes."""

from __future__ import annotations

import time

import pytest

from tests.unit.reward_sandbox.frame_fuzz import READERS, Fuzz


@pytest.mark.parametrize("name", READERS)
def test_a_reader_survives_every_frame(name: str) -> None:
    fuzz = Fuzz(seed=17)
    longest = 0.0
    for _ in range(1500):
        began = time.process_time()
        READERS[name](fuzz)
        longest = max(longest, time.process_time() - began)
    assert longest < 5, "one frame must not take seconds"
