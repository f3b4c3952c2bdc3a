"""What is shown while a command works: on a terminal what is waited for, elsewhere nothing."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from prorl_cli.terminal import waiting


@pytest.mark.parametrize(("is_terminal", "is_shown"), [(True, True), (False, False)])
def test_a_person_sees_what_is_waited_for_and_a_file_does_not(is_terminal: bool, is_shown: bool) -> None:
    out = io.StringIO()
    with waiting("loading the model", Console(file=out, force_terminal=is_terminal, width=80)):
        pass
    assert ("loading the model" in out.getvalue()) == is_shown
