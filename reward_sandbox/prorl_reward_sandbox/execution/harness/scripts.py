"""The scripts as files for a jail, which has no packages: one text each, and that text compiled beside it.

Compiling takes longer than everything else that a script does, so the service does it once. A jail's Python of another
version than the service's compiles the text itself.
"""

from __future__ import annotations

import functools
import importlib.util
import marshal
import re
from collections.abc import Mapping
from importlib import resources

_PARTS = {
    "candidate": ("canonical", "descriptor", "candidate"),
    "tests": ("canonical", "descriptor", "exceptions", "needs", "evaluating", "tests"),
}
_PACKAGE = "prorl_reward_sandbox.execution.harness"
_OWN_IMPORT = re.compile(rf"^from {re.escape(_PACKAGE)}\..*\n", re.MULTILINE)
_FUTURE_IMPORT = "from __future__ import annotations\n"
_MAIN = b"""import marshal
from _frozen_importlib_external import MAGIC_NUMBER

with open("harness.bin", "rb") as file:
    data = file.read()
if data.startswith(MAGIC_NUMBER):
    code = marshal.loads(data[len(MAGIC_NUMBER):])
else:
    with open("harness.py", "rb") as file:
        code = compile(file.read(), "harness.py", "exec")
exec(code)
"""


@functools.cache
def script_files(name: str) -> Mapping[str, bytes]:
    """Return the files of `candidate` or `tests`; `main.py` is what to run."""
    texts = [(resources.files(_PACKAGE) / f"{part}.py").read_text() for part in _PARTS[name]]
    text = _FUTURE_IMPORT + _OWN_IMPORT.sub("", "\n".join(texts)).replace(_FUTURE_IMPORT, "")
    compiled = marshal.dumps(compile(text, "harness.py", "exec", dont_inherit=True))
    return {
        "main.py": _MAIN,
        "harness.py": text.encode(),
        "harness.bin": importlib.util.MAGIC_NUMBER + compiled,
    }
