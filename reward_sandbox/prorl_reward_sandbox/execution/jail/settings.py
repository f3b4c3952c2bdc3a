"""What a zygote is told at its start, and what it says when it is ready."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

NAMESPACES = "namespaces"
LANDLOCK = "landlock"
LEVELS = (NAMESPACES, LANDLOCK)
"""What a `Jail` can be, the strongest first."""
_COMMON = (
    "bisect collections collections.abc copy dataclasses enum functools heapq io "
    "itertools json math operator re string struct time traceback types typing"
)
PRELOADED = tuple(_COMMON.split())
"""What programs import most; importing costs more than a whole run.

Every module costs each clone a little, so those are left out that few programs need and that are imported within about
a millisecond: `datetime`, `decimal`, `fractions`, `random` (which also seeds itself anew after each fork). And
`threading`: what it does after each fork costs every program more than the import costs the few that need it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZygoteSettings:
    """How to contain.

    Attributes:
        level: `NAMESPACES` or `LANDLOCK`.
        user_id: User (and group) of programs; None: this process may not change users.
        readable: Folders that programs may read besides the system's: the interpreter's own.
        preloaded: Modules to import before anything is forked; those that are missing are left out.
        libraries: Packages to import as well and the folder that each lies in, in the order of their import.
        memory_is_bounded: A control group bounds the memory, so that executables need no limit of address space.
        control: Descriptor of the socket over which clones are asked for.
    """

    level: str
    user_id: int | None
    readable: tuple[str, ...]
    preloaded: tuple[str, ...]
    libraries: tuple[tuple[str, str], ...]
    memory_is_bounded: bool
    control: int = -1

    def encode(self) -> str:
        """As an argument."""
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str) -> ZygoteSettings:
        """From the argument."""
        fields = json.loads(text)
        lists = {name: tuple(fields[name]) for name in ("readable", "preloaded")}
        libraries = tuple((package, folder) for package, folder in fields["libraries"])
        return cls(**{**fields, **lists, "libraries": libraries})


@dataclass(frozen=True, slots=True, kw_only=True)
class Containment:
    """What was found possible at the start.

    Attributes:
        has_user_namespace: Namespaces were had by a user namespace, so that programs keep the service's user outside.
        with_proc: A /proc of the run's own can be had; without, there is none.
        own_pid_only: Landlock cannot keep signals inside; the filter allows them to the program itself only.
    """

    has_user_namespace: bool = False
    with_proc: bool = True
    own_pid_only: bool = False
