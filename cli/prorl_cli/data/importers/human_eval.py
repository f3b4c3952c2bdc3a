"""HumanEval+ (evalplus): functions to complete, with the set's test programs. HumanEval has the same form.

Fields: `task_id`, `prompt` (imports, signature and docstring), `canonical_solution` (the body), `entry_point`, `test`
(defines `check(candidate)`). An item counts as solved if the whole test program passes. Whether a test needs more time
than five seconds hangs on the machine; evalplus gives slow ones more, and so does the limit here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from prorl_api.spec.values import Domain
from prorl_cli.data.importers.base import Imported, Importer, Skipped, text_of

_SECONDS = 30.0
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_ASKED = "Complete this Python function. Answer with the whole program in one ```python block.\n\n```python\n{}\n```"


def convert(record: Mapping[str, Any]) -> Imported | Skipped:
    """Return a function to complete with its test program."""
    prompt, test, name = text_of(record, "prompt"), text_of(record, "test"), text_of(record, "entry_point")
    if not prompt or not _NAME.fullmatch(name):
        return Skipped("no prompt and entry_point")
    if "def check(" not in test:
        return Skipped("no test program that defines check")
    row: dict[str, Any] = {
        "tests": [{"type": "asserts", "source": f"{test}\n\ncheck({name})\n", "functions": [name]}],
        "reward": "all",
        "preamble": True,
        "total_wall_seconds": _SECONDS,
        "test_wall_seconds": _SECONDS,
    }
    body = record.get("canonical_solution")
    if isinstance(body, str) and body.strip():
        row["solution"] = f"{prompt}\n{body}"
    return Imported(_ASKED.format(prompt), row)


HUMAN_EVAL = Importer(
    name="humaneval-plus", domain=Domain.CODE, description="HumanEval+, or HumanEval", convert=convert
)
