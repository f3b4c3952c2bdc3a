"""What programs expect of an interpreter that was started for a person, and one without `site` lacks.

Imported by the zygote of a jail, and put before a program as text at the level `process`: it uses the standard library
alone.
"""

from __future__ import annotations

import _sitebuiltins
import _thread
import builtins
import sys

_LARGEST_STACK = 64 * 2**20
"""Of a thread. Many ask for 512 MiB to recurse deeply, which Python 3.11 and later do without: calls among functions
in Python take none of it. In full it would be refused where the address space is bounded."""


def meet_expectations() -> None:
    """Give programs `exit` and `quit`, whole numbers of any length as text, and threads of any stack size."""
    for name in ("exit", "quit"):
        setattr(builtins, name, _sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)"))
    sys.set_int_max_str_digits(0)  # the limit of time holds
    set_size = _thread.stack_size

    def stack_size(size: int = 0, /) -> int:
        return set_size(min(size, _LARGEST_STACK))

    _thread.stack_size = stack_size
