"""The languages that programs may be written in: a new one is one entry in `simple` or a module, and one name here."""

from __future__ import annotations

from collections.abc import Mapping

from prorl_reward_sandbox.execution.compiling.languages.base import Language
from prorl_reward_sandbox.execution.compiling.languages.go import GO
from prorl_reward_sandbox.execution.compiling.languages.java import JAVA
from prorl_reward_sandbox.execution.compiling.languages.one_command import CPP, JAVASCRIPT, PYTHON, RUST, C

ALL_LANGUAGES = (PYTHON, C, CPP, GO, RUST, JAVA, JAVASCRIPT)
"""Each once, the one that must be there first."""

LANGUAGES: Mapping[str, Language] = {name: language for language in ALL_LANGUAGES for name in language.names}
"""By every name that callers may use."""
