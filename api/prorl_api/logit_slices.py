"""How many logits are computed at once: the learner slices its head so, and a forecast of its memory counts so."""

from __future__ import annotations

LOGITS_ALIVE = 2**24
"""On a CPU: two float32 buffers of so many entries, 64 MiB each. Larger slices are not faster (docs/LOG.md)."""
LOGITS_ALIVE_ON_GPU = 2**27
"""There a product of few rows leaves most of the device idle."""


def logits_alive(*, on_gpu: bool) -> int:
    """Return the most logits that the head computes at once, though never less than one row's."""
    return LOGITS_ALIVE_ON_GPU if on_gpu else LOGITS_ALIVE
