"""Run a script in a Python that has already started, as `python -I -S -B main.py` would. Runs the program's code.

The same: `__name__` and the other names of the main module, `sys.argv`, no folder of the script on `sys.path`, what
an uncaught exception prints, exit codes, and at the end threads joined, exit handlers called, the main module's
objects let go and the streams flushed. Different: modules are not torn down one by one at the end.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import gc
import sys
import types
from importlib.machinery import SourceFileLoader

_FLUSH_FAILED = 120
"""The exit code of a Python that could not flush its standard output."""


class Script:
    """The main module of programs. Made before there is a program, since making it costs more than many a program."""

    def __init__(self) -> None:
        module = types.ModuleType("__main__")
        self._names = module.__dict__
        self._loader = SourceFileLoader("__main__", "")
        self._names.update(
            __file__="", __builtins__=builtins, __cached__=None, __annotations__={}, __loader__=self._loader
        )
        sys.modules["__main__"] = module

    def run(self, folder: str, argv: tuple[str, ...], source: bytes) -> int:
        """Run a program to its end; returns the exit code. Once: there is one main module."""
        path = f"{folder}/{argv[0]}"
        sys.argv[:] = argv
        self._names["__file__"] = self._loader.path = path
        code = _guarded(source, path, self._names)
        return _finish(self._names, code)


def _guarded(source: bytes, path: str, names: dict[str, object]) -> int:
    """Run it; the exit code that belongs to how it ended."""
    try:
        exec(compile(source, path, "exec", dont_inherit=True), names)  # noqa: S102  (the purpose)
    except SystemExit as exit_request:
        return _exit_code(exit_request.code)
    except BaseException as error:  # noqa: BLE001  (as the interpreter does)
        return _report(error)
    return 0


def _report(error: BaseException) -> int:
    """Have the exception printed, without the frames of this module; returns the exit code."""
    inner = error.__traceback__
    while inner is not None and inner.tb_frame.f_code.co_filename == __file__:
        inner = inner.tb_next
    error.__traceback__ = inner
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, inner
    try:
        sys.excepthook(type(error), error, inner)
    except SystemExit as exit_request:
        return _exit_code(exit_request.code)
    except BaseException as second:  # noqa: BLE001  (a hook may be anything)
        _complain("Error in sys.excepthook:\n")
        sys.__excepthook__(type(second), second, second.__traceback__)
        _complain("\nOriginal exception was:\n")
        sys.__excepthook__(type(error), error, inner)
    return 130 if isinstance(error, KeyboardInterrupt) else 1


def _complain(text: str) -> None:
    if sys.__stderr__ is not None:
        sys.__stderr__.write(text)


def _exit_code(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    with contextlib.suppress(BaseException):  # its `__str__` may be anything; the interpreter ignores that too
        sys.stderr.write(f"{code}\n")
    return 1


def _finish(names: dict[str, object], code: int) -> int:
    """Return what the interpreter does at its end, in its order."""
    threading = sys.modules.get("threading")
    if threading is not None:
        threading._shutdown()
    atexit._run_exitfuncs()
    code = _flush(code)
    # As a module is cleared: private names first, so that what others' finalizers use is still there.
    for private in (True, False):
        for name in list(names):
            if name.startswith("_") == private and name != "__builtins__":
                names[name] = None
    if "last_value" in vars(sys):
        sys.last_type = sys.last_value = sys.last_traceback = None
    # Everything is collected either way, but a collection of the oldest generation also empties the interpreter's lists
    # of free objects, which are the zygote's: that is a look at each.
    gc.collect(2 if gc.get_objects(generation=2) else 1)
    return _flush(code)


def _flush(code: int) -> int:
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not getattr(stream, "closed", False):
                stream.flush()
        except BaseException:  # noqa: BLE001  (whatever a program put there)
            if stream is sys.stdout:
                code = _FLUSH_FAILED
    return code
