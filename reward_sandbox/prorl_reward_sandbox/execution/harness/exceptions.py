"""In the jail of a test program: which exception it gets for one that the tested program raised. An allow-list.

Some exceptions are no errors to Python but signals that its own machinery reads: StopIteration ends `all(map(f, ...))`
with success. Those arrive as RuntimeError, as out of a generator (PEP 479). What would end a test program, and every
class that is not on the list, arrives as `ProgramError`.
"""

from __future__ import annotations

import builtins

SIGNALS = frozenset(("StopIteration", "StopAsyncIteration", "GeneratorExit"))
"""Read by loops, iterators and generators."""
NOT_CROSSING = SIGNALS | {"SystemExit", "KeyboardInterrupt"}
"""What a test program cannot expect of the tested one."""
_ERRORS = (
    "ArithmeticError AssertionError AttributeError BlockingIOError BrokenPipeError BufferError ChildProcessError "
    "ConnectionAbortedError ConnectionError ConnectionRefusedError ConnectionResetError EOFError Exception "
    "FileExistsError FileNotFoundError FloatingPointError ImportError IndentationError IndexError InterruptedError "
    "IsADirectoryError KeyError LookupError MemoryError ModuleNotFoundError NameError NotADirectoryError "
    "NotImplementedError OSError OverflowError PermissionError ProcessLookupError RecursionError ReferenceError "
    "RuntimeError SyntaxError SystemError TabError TimeoutError TypeError UnboundLocalError UnicodeError ValueError "
    "ZeroDivisionError"
)
_WARNINGS = (
    "BytesWarning DeprecationWarning FutureWarning ImportWarning PendingDeprecationWarning ResourceWarning "
    "RuntimeWarning SyntaxWarning UnicodeWarning UserWarning Warning"
)
CROSSING = frozenset((*_ERRORS.split(), *_WARNINGS.split()))
_UNICODE_ERRORS = {
    "UnicodeDecodeError": ("utf-8", b"", 0, 1),
    "UnicodeEncodeError": ("utf-8", "", 0, 1),
    "UnicodeTranslateError": ("", 0, 1),
}
"""What these are made with, besides a reason: which text they are about stays with the program."""


class ProgramError(Exception):
    """The program raised something that does not cross, or answered with something that cannot."""


def exception_of(name: str, text: str) -> Exception:
    """Return the exception for one whose nearest builtin class has that name, marked as the program's."""
    if name in SIGNALS:
        error: Exception = RuntimeError(f"the program raised {name}: {text}")
    elif name in _UNICODE_ERRORS:
        error = getattr(builtins, name)(*_UNICODE_ERRORS[name], text)
    elif name in CROSSING:
        error = getattr(builtins, name)(text)
    else:
        error = ProgramError(f"{name}: {text}")
    return from_program(error)


def from_program(error: Exception) -> Exception:
    """Return the exception, marked: it tells nothing of the test program."""
    error.is_from_program = True  # type: ignore[attr-defined]
    return error


def is_from_program(error: BaseException) -> bool:
    """Tell whether it was marked so."""
    return getattr(error, "is_from_program", False) is True
