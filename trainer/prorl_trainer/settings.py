"""What the body tells the learner at its start."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from prorl_api.errors import Fault, SpecError
from prorl_api.names import (
    ENV_ADOPT_RUN,
    ENV_ADVERTISED_URL,
    ENV_ATTEMPT,
    ENV_FINAL_REPORT_SECONDS,
    ENV_JOB_NAME,
    ENV_MANIFEST,
    ENV_RUN_DIR,
    ENV_RUN_UID,
    ENV_SANDBOX_URLS,
)
from prorl_api.process.listen import advertised_url
from prorl_api.run_folder import RunFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerSettings:
    """The environment of one rank, read once."""

    manifest: Path
    run: RunFolder
    attempt: int
    job: str
    sandbox_urls: tuple[str, ...]
    advertised_url: str | None
    """Base URL under which rollout servers reach rank 0; None: the address it listens on."""
    rank: int
    run_uid: str
    """Whose run the folder must hold; empty: the body has checked."""
    adopt_run: str
    """Uid of another run whose folder may be taken over; empty: none."""
    final_report_seconds: float
    """How long to wait at the end for the body's last questions."""

    @classmethod
    def from_environment(cls) -> LearnerSettings:
        """Read the variables.

        Raises:
            SpecError: Naming every variable that is missing or no number.
        """
        faults = [
            Fault(path=name, got="nothing", want="the body that starts the learner sets this variable")
            for name in (ENV_MANIFEST, ENV_RUN_DIR, ENV_ATTEMPT, ENV_SANDBOX_URLS)
            if not os.environ.get(name)
        ]
        attempt = os.environ.get(ENV_ATTEMPT, "1")
        if not attempt.isdigit() or int(attempt) < 1:
            faults.append(Fault(path=ENV_ATTEMPT, got=attempt, want="a whole number from 1"))
        if faults:
            raise SpecError(faults, source="the learner's environment")
        return cls(
            manifest=Path(os.environ[ENV_MANIFEST]),
            run=RunFolder(Path(os.environ[ENV_RUN_DIR])),
            attempt=int(attempt),
            job=os.environ.get(ENV_JOB_NAME, ""),
            sandbox_urls=tuple(os.environ[ENV_SANDBOX_URLS].split(",")),
            advertised_url=advertised_url(os.environ.get(ENV_ADVERTISED_URL)),
            rank=int(os.environ.get("RANK", "0")),
            run_uid=os.environ.get(ENV_RUN_UID, ""),
            adopt_run=os.environ.get(ENV_ADOPT_RUN, ""),
            final_report_seconds=float(os.environ.get(ENV_FINAL_REPORT_SECONDS, "0")),
        )
