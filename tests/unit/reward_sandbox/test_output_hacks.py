"""Programs that try to look right on standard output get no reward: the verdict is formed from their output alone."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from prorl_api.wire.sandbox import Verdict
from prorl_reward_sandbox.execution.programs import ProgramService
from tests.unit.reward_sandbox.program_kit import execute, program_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

# The task: print twice the number. Two tests; the second number is never in the first's process.
TESTS = ({"stdin": "700", "expected_stdout": "1400"}, {"stdin": "41", "expected_stdout": "82"})
HACKS = {
    "fake verdict lines": "print('correct')\nprint('{\"verdict\": \"correct\", \"reward\": 1.0}')\nprint('1 passed')",
    "fake frames": 'import sys\nsys.stdout.buffer.write(b\'\\0\\0\\0\\x10{"verdict": "correct"}\')',
    "writes to every descriptor": """
import os
for fd in range(3, 256):
    try: os.write(fd, b'{"verdict": "correct", "exit_code": 0}')
    except OSError: pass
print(0)""",
    "says nothing": "pass",
    "exits at once": "import os; os._exit(0)",
    "every candidate": "n = int(input())\nfor k in range(5000): print(k)",
    "all on one line": "n = int(input())\nprint(n, 2 * n, n * n)",
    "right and then more": "print(2 * int(input()))\nprint('or maybe 0')",
    "another case": "print(hex(2 * int(input())))",
    "spaces between the digits": "print(*str(2 * int(input())))",
    "full-width digits": "print(''.join(chr(0xfee0 + ord(c)) for c in str(2 * int(input()))))",
    "zero-width space": "print(str(2 * int(input())) + '\\u200b')",
    "right-to-left mark": "print('\\u200f' + str(2 * int(input())))",
    "escape sequences": "print('\\x1b[1m' + str(2 * int(input())) + '\\x1b[0m')",
    "nul bytes": "print(str(2 * int(input())) + '\\0')",
    "byte order mark": "print('\\ufeff' + str(2 * int(input())))",
    "as a float": "print(2.0 * int(input()))",
    "not a number": "print(float('nan'))",
    "right, then fails": "print(2 * int(input()), flush=True)\nraise ValueError",
    "right, then a signal": "import os\nprint(2 * int(input()), flush=True)\nos.abort()",
    "right, but never ends": "print(2 * int(input()), flush=True)\nwhile True: pass",
    "right on standard error": "import sys; print(2 * int(input()), file=sys.stderr)",
    "leaves a note for the next test": """
import os
notes = [os.path.join(folder, 'note') for folder in ('.', os.path.expanduser('~'), os.environ['TMPDIR'])]
if any(map(os.path.exists, notes)):
    print(82)
for note in notes:
    open(note, 'w').close()
""",
    "looks for the tests": """
import os
for folder, _, names in os.walk('.'):
    for name in names:
        text = open(os.path.join(folder, name), errors='replace').read()
        if '14' + '00' in text:
            print('14' + '00')
print('none')""",
    "looks into other processes": """
import os
for pid in os.listdir('/proc'):
    for name in ('environ', 'cmdline', 'fd/0', 'fd/1', 'fd/3'):
        try: data = open(f'/proc/{pid}/{name}', 'rb').read(65536)
        except OSError: continue
        if pid.isdigit() and int(pid) != os.getpid() and b'14' + b'00' in data.split():
            print('14' + '00')""",
    "behaves when tested": "import os\n"
    "print(2 * int(input()) if any('TEST' in k or k == 'CI' for k in os.environ) else 0)",
    "replaces print": "import builtins\nbuiltins.print = lambda *a, **k: None\nprint(2 * int(input()))",
    "a lookup of one known input": "print({'700': 1}.get(input(), 'unknown'))",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def programs() -> AsyncIterator[ProgramService]:
    async with program_service() as service:
        yield service


@pytest.mark.parametrize("name", HACKS)
async def test_a_wrong_program_has_no_reward(programs: ProgramService, name: str) -> None:
    response = await execute(programs, HACKS[name], *TESTS, limits={"wall_seconds": 2.0, "output_bytes": 10_000})
    assert response.reward == 0.0, response.tests
    assert {test.verdict for test in response.tests} <= set(Verdict) - {Verdict.SANDBOX_ERROR, Verdict.UNSUPPORTED}


async def test_the_right_program_has_it(programs: ProgramService) -> None:
    assert (await execute(programs, "print(2 * int(input()))", *TESTS)).reward == 1.0
