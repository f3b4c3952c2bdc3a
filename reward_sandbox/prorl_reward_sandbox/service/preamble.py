"""The imports that public sets of problems assume before a program in Python. Pure.

LeetCode's form leaves out what its site imports, and reference solutions of APPS, TACO and Eurus-2 are written so.
"""

from __future__ import annotations

import re

_MODULES = "typing collections functools itertools heapq bisect operator math builtins"
"""Each with all its names; the built-in ones last, so that `pow` takes a modulus and `sum` sums."""
_NAMED = "bisect, collections, copy, functools, heapq, itertools, math, operator, random, re, string, sys"
_IMPORTS = "; ".join([*(f"from {module} import *" for module in _MODULES.split()), f"import {_NAMED}"])
"""One line, so that line numbers in messages are off by one only."""
_FUTURE = re.compile(r"^from __future__ import [^\n]*\n?", re.MULTILINE)


def with_preamble(source: str) -> str:
    """Return the program behind the imports; what it takes from `__future__` stays first, as Python wants it."""
    last = 0
    for found in _FUTURE.finditer(source):
        last = found.end()
    head = source[:last]
    return f"{head}{'' if not head or head.endswith(chr(10)) else chr(10)}{_IMPORTS}\n{source[last:]}"
