"""Which programs are run as any script is, and which by the lines that arrange for what they may reach for."""

from __future__ import annotations

import pytest

from prorl_reward_sandbox.execution.levels.interpreter_arguments import PYTHON_ARGUMENTS, interpreter_arguments

PLAIN = [
    "print(42)",
    "import sys\nsys.exit(0)",
    "import os\nos._exit(0)",
    "existing, quitting, exit_code, evaluate = 1, 2, 3, 4",
    "class A:\n    def __exit__(self, *_): pass",
    "import sys\nsys.setrecursionlimit(10**6)\nprint(str(10**5000))",
]
ARRANGED = [
    "exit()",
    "if True: quit(3)",
    "from builtins import exit as leave",
    "import builtins",
    "print(__builtins__)",
    "eval('ex' + 'it()')",
    "exec(input())",
    "import threading\nthreading.stack_size(2**29)",
    "from _thread import *",
    "__import__('os')",
    "import importlib\nimportlib.import_module('os')",
    "mysys.exit(0)",
    "# Ausf\N{LATIN SMALL LETTER U WITH DIAERESIS}hrung",
    "# -*- coding: utf-7 -*-",
    "# vim: set fileencoding=utf-7 :",
]


@pytest.mark.parametrize("source", PLAIN)
def test_what_needs_nothing_is_run_as_it_is(source: str) -> None:
    assert interpreter_arguments({"main.py": source.encode()}, {}) == PYTHON_ARGUMENTS


@pytest.mark.parametrize("source", ARRANGED)
def test_what_may_reach_for_it_has_it_arranged(source: str) -> None:
    assert interpreter_arguments({"main.py": source.encode()}, {})[-2] == "-c"


def test_every_file_of_a_program_counts() -> None:
    assert interpreter_arguments({"main.py": b"import part", "part.py": b"exit()"}, {})[-2] == "-c"


def test_libraries_are_found_before_all() -> None:
    *_, option, text = interpreter_arguments({"main.py": b"print(42)"}, {"numpy": "/somewhere"})
    assert option == "-c"
    assert text.startswith("PACKAGES = {'numpy': '/somewhere'}")
