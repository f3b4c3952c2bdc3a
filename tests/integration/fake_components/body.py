"""`prorl run` with stand-ins instead of the real components: `body.py MANIFEST RUN_DIR CONTROL_FOLDER [LIVE_PORT]`."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from prorl_api.errors import ProRLError
from prorl_api.spec.values import Role
from prorl_cli.errors import exit_code_of
from prorl_cli.local.run import RunRequest, run_job

_COMPONENT = Path(__file__).with_name("component.py")


def main() -> int:
    """Run the job; the exit code."""
    manifest, run_dir, control = (Path(argument) for argument in sys.argv[1:4])
    programs = {role: (sys.executable, str(_COMPONENT), role.value, str(control)) for role in Role}
    live_port = int(sys.argv[4]) if len(sys.argv) > 4 else None
    request = RunRequest(
        manifest=manifest,
        run_dir=run_dir,
        is_plain=True,
        programs=programs,
        has_report=False,
        live_port=live_port,
    )
    try:
        return run_job(request, Console(width=200))
    except ProRLError as error:
        Console(stderr=True).print(f"error: {error}", markup=False, soft_wrap=True)
        return exit_code_of(error)


if __name__ == "__main__":
    sys.exit(main())
