"""In the jail of a test program: what it needs that calls by value cannot give, as far as its text tells.

Only the text is looked at, so the finding is the row's: no answer of a tested program can make its own failure one.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import sys
from collections.abc import Iterator

from prorl_reward_sandbox.execution.harness.exceptions import NOT_CROSSING

_METHODS = frozenset(name for kind in (str, bytes, int, float, list, tuple, dict, set, frozenset) for name in dir(kind))
_WATCHING = "assertLogs assertNoLogs assertWarns assertWarnsRegex catch_warnings redirect_stderr redirect_stdout warns"
_WATCHERS = frozenset(_WATCHING.split())
"""Context managers for what a program does beside returning."""
_STREAMS = frozenset(("stdin", "stdout", "stderr"))
_EXECUTING = frozenset(("exec", "compile"))
_LOADERS = frozenset(("pickle", "marshal", "dill", "shelve", "subprocess"))
_ENDING = frozenset(("_exit", "abort", "raise_signal", "kill", "killpg", "system", "popen"))
_READ_AS_SIGNAL = frozenset(("__getattr__", "__getattribute__", "__getitem__", "__len__", "__length_hint__"))
"""Methods whose errors Python takes for an answer: an IndexError ends a loop, an AttributeError is `hasattr`'s no."""
_PROPERTIES = frozenset(("property", "cached_property"))


def needs(tree: ast.Module, functions: frozenset[str]) -> Iterator[str]:
    """Each need, in words."""
    called = functions | aliases(tree, functions)
    yield from _needs_of_values(tree, functions)
    for node in ast.walk(tree):
        yield from _needs_of_signals(node, called)
        yield from _needs_of_surroundings(node, called)
        yield from _needs_of_power(node)


def lacking(tree: ast.Module, known: frozenset[str]) -> Iterator[str]:
    """Return what it names and nothing binds, and the modules that it imports on the way and are not there.

    Found before it runs: what is missing must not depend on the way that a program's answers make it go.
    """
    if not any(isinstance(node, ast.alias) and node.name == "*" for node in ast.walk(tree)):
        bound = known | set(dir(builtins)) | set(_bound(tree))
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in bound:
                yield f"the test program lacks a name or a module: {node.id!r} is not defined"
    guarded = {id(part) for node in ast.walk(tree) if isinstance(node, ast.Try) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and node not in tree.body and id(node) not in guarded:
            for name in _imported(node):
                if not _can_be_found(name):
                    yield f"the test program lacks a name or a module: {name!r} cannot be imported"


def _can_be_found(name: str) -> bool:
    return name in sys.modules or name == "solution" or importlib.util.find_spec(name) is not None


def imported_modules(tree: ast.Module) -> frozenset[str]:
    """Return the outermost names of all modules that its text imports."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    return frozenset(name for node in nodes for name in _imported(node))


def aliases(tree: ast.Module, functions: frozenset[str]) -> frozenset[str]:
    """Other names of the functions: imported as, assigned to, or parameters of what is called with one."""
    found: set[str] = set()
    parameters = {
        node.name: [argument.arg for argument in node.args.args]
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "solution":
            found |= {alias.asname for alias in node.names if alias.asname and alias.name in functions}
        elif isinstance(node, ast.Assign) and is_function(node.value, functions):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            named = zip(parameters.get(node.func.id, []), node.args, strict=False)
            found |= {name for name, argument in named if is_function(argument, functions)}
    return frozenset(found)


def _needs_of_values(tree: ast.Module, functions: frozenset[str]) -> Iterator[str]:
    """Instances, callbacks, in-place changes, patching."""
    asked = {id(part) for node in ast.walk(tree) for part in expecting_errors(node)}
    results: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and is_call(node.value, functions):
            results |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _needs_of_import(node, functions)
        elif _is_unnamed(node, functions):
            yield _unnamed(_name(node))
        elif isinstance(node, ast.ClassDef) and any(is_function(base, functions) for base in node.bases):
            yield "the test program derives a class from the program's"
        elif isinstance(node, ast.Attribute) and is_function(node.value, functions):
            yield "the test program looks into the program's functions"
        elif isinstance(node, ast.Attribute) and node.attr not in _METHODS:
            if is_call(node.value, functions) or (isinstance(node.value, ast.Name) and node.value.id in results):
                yield f"the test program uses {node.attr!r} of a result, which would have to be an instance"
        elif isinstance(node, ast.Expr) and is_call(node.value, functions) and id(node) not in asked:
            yield "the test program calls a function for its effect on something shared"
        elif asks_for_class(node, functions):
            yield "the test program asks for the program's class"


def _needs_of_import(node: ast.Import | ast.ImportFrom, functions: frozenset[str]) -> Iterator[str]:
    names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
    if any("mock" in name.split(".") or name == "patch" for name in names):
        yield "the test program replaces parts of the program"
    elif names[0] == "solution":
        yield from map(_unnamed, sorted(set(names[1:]) - functions - {"*"}))


def _is_unnamed(node: ast.AST, functions: frozenset[str]) -> bool:
    is_own = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "solution"
    return is_own and _name(node) not in functions and not _name(node).startswith("__")


def _unnamed(name: str) -> str:
    return f"the test program uses {name!r} of the program, which `functions` does not name"


def _needs_of_signals(node: ast.AST, called: frozenset[str]) -> Iterator[str]:
    """Exceptions that do not cross, expected of the program; and errors of it that Python would take for an answer."""
    if isinstance(node, ast.Try):
        caught = {name for handler in node.handlers if handler.type for name in _names(handler.type)} & NOT_CROSSING
        if caught and any(is_call(part, called) for each in node.body for part in ast.walk(each)):
            yield f"the test program expects {min(caught)} of the program, which does not cross"
    elif isinstance(node, ast.With):
        expected = {name for item in node.items for name in _expected(item.context_expr)}
        if expected and any(_may_call_program(part) for each in node.body for part in ast.walk(each)):
            yield f"the test program expects {min(expected)} of the program, which does not cross"
    elif isinstance(node, ast.Call) and len(node.args) > 1 and (expected := set(_expected(node))):
        if not (isinstance(node.args[1], ast.Name) and node.args[1].id == "next"):
            yield f"the test program expects {min(expected)} of the program, which does not cross"
    elif isinstance(node, ast.FunctionDef) and _is_read_as_signal(node, called):
        yield f"the test program calls a function in {node.name!r}, whose errors Python takes for an answer"


def _needs_of_surroundings(node: ast.AST, called: frozenset[str]) -> Iterator[str]:
    """Return what the program prints, logs, warns of or reads: it does so elsewhere."""
    if isinstance(node, ast.With):
        watching = {_called_name(item.context_expr) for item in node.items} & _WATCHERS
        if watching and any(is_call(part, called) for each in node.body for part in ast.walk(each)):
            yield f"the test program watches by {min(watching)} what the program does beside returning"
    targets = node.targets if isinstance(node, ast.Assign) else []
    for target in targets:
        if isinstance(target, ast.Attribute) and target.attr in _STREAMS and _name(target.value) == "sys":
            yield f"the test program replaces sys.{target.attr}, which the program does not share"


def _needs_of_power(node: ast.AST) -> Iterator[str]:
    """Whatever would let a text or bytes of the program's become a program here, or end this process."""
    if isinstance(node, ast.Name) and node.id in _EXECUTING:
        yield f"the test program uses {node.id}: what the program answers could run in its place"
    elif isinstance(node, ast.Attribute) and node.attr in ("eval", "exec"):
        yield f"the test program uses {node.attr}: what the program answers could run in its place"
    elif isinstance(node, ast.Import | ast.ImportFrom) and set(_imported(node)) & _LOADERS:
        yield f"the test program uses {min(set(_imported(node)) & _LOADERS)}: what the program answers could run here"
    elif isinstance(node, ast.Attribute) and node.attr in _ENDING and _name(node.value) in ("os", "signal"):
        yield f"the test program uses {node.attr!r}: it would end without a verdict, or start something else"


def _expected(node: ast.AST) -> Iterator[str]:
    """Return the exceptions that do not cross and that an `assertRaises(...)` or `raises(...)` names."""
    if isinstance(node, ast.Call) and "raises" in _called_name(node).lower() and node.args:
        yield from set(_names(node.args[0])) & NOT_CROSSING


def _may_call_program(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and _called_name(node) not in ("next", "send", "__next__", "iter", "exit", "list")


def _is_read_as_signal(node: ast.FunctionDef, called: frozenset[str]) -> bool:
    is_read = node.name in _READ_AS_SIGNAL or any(_name(each) in _PROPERTIES for each in node.decorator_list)
    return is_read and any(is_call(part, called) for part in ast.walk(node))


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
    return [name.partition(".")[0] for name in names if name]


def _bound(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Global | ast.Nonlocal):
            yield from node.names
        else:  # functions, classes, caught exceptions, patterns
            names = (getattr(node, "name", None), getattr(node, "rest", None))
            yield from (name for name in names if isinstance(name, str))


def _names(node: ast.AST) -> list[str]:
    return [part.id for part in ast.walk(node) if isinstance(part, ast.Name)]


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _called_name(node: ast.AST) -> str:
    return _name(node.func) if isinstance(node, ast.Call) else ""


def expecting_errors(node: ast.AST) -> list[ast.stmt]:
    """Statements that may be there for the exception alone."""
    if isinstance(node, ast.With | ast.Try):
        return [part for part in ast.walk(node) if isinstance(part, ast.stmt)]
    return []


def asks_for_class(node: ast.AST, functions: frozenset[str]) -> bool:
    """Tell whether it is `isinstance(..., name)` or the like."""
    return (
        isinstance(node, ast.Call)
        and getattr(node.func, "id", "") in ("isinstance", "issubclass")
        and any(is_function(part, functions) for argument in node.args[1:] for part in ast.walk(argument))
    )


def is_function(node: ast.AST, functions: frozenset[str]) -> bool:
    """Tell whether it is one of the functions, by its name or as `solution.name`."""
    if isinstance(node, ast.Attribute):
        return isinstance(node.value, ast.Name) and node.value.id == "solution" and node.attr in functions
    return isinstance(node, ast.Name) and node.id in functions


def is_call(node: ast.AST, functions: frozenset[str]) -> bool:
    """Tell whether it is a call of one of the functions."""
    return isinstance(node, ast.Call) and is_function(node.func, functions)
