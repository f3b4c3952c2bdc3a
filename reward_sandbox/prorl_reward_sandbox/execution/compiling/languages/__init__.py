"""The languages that programs may be written in. A new one is one new module and one line here."""

from __future__ import annotations

from collections.abc import Mapping

from prorl_reward_sandbox.execution.compiling.languages.base import Language
from prorl_reward_sandbox.execution.compiling.languages.c import C
from prorl_reward_sandbox.execution.compiling.languages.cpp import CPP
from prorl_reward_sandbox.execution.compiling.languages.go import GO
from prorl_reward_sandbox.execution.compiling.languages.java import JAVA
from prorl_reward_sandbox.execution.compiling.languages.javascript import JAVASCRIPT
from prorl_reward_sandbox.execution.compiling.languages.python import PYTHON
from prorl_reward_sandbox.execution.compiling.languages.rust import RUST

ALL_LANGUAGES = (PYTHON, C, CPP, GO, RUST, JAVA, JAVASCRIPT)
"""Each once, the one that must be there first."""

LANGUAGES: Mapping[str, Language] = {name: language for language in ALL_LANGUAGES for name in language.names}
"""By every name that callers may use."""
