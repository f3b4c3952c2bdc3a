"""The preamble gives programs the imports that public sets assume, and changes nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from prorl_reward_sandbox.service.preamble import with_preamble


def run(source: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(with_preamble(source), "main.py", "exec", dont_inherit=True), names)
    return names


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f(x: List[int]) -> Optional[int]: return max(x)\nfound = f([1, 3])", 3),
        ("found = deque([1, 2]).popleft() + Counter('aab')['a']", 3),
        ("found = pow(3, 4, 5)", 1),
        ("found = sum([1, 2]) + abs(-1)", 4),
        ("found = inf > 10 ** 9 and gcd(4, 6)", 2),
        ("found = heapq.nsmallest(1, [3, 1])[0] + bisect.bisect([1, 2], 1)", 2),
        ("found = reduce(lambda a, b: a * b, [2, 3])", 6),
        ("from __future__ import annotations\nfrom __future__ import division\nfound = 7", 7),
        ("from __future__ import annotations", None),
        ('"""Text."""\nfound = 1', 1),
    ],
)
def test_programs_in_the_style_of_public_sets_run(source: str, found: object) -> None:
    assert run(source).get("found") == found


def test_lines_move_by_one() -> None:
    with pytest.raises(ZeroDivisionError) as error:
        run("x = 1\ny = x / 0")
    assert error.traceback[-1].lineno + 1 == 3
