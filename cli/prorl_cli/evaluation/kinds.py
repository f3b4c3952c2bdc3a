"""The words that the commands of evaluation take; light, because every start of `prorl` imports them."""

from __future__ import annotations

from enum import StrEnum


class Preset(StrEnum):
    """A named way of sampling."""

    PAPER = "paper"
    BOUNDARY = "boundary"
