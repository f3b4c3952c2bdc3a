"""Reward functions of a user's own: from `reward: module:function` of a source to the text that travels to the judge.

Who runs a job reads the file once, at its start, and sends it along with the completions: a sandbox needs no mount, and
runs it where it runs a model's programs. Nothing here executes it.
"""

from __future__ import annotations

import ast
from pathlib import Path

from prorl_api.errors import Fault, SpecError
from prorl_api.spec.data import DataSpec
from prorl_api.wire.sandbox import RewardFunction
from prorl_api.wording import reason_of

_MAX_BYTES = 2**20


def reward_path(reward: str) -> str:
    """Return the file that a `module:function` names: `a.b:f` is `a/b.py`, a path is one with or without `.py`."""
    module = reward.rpartition(":")[0]
    if module.endswith(".py"):
        return module
    return f"{module if '/' in module else module.replace('.', '/')}.py"


def with_reward_path(reward: str, path: str) -> str:
    """Return a `module:function` with the same function in the file at `path`."""
    return f"{path}:{reward.rpartition(':')[2]}"


def read_reward(reward: str, base: Path, where: str) -> RewardFunction:
    """Read a reward function.

    Args:
        reward: `module:function`.
        base: Folder that a relative path starts from.
        where: Path of the field, for faults.

    Raises:
        SpecError: There is no such file, it is no Python, or it has no such function.
    """
    path = Path(reward_path(reward)).expanduser()
    path = path if path.is_absolute() else base / path
    function = reward.rpartition(":")[2]
    try:
        data = path.read_bytes()
    except OSError as error:
        want = "a Python file beside the manifest, or its path, before the colon"
        raise _fault(where, f"{path}, {reason_of(error)}", want) from error
    if len(data) > _MAX_BYTES:
        raise _fault(where, f"{path} of {len(data)} bytes", f"at most {_MAX_BYTES}")
    try:
        source = data.decode("utf-8")
        names = _names(ast.parse(source))
    except (SyntaxError, ValueError, RecursionError) as error:
        line = f" line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        what = error.msg if isinstance(error, SyntaxError) else reason_of(error)
        raise _fault(where, f"{path}{line}: {what}", "a Python file in UTF-8") from error
    if function not in names:
        shown = ", ".join(sorted(names)) or "none"
        raise _fault(where, f"{path} without `{function}`", f"a function of that file; it has: {shown}")
    return RewardFunction(source=source, function=function)


def reward_functions(data: DataSpec, base: Path) -> dict[str, RewardFunction]:
    """Read the reward functions of all sources, by the source's name.

    Raises:
        SpecError: With the faults of all sources.
    """
    found: dict[str, RewardFunction] = {}
    faults: list[Fault] = []
    for index, source in enumerate(data.sources):
        if source.reward is None:
            continue
        try:
            found[source.name] = read_reward(source.reward, base, f"spec.data.sources[{index}].reward")
        except SpecError as error:
            faults += error.faults
    if faults:
        raise SpecError(faults, source="the reward functions")
    return found


def _names(tree: ast.Module) -> set[str]:
    """Return what a file's top level defines or assigns."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).partition(".")[0])
    return names


def _fault(where: str, got: str, want: str) -> SpecError:
    return SpecError([Fault(path=where, got=got, want=want)], source="the reward function")
