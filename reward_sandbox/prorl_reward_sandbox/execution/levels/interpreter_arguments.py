"""What an interpreter is started with at the level `process`, where one starts for every run.

Most programs run as any script does. One whose text may reach for what an interpreter without `site` lacks is run by a
few lines put before it, which arrange for that and cost a tenth of a trivial run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources

# Isolated from the environment and without site-packages: neither may change what a program means.
PYTHON_ARGUMENTS = ("-I", "-S", "-B", "-X", "int_max_str_digits=0")
_HARNESS = resources.files("prorl_reward_sandbox.execution.harness")
_EXPECTED = (_HARNESS / "expected.py").read_text(encoding="utf-8")
_FINDER = (_HARNESS / "library_finder.py").read_text(encoding="utf-8")
_FINDING = f"""
def find():
    import os
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    apart = {{"__name__": "finder"}}
    exec({_FINDER!r}, apart)
    apart["find_libraries"](PACKAGES)
find()
"""
"""Before the next: has libraries found. Their linear algebra has one thread, as at the other levels."""
_BOOT = f"""EXPECTED = {_EXPECTED!r}
def boot():
    import sys
    sys.argv[:] = sys.argv[1:]
    path, names = sys.argv[0], vars(sys.modules["__main__"])
    with open(path, "rb") as file:
        source = file.read()
    try:
        code = compile(source, path, "exec", dont_inherit=True)
    except SyntaxError as error:  # told as the interpreter tells it
        sys.excepthook(type(error), error.with_traceback(None), None)
        raise SystemExit(1)
    apart = {{"__name__": "expected"}}  # what outlives this must not hold on to the program's names
    exec(EXPECTED, apart)
    apart["meet_expectations"]()
    kept = {{name: names[name] for name in ("__name__", "__builtins__", "__loader__", "__spec__", "__package__")}}
    names.clear()
    names.update(kept, __doc__=None, __file__=path)
    exec(code, names)
boot()
"""
"""Runs a script as `__main__`, after what programs expect was arranged for."""
_NEEDING_BOOT = re.compile(
    rb"(?<!\bsys\.)\b(?:exit|quit)\b"
    rb"|\b(?:stack_size|_thread|builtins|__builtins__|eval|exec|compile|__import__|import_module|runpy)\b"
    rb"|[^\x00-\x7f]|coding[:=]"  # other letters and encodings can spell any of these
)
"""What is arranged for, by name, and what finds names that a text does not show."""


def interpreter_arguments(files: Mapping[str, bytes], packages: Mapping[str, str]) -> tuple[str, ...]:
    """Return what comes between an interpreter and the path of the script that it runs.

    Args:
        files: By name, all that the program consists of: the script and what it may import.
        packages: By name, the folders of the libraries that it may import.
    """
    if packages:
        return (*PYTHON_ARGUMENTS, "-c", f"PACKAGES = {dict(packages)!r}{_FINDING}{_BOOT}")
    if any(_NEEDING_BOOT.search(content) for content in files.values()):
        return (*PYTHON_ARGUMENTS, "-c", _BOOT)
    return PYTHON_ARGUMENTS
