"""What the process is told through its environment, read once at start.

The only module of the package that reads environment variables of the project; vLLM's own are set in `engine`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from pydantic import ValidationError

from prorl_api.errors import Fault, SpecError
from prorl_api.names import ENV_ADVERTISED_URL, ENV_JOB_NAME, ENV_LEARNER_URL, ENV_ROLLOUT_SETTINGS
from prorl_api.process.addresses import AddressError, base_url_origin
from prorl_api.process.listen import advertised_url
from prorl_api.settings import RolloutServerSettings
from prorl_api.wording import wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """The settings of one rollout server process."""

    engine: RolloutServerSettings
    learner_url: str
    """Base URL of the learner, without a trailing slash."""
    advertised_url: str | None
    """Base URL peers use; None: the address that is listened on."""
    job_name: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read and check everything at once.

        Raises:
            SpecError: With every fault, named by its variable.
        """
        faults: list[Fault] = []
        learner_url = environment.get(ENV_LEARNER_URL, "").rstrip("/")
        try:
            base_url_origin(learner_url)
        except AddressError:
            want = "base URL of the learner, as http://127.0.0.1:8000"
            faults.append(Fault(path=ENV_LEARNER_URL, got=repr(learner_url), want=want))
        engine = RolloutServerSettings()
        try:
            engine = RolloutServerSettings.model_validate_json(environment.get(ENV_ROLLOUT_SETTINGS, "{}"))
        except ValidationError as error:
            for fault in error.errors():
                path = ".".join([ENV_ROLLOUT_SETTINGS, *map(str, fault["loc"])])
                faults.append(Fault(path=path, got=repr(fault["input"])[:80], want=wanted(fault)))
        if faults:
            raise SpecError(faults, source="the rollout server's environment")
        return cls(
            engine=engine,
            learner_url=learner_url,
            advertised_url=advertised_url(environment.get(ENV_ADVERTISED_URL)),
            job_name=environment.get(ENV_JOB_NAME, ""),
        )
