"""The program in a completion is the last closed block of its language, outside of what the model considers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prorl_reward_sandbox.execution.compiling.languages import LANGUAGES
from prorl_verifiers.code_blocks import find_program

PYTHON = LANGUAGES["python"].all_fences
TABLE = [
    ("one block", "Text\n```python\nprint(1)\n```\nmore", "print(1)\n"),
    ("no block", "print(1)", None),
    ("nothing", "", None),
    ("the last of two", "```python\na\n```\nbetter:\n```python\nb\n```", "b\n"),
    ("without a language", "```\na\n```", "a\n"),
    ("an example of output after it", "```python\na\n```\nOutput:\n```\n42\n```", "a\n"),
    ("another language", "```cpp\nint main() {}\n```", None),
    ("another language after it", "```python\na\n```\n```json\n{}\n```", "a\n"),
    ("short name", "```py\na\n```", "a\n"),
    ("capital letters", "```Python\na\n```", "a\n"),
    ("attributes", "```python title=x\na\n```", "a\n"),
    ("a space", "``` python\na\n```", "a\n"),
    ("tildes", "~~~python\na\n~~~", "a\n"),
    ("a longer fence holds a shorter one", "````python\ns = '''\n```\n'''\n````", "s = '''\n```\n'''\n"),
    ("never closed", "```python\nwhile True: pass", None),
    ("closed, then one that never is", "```python\na\n```\n```python\nb", "a\n"),
    ("in a list", "1. so:\n   ```python\n   if x:\n     y\n   ```", "if x:\n  y\n"),
    ("Windows line ends", "```python\r\na\r\n```\r\n", "a\n"),
    ("considered only", "<think>```python\na\n```</think> I do not know", None),
    ("considered, then answered", "<think>\n```python\na\n```\n</think>\n```python\nb\n```", "b\n"),
    ("still considering", "<think>\n```python\na\n```\n", None),
    ("opened by the prompt", "hm\n```python\na\n```\n</think>\n```python\nb\n```", "b\n"),
    ("considering again", "</think>```python\n```\n<think>\n```python\na\n```", None),
    ("code after the fence's name", "```python print(1)\n```", ""),
    ("inline", "use ```python``` please", None),
    ("in a tag on its lines", "<answer>```python\na\n```</answer>", "a\n"),
    ("in two tags", "  <answer> <code>~~~py\na\n~~~ </code></answer>", "a\n"),
    ("a tag that opens behind the fence", "```python\na\n```<b>\n```", "a\n```<b>\n"),
    ("the text of an item", "1. ```python\n   if x:\n     y\n   ```", "if x:\n  y\n"),
    ("the text of a bullet", "- ```python\n  a\n  ```", "a\n"),
    ("words before a fence", "So ```python\na\n```", None),
    ("a file's name behind it", "```python:main.py\na\n```", "a\n"),
    ("a version", "```python3.11\na\n```", "a\n"),
    ("in braces", "```{.python .numberLines}\na\n```", "a\n"),
    ("a file's name of another language", "```rust:main.py\na\n```", None),
    ("no language but a mark", "```:main.py\na\n```", None),
    ("empty", "```python\n```", "\n"),
]


@pytest.mark.parametrize(("text", "program"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_extraction_table(text: str, program: str | None) -> None:
    found = find_program(text, PYTHON)
    assert (found.strip() if found else found) == (program.strip() if program else program)


@given(st.lists(st.sampled_from([*"`~ \npx", "```", "```python\n", "</think>", "<think>"])).map("".join))
def test_any_text_is_read_and_nothing_is_made_up(text: str) -> None:
    program = find_program(text, PYTHON)
    assert program is None or all(line in text for line in program.split("\n"))


def test_every_language_is_found_by_its_names() -> None:
    for name, language in LANGUAGES.items():
        assert find_program(f"```{name}\nx\n```", language.all_fences) == "x\n"
