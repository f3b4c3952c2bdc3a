"""In the jail of a test program: `eval` for it, which computes and can do nothing else.

A test program may evaluate what the tested program answered ("write an expression that makes 24"). With Python's own
`eval` such an answer could say `__import__("os").write(3, ...)` and write the verdict. Here a text may hold literals,
operators, comprehensions, names of plain values and calls of harmless functions. Texts that stand in the test program
itself are its author's: they are evaluated as ever.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Callable, Mapping
from typing import Any

from prorl_reward_sandbox.execution.harness.exceptions import ProgramError, from_program

_HARMLESS = (
    "abs all any bin bool complex dict divmod enumerate float frozenset int len list max min pow range reversed round "
    "set sorted str sum tuple zip"
)
_CALLABLE = frozenset(_HARMLESS.split())
_PLAIN = (type(None), bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, range)
_NODES = (
    *(ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Store, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare),
    *(ast.IfExp, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.Subscript, ast.Slice, ast.Starred, ast.Call, ast.keyword),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.comprehension),
    *(ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)


class Evaluator:
    """What a test program finds as `eval`.

    Args:
        own: Texts that the test program holds.
        functions: What a text may call besides: the stubs, by name.
    """

    def __init__(self, own: frozenset[object], functions: Mapping[str, Callable[..., object]]) -> None:
        self._own = own
        self._functions = functions

    def __call__(self, text: Any, names: Any = None, local_names: Any = None, /) -> object:
        """Evaluate a text, with the caller's names if none are given.

        Raises:
            ProgramError: It holds more than a computation.
        """
        caller = sys._getframe(1)
        names = caller.f_globals if names is None else names
        local_names = caller.f_locals if local_names is None and names is caller.f_globals else local_names or {}
        if type(text) is str and text in self._own:
            return eval(text, names, local_names)  # noqa: S307  (the author's own)
        return eval(compile(self._checked(text), "<text>", "eval"), self._visible({**names, **local_names}))  # noqa: S307

    def _checked(self, text: object) -> ast.Expression:
        if type(text) not in (str, bytes):
            raise from_program(TypeError("eval() arg 1 must be a string or bytes"))
        tree = ast.parse(text.strip(" \t") if isinstance(text, str) else text, "<text>", "eval")  # type: ignore[call-overload]
        for node in ast.walk(tree):
            is_known = isinstance(node, _NODES)
            if isinstance(node, ast.Call):
                is_known = isinstance(node.func, ast.Name) and node.func.id in (*_CALLABLE, *self._functions)
            if not is_known:
                raise from_program(ProgramError(f"a text to evaluate that holds a {type(node).__name__}"))
        assert isinstance(tree, ast.Expression)
        return tree

    def _visible(self, names: Mapping[Any, Any]) -> dict[str, object]:
        values = {name: value for name, value in names.items() if type(name) is str and type(value) in _PLAIN}
        allowed = {name: getattr(builtins, name) for name in _CALLABLE}
        return {**allowed, **values, **self._functions, "__builtins__": {}}


def constants(tree: ast.AST) -> frozenset[object]:
    """Return all texts in a program."""
    return frozenset(
        node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and type(node.value) is str
    )
