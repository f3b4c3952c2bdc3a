"""Seconds by part of a step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class StepClock:
    """Adds up time under names like `seconds_sampling`."""

    def __init__(self) -> None:
        """Start the first step."""
        self._parts: dict[str, float] = {}
        self._started = time.monotonic()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the time inside under `seconds_<name>`."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.add(name, time.monotonic() - started)

    def add(self, name: str, seconds: float) -> None:
        """Count time that was measured elsewhere."""
        key = f"seconds_{name}"
        self._parts[key] = self._parts.get(key, 0.0) + seconds

    def lap(self) -> dict[str, float]:
        """Return the parts of the step that ends here, with `seconds_total`; the next step begins."""
        now = time.monotonic()
        parts = {**self._parts, "seconds_total": now - self._started}
        self._parts, self._started = {}, now
        return parts
