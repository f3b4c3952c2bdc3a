"""`prorl run` with real components, and a sandbox that sometimes answers nonsense: `body.py MANIFEST RUN_DIR`."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from prorl_api.spec.values import Role
from prorl_cli.local.environment import PROGRAMS
from prorl_cli.local.run import RunRequest, run_job

if __name__ == "__main__":
    spoilt = (sys.executable, str(Path(__file__).with_name("sandbox.py")))
    request = RunRequest(
        manifest=Path(sys.argv[1]),
        run_dir=Path(sys.argv[2]),
        is_plain=True,
        programs={**PROGRAMS, Role.SANDBOX: spoilt},
        has_report=False,
    )
    sys.exit(run_job(request, Console(width=200)))
