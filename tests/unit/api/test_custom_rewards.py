"""From `reward: module:function` to the text of a function: what is no such thing is named, and nothing is executed."""

from __future__ import annotations

from pathlib import Path

import pytest

from prorl_api.custom_rewards import read_reward, reward_path, with_reward_path
from prorl_api.errors import SpecError

SOURCE = "import math\n\ndef score(completion, row):\n    return 1.0\n\nalias = score\n"


@pytest.mark.parametrize(
    ("reward", "path"),
    [
        ("rewards:score", "rewards.py"),
        ("rewards.py:score", "rewards.py"),
        ("own.rewards:score", "own/rewards.py"),
        ("../shared/rewards:score", "../shared/rewards.py"),
        ("/rewards/grade.py:score", "/rewards/grade.py"),
        ("/rewards.d/grade:score", "/rewards.d/grade.py"),
    ],
)
def test_a_module_is_a_file(reward: str, path: str) -> None:
    assert reward_path(reward) == path
    assert with_reward_path(reward, f"/base/{path}") == f"/base/{path}:score"
    assert reward_path(with_reward_path(reward, f"/base/{path}")) == f"/base/{path}"


@pytest.mark.parametrize("function", ["score", "alias"])
def test_the_text_of_the_file_is_taken_and_not_executed(tmp_path: Path, function: str) -> None:
    (tmp_path / "rewards.py").write_text(SOURCE + "raise SystemExit\n")
    found = read_reward(f"rewards:{function}", tmp_path, "spec.data.sources[0].reward")
    assert (found.source, found.function) == (SOURCE + "raise SystemExit\n", function)


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (None, "no such file"),
        ("def score(:\n", "line 1: invalid syntax"),
        ("def other(completion, row): ...\n", "without `score`; a function of that file; it has: other"),
        ("", "it has: none"),
        (b"\xff\xfe", "a Python file in UTF-8"),
        ("#" * (2**20 + 1), "at most 1048576"),
        ("a\0b", "a Python file in UTF-8"),
    ],
)
def test_what_is_no_function_is_named_with_the_field(tmp_path: Path, content: str | bytes | None, got: str) -> None:
    if content is not None:
        (tmp_path / "rewards.py").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(SpecError, match=r"spec\.data\.sources\[3\]\.reward") as caught:
        read_reward("rewards:score", tmp_path, "spec.data.sources[3].reward")
    assert got in str(caught.value)
    assert str(tmp_path / "rewards.py") in str(caught.value)
