"""Holds completions back while there are no weights to sample with, and while generation is paused."""

from __future__ import annotations

import asyncio

from prorl_api.process.api_error import ApiError


class Gate:
    """A gate that is open when weights are held, are not being replaced, and nobody paused.

    Waiting is for the short time of a replacement or a pause; without any weights waiting would be endless, so
    `shut` refuses both those who wait and those who come.
    """

    def __init__(self, refusal: ApiError) -> None:
        self._refusal: ApiError | None = refusal
        self._paused = False
        self._replacing = False
        self._changed = asyncio.Event()

    @property
    def paused(self) -> bool:
        """Whether somebody asked for a pause."""
        return self._paused

    async def passing(self) -> None:
        """Return once open.

        Raises:
            ApiError: There are no weights.
        """
        while self._replacing or self._paused or self._refusal is not None:
            if self._refusal is not None and not self._replacing:
                raise self._refusal
            await self._changed.wait()

    def pause(self, paused: bool) -> None:
        """Set or lift the pause."""
        self._paused = paused
        self._notify()

    def replacing(self) -> None:
        """Have everybody wait for `open` or `shut`: weights are about to be replaced."""
        self._replacing = True
        self._notify()

    def open(self) -> None:
        """Let everybody pass: weights are held and proved."""
        self._refusal, self._replacing = None, False
        self._notify()

    def shut(self, refusal: ApiError) -> None:
        """Refuse everybody with `refusal`: there are no weights."""
        self._refusal, self._replacing = refusal, False
        self._notify()

    def _notify(self) -> None:
        waiting, self._changed = self._changed, asyncio.Event()
        waiting.set()
