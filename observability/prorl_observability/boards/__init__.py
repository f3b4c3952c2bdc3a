"""The dashboards: one module each, data alone."""

from prorl_observability.boards.fleet import FLEET
from prorl_observability.boards.run import RUN_BOARD
from prorl_observability.boards.sandbox import SANDBOX
from prorl_observability.panels import Board

BOARDS: dict[str, Board] = {"prorl-fleet": FLEET, "prorl-run": RUN_BOARD, "prorl-sandbox": SANDBOX}
"""By file name."""
