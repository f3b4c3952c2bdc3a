"""In a jail: run a test program whose functions are elsewhere. The program that is tested never comes here.

Started as `main.py` with the test program beside it as `tests.py` and the functions' names in `functions.json`. A call
of a function is a frame `C` + request, answered by a frame from the program's jail; the end is a frame `D` + verdict
(`passed`, `failed` or `unsupported`) and a reason that tells nothing of what was expected. What comes from the
program is decoded into builtin values: it can make the test program fail, and nothing else.

`unsupported` is about the test program alone. It is found in the text, or before the first answer; what happens after
an answer may be that answer's doing, and a program must not be able to trade its zero for a missing reward.
"""

from __future__ import annotations

import ast
import json
import os
import sys
import threading
import traceback
import types

from prorl_reward_sandbox.execution.harness.canonical import RefusedError, decode, encode, loads
from prorl_reward_sandbox.execution.harness.descriptor import finish, receive, send
from prorl_reward_sandbox.execution.harness.evaluating import Evaluator, constants
from prorl_reward_sandbox.execution.harness.exceptions import ProgramError, exception_of, from_program, is_from_program
from prorl_reward_sandbox.execution.harness.needs import imported_modules, lacking, needs

_lock = threading.Lock()
_findings: list[tuple[str, str]] = []
"""Verdicts that no test program may hide; the first counts."""
_num_answers = [0]
_takes_nan = [False]
_MAX_REQUEST_BYTES = 16 * 2**20


class FindingError(BaseException):
    """The verdict is known. No `except Exception` of a test program may hide it."""

    def __init__(self, verdict: str, reason: str) -> None:
        _findings.append((verdict, reason))
        super().__init__(reason)


def main() -> None:
    """Judge, and say so."""
    with open("functions.json", "rb") as file:
        functions = json.load(file)
    with open("tests.py", "rb") as file:
        source = file.read()
    verdict, reason = judge(source, functions)
    send(b"D" + json.dumps([verdict, reason[:300]]).encode("ascii"))
    finish()


def judge(source: bytes, functions: list[str]) -> tuple[str, str]:
    """Return the verdict and the reason for it."""
    try:
        tree = ast.parse(source, "tests.py")
        code = compile(source, "tests.py", "exec", dont_inherit=True)
        module = make_modules(tree, functions)
        known = frozenset(module.__dict__)
        need = (*needs(tree, frozenset(functions)), *lacking(tree, known), "")[0]
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return "unsupported", f"the test program is no Python: {type(error).__name__}"
    if need:
        return "unsupported", need
    _takes_nan[0] = speaks_of_nan(tree, source)
    threading.excepthook = fail_in_thread
    verdict, reason = run(code, module, imported_modules(tree))
    if _findings:
        return _findings[0]
    if verdict == "passed" and not _num_answers[0]:
        return "unsupported", "the test program called none of the functions"
    return verdict, reason


def make_modules(tree: ast.AST, functions: list[str]) -> types.ModuleType:
    """Return the modules `solution` and `__main__`, with the stubs in both; the latter is the test program's."""
    stubs = Stubs("solution")
    stubs.__dict__.update({name: make_stub(name) for name in functions})
    sys.modules["solution"] = stubs
    module = types.ModuleType("__main__")
    module.__dict__.update({name: stubs.__dict__[name] for name in functions})
    module.__dict__.setdefault("eval", Evaluator(constants(tree), {name: stubs.__dict__[name] for name in functions}))
    sys.modules["__main__"] = module
    return module


def run(code: types.CodeType, module: types.ModuleType, imported: frozenset[str]) -> tuple[str, str]:
    """Run the test program to its end, and its threads to theirs."""
    try:
        exec(code, module.__dict__)  # noqa: S102  (the purpose)
    except SystemExit as error:
        if error.code:
            return "failed", "the test program exited"
    except BaseException as error:  # noqa: BLE001  (how a test fails)
        traceback.print_exc()
        if is_lacking(error, imported):
            return "unsupported", f"the test program lacks a name or a module: {error}"
        return "failed", f"the test program ended with {type(error).__name__}"
    threading._shutdown()  # type: ignore[attr-defined]
    return "passed", ""


def is_lacking(error: BaseException, imported: frozenset[str]) -> bool:
    """Tell whether something is missing that the test program itself asks for, whatever it was answered."""
    if is_from_program(error):
        return False
    if isinstance(error, ImportError) and (error.name or "").partition(".")[0] in imported:
        return True
    return isinstance(error, NameError | ImportError) and not _num_answers[0]


def fail_in_thread(arguments: threading.ExceptHookArgs) -> None:
    """Return a test that failed in a thread of its own has failed."""
    kind = arguments.exc_type.__name__
    traceback.print_exception(arguments.exc_value)
    _findings.append(("failed", f"a thread of the test program ended with {kind}"))


def speaks_of_nan(tree: ast.AST, source: bytes) -> bool:
    """Tell whether a test program reckons with a number that is none, for which every comparison is false."""
    compares_with_itself = any(
        isinstance(node, ast.Compare) and ast.dump(node.left) == ast.dump(node.comparators[0])
        for node in ast.walk(tree)
    )
    return compares_with_itself or b"nan" in source.lower()


class Stubs(types.ModuleType):
    """The module `solution`: only the functions that were named."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        raise FindingError(
            "failed" if _num_answers[0] else "unsupported",
            f"the test program uses {name!r} of the program, which `functions` does not name",
        )


def make_stub(name: str) -> types.FunctionType:
    """Return a function that asks the program's jail."""

    def stub(*arguments: object, **keywords: object) -> object:
        try:
            request = {
                "function": name,
                "arguments": [encode(argument, is_faithful=True) for argument in arguments],
                "keywords": {key: encode(argument, is_faithful=True) for key, argument in keywords.items()},
            }
        except RefusedError as error:
            # Of a type that cannot cross: the test's choice. Else it may have grown out of an answer.
            verdict = "failed" if _num_answers[0] and error.may_be_computed else "unsupported"
            raise FindingError(verdict, f"the test program calls {name} with {error}") from None
        body = json.dumps(request).encode("ascii")
        if len(body) >= _MAX_REQUEST_BYTES:
            verdict = "failed" if _num_answers[0] else "unsupported"
            raise FindingError(verdict, f"the test program calls {name} with more than {_MAX_REQUEST_BYTES} bytes")
        with _lock:
            send(b"C" + body)
            answer = receive()
            _num_answers[0] += 1
        if answer is None:  # the program has ended, and with it the test
            os._exit(0)
        return value_of(answer)

    stub.__name__ = stub.__qualname__ = name
    return stub  # type: ignore[return-value]


def value_of(body: bytes) -> object:
    """Return the value in an answer, or the exception that it tells of."""
    try:
        reply = loads(body)
        if isinstance(reply, dict) and list(reply) == ["value"]:
            value = decode(reply["value"])
            if not _takes_nan[0] and has_nan(reply["value"]):
                raise from_program(ProgramError("an answer that holds NaN, of which the test says nothing"))
            return value
    except RefusedError as error:
        raise from_program(ProgramError(str(error))) from None
    content = reply.get("raised") if isinstance(reply, dict) and len(reply) == 1 else None
    if isinstance(content, list) and len(content) == 2 and all(type(part) is str for part in content):
        raise exception_of(*content)
    raise from_program(ProgramError("an answer that cannot cross"))


def has_nan(form: object) -> bool:
    """Tell whether the form of a value holds a NaN; its depth has been checked."""
    if isinstance(form, dict):
        return form == {"f": "nan"} or any(map(has_nan, form.values()))
    return isinstance(form, list) and any(map(has_nan, form))


if __name__ == "__main__":
    main()
