"""Entry point of the `prorl` script: a base installation has no command line, and says so in one line."""

from __future__ import annotations

import sys

from prorl_api.process.ending import INSTALL, missing_package


def main() -> None:
    """Run the command line."""
    try:
        from prorl_cli.main import main as run
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("prorl_"):
            raise
        sys.exit(f"error: {missing_package(error)}: {INSTALL['prorl_cli']}")
    run()
