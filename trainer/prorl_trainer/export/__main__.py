"""`python -m prorl_trainer.export RUN --output FOLDER`: what `prorl export` has a pod do on a job's volume."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from prorl_api.errors import ExitCode, ProRLError
from prorl_api.process.logs import configure_logging
from prorl_api.run_folder import RunFolder

_logger = logging.getLogger("prorl_trainer.export")


def main(arguments: Sequence[str] | None = None) -> int:
    """Export, push if asked to, and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m prorl_trainer.export")
    parser.add_argument("run", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--checkpoint", default="best")
    parser.add_argument("--model")
    parser.add_argument("--push", metavar="REPO")
    given = parser.parse_args(arguments)
    configure_logging("export")
    from prorl_trainer.setup import quiet_libraries

    quiet_libraries()
    try:
        _logger.info("exported", extra=_export(given))
    except ProRLError as error:
        _logger.error("%s: %s", type(error).__name__, error)
        return ExitCode.FAILED
    return ExitCode.OK


def _export(given: argparse.Namespace) -> dict[str, object]:
    from prorl_trainer.export.exporting import export, find_policy
    from prorl_trainer.export.push import push, require_token

    if given.push:
        require_token(given.push)
    policy = find_policy(RunFolder(given.run), given.checkpoint, given.model)
    record = export(policy, given.output)
    said = {"job": record.job, "checkpoint": record.checkpoint, "step": record.step, "folder": str(given.output)}
    return said | ({"pushed": push(given.output, given.push, record)} if given.push else {})


if __name__ == "__main__":
    sys.exit(main())
