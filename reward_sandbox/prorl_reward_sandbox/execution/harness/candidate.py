"""In a jail: call the functions of a program and answer with values. It is the program's own process.

Started as `main.py` with the program beside it as `solution.py`. Each request names a function and its arguments; the
answer is `{"value": form}`, `{"raised": [class, text]}` with the nearest builtin class of an exception, or
`{"refused": reason}` for a value that cannot cross. A program that tampers with all this can only change its own
answers, and those are compared outside.
"""

from __future__ import annotations

import builtins
import json
import os
import sys
import traceback
import types

from prorl_reward_sandbox.execution.harness.canonical import RefusedError, decode, encode, loads
from prorl_reward_sandbox.execution.harness.descriptor import finish, receive, send

_TYPING = (
    "Any Callable Deque DefaultDict Dict FrozenSet Generator Iterable Iterator List Optional Sequence Set Tuple Union"
)


def load_solution(with_typing: bool) -> types.ModuleType:
    """Return the program as a module.

    For methods `typing`'s usual names are there, as programs in that style expect.
    """
    module = types.ModuleType("solution")
    sys.modules["solution"] = module
    if with_typing:
        import typing

        module.__dict__.update({name: getattr(typing, name) for name in _TYPING.split()})
    with open("solution.py", "rb") as file:
        exec(compile(file.read(), "solution.py", "exec", dont_inherit=True), module.__dict__)  # noqa: S102  (the purpose)
    return module


def find(module: types.ModuleType, name: str) -> object:
    """Return the function `name`, or the method of a fresh instance for `Class.method`.

    LeetCode's form and the plain one stand for each other: `f` may be a method of `Solution`, `Solution.f` a function.
    """
    owner, _, method = name.rpartition(".")
    if not owner and not hasattr(module, name) and hasattr(getattr(module, "Solution", None), name):
        owner, method = "Solution", name
    elif owner == "Solution" and not hasattr(module, owner):
        owner = ""
    return getattr(getattr(module, owner)(), method) if owner else getattr(module, method)


def answer(module: types.ModuleType, request: dict[str, object]) -> dict[str, object]:
    """Carry out one request."""
    try:
        arguments = [decode(form) for form in request["arguments"]]  # type: ignore[attr-defined]
        keywords = {name: decode(form) for name, form in request["keywords"].items()}  # type: ignore[attr-defined]
        function = find(module, str(request["function"]))
        return {"value": encode(function(*arguments, **keywords))}  # type: ignore[operator]
    except RefusedError as error:
        return {"refused": str(error)}
    except BaseException as error:  # noqa: BLE001  (what a program raises is its answer)
        traceback.print_exc()
        bases = [base for base in type(error).__mro__ if getattr(builtins, base.__name__, None) is base]
        return {"raised": [bases[0].__name__ if bases else "Exception", str(error)[:1000]]}


def main() -> None:
    """Answer requests until there are none."""
    module = None
    while (body := receive()) is not None:
        request = loads(body)
        assert isinstance(request, dict)
        if module is None:
            try:
                module = load_solution(with_typing="." in request["function"])
            except BaseException:  # noqa: BLE001  (nor may a program end this with exit code 0)
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
        send(json.dumps(answer(module, request)).encode("ascii"))
    finish()


if __name__ == "__main__":
    main()
