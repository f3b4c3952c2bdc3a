"""The layout of a run folder, in one place. Paths only: who writes what is said at each.

The learner writes inside `attempts/<k>/` of its own attempt and `references/`; beyond that it moves `CURRENT`
forward and appends to the line files, after checking that no newer attempt exists. The body writes the rest.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PRIVATE_FOLDER = 0o700
"""Permissions of a folder that holds answers: a program of a model's, or another user, must not read them."""
PRIVATE_FILE = 0o600
"""The same of a file."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run on disk."""

    path: Path

    @property
    def manifest(self) -> Path:
        """`job.yaml`: the manifest as accepted. Body."""
        return self.path / "job.yaml"

    @property
    def effective_manifest(self) -> Path:
        """`effective.json`: the job as it runs here, `spec.local` applied and paths absolute; JSON is YAML.

        Body on one machine, the learner in a cluster.
        """
        return self.path / "effective.json"

    @property
    def startup(self) -> Path:
        """`startup.json`: seconds that each role took to become ready when it last started. Body."""
        return self.path / "startup.json"

    @property
    def identity(self) -> Path:
        """`run.json`: `prorl_api.run_identity.RunIdentity`. Body on one machine, the learner in a cluster."""
        return self.path / "run.json"

    @property
    def lock(self) -> Path:
        """`lock`: held by the body that drives the run. Body."""
        return self.path / "lock"

    @property
    def status(self) -> Path:
        """`status.json`: conditions and progress, `prorl_api.status.JobStatus`. Body."""
        return self.path / "status.json"

    @property
    def processes(self) -> Path:
        """`processes.json`: pid and start time of every child, so that leftovers can be reaped. Body."""
        return self.path / "processes.json"

    @property
    def targets(self) -> Path:
        """`prometheus-targets.json`: where the members can be scraped, while they run. Body."""
        return self.path / "prometheus-targets.json"

    @property
    def logs(self) -> Path:
        """`logs/`: one file per member. Body."""
        return self.path / "logs"

    @property
    def resets(self) -> Path:
        """`resets/`: one `prorl_api.resets.ResetRecord` a file. Body."""
        return self.path / "resets"

    @property
    def report(self) -> Path:
        """`report.html`. Command line."""
        return self.path / "report.html"

    @property
    def live_page(self) -> Path:
        """`live.json`: port and token of `prorl run --live`, readable by the owner alone. Command line."""
        return self.path / "live.json"

    @property
    def current(self) -> Path:
        """`CURRENT`: which checkpoint the run continues from. Learner; moves forward only."""
        return self.path / "CURRENT"

    @property
    def metrics(self) -> Path:
        """`metrics.jsonl`: one line a step, with its attempt. Learner."""
        return self.path / "metrics.jsonl"

    @property
    def reset_log(self) -> Path:
        """`resets.jsonl`: intents and applications, fsynced. Learner."""
        return self.path / "resets.jsonl"

    @property
    def prompts(self) -> Path:
        """`prompts.jsonl`: generated prompts as they were used, so that nothing must be generated again. Learner."""
        return self.path / "prompts.jsonl"

    @property
    def samples(self) -> Path:
        """`samples/`: completions with their rewards, `train-<step>.jsonl` and `validation-<step>.jsonl`. Learner."""
        return self.path / "samples"

    @property
    def references(self) -> Path:
        """`references/<sha256>/`: reference policies by content. Learner."""
        return self.path / "references"

    @property
    def tracking(self) -> Path:
        """`tracking/`: what trackers keep here, and `<name>.json`, how far each has come. Trackers."""
        return self.path / "tracking"

    @property
    def exported_best(self) -> Path:
        """`exported/best/`: the best policy as a Hugging Face folder, with `checkpoint.exportBest`. Learner."""
        return self.path / "exported" / "best"

    @property
    def attempts(self) -> Path:
        """`attempts/`. Learner, each attempt its own folder."""
        return self.path / "attempts"

    def attempt(self, number: int) -> Path:
        """`attempts/<number>/`."""
        return self.attempts / str(number)

    def checkpoint(self, attempt: int, step: int) -> Path:
        """`attempts/<attempt>/checkpoints/step-<step>/`."""
        return self.attempt(attempt) / "checkpoints" / f"step-{step}"

    def journal(self, attempt: int) -> Path:
        """`attempts/<attempt>/journal/`: groups of the steps since the last checkpoint."""
        return self.attempt(attempt) / "journal"

    def create(self) -> None:
        """Make the folder if it is not there, for its owner alone: it holds prompts with their answers.

        One that is there keeps its permissions, so that its owner can show it to others.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)

    def highest_attempt(self) -> int:
        """Return the highest attempt that ever began here; 0 if none."""
        try:
            names = os.listdir(self.attempts)
        except FileNotFoundError:
            return 0
        return max((int(name) for name in names if name.isascii() and name.isdecimal()), default=0)
