"""How this program is called here, so that a command in a message can be pasted: a new installation is on no PATH."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

_NAME = "prorl"


def command(*arguments: object) -> str:
    """Return a command line of this program, quoted."""
    return f"{program()} {shlex.join(str(argument) for argument in arguments)}"


def program() -> str:
    """Return what a shell calls this program by: its name if that leads here, else as it was called."""
    called = Path(sys.argv[0])
    found = shutil.which(_NAME)
    if called.name == _NAME and (found is None or Path(found).resolve() != called.resolve()):
        return shlex.quote(sys.argv[0])
    if found is None and called.name == "__main__.py" and called.parent.name == "prorl_cli":
        return f"{shlex.quote(sys.executable)} -m prorl_cli"
    return _NAME
