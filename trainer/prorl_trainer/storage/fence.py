"""An attempt that has been overtaken must not write: the highest folder under `attempts/` is the only writer."""

from __future__ import annotations

from prorl_api.errors import StaleAttemptError
from prorl_api.run_folder import PRIVATE_FOLDER, RunFolder


class Fence:
    """Guards what attempts share."""

    def __init__(self, run: RunFolder, attempt: int) -> None:
        """For `attempt` of `run`."""
        self.run = run
        self.attempt = attempt

    def enter(self) -> None:
        """Claim the attempt by making its folder.

        Raises:
            StaleAttemptError: It was claimed before, or a higher one was.
        """
        self.check()
        folder = self.run.attempt(self.attempt)
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.mkdir(mode=PRIVATE_FOLDER)
        except FileExistsError as error:
            raise StaleAttemptError(
                f"attempt {self.attempt} of {self.run.path} has begun before; start the next one"
            ) from error

    def check(self) -> None:
        """Raise StaleAttemptError if a newer attempt has begun."""
        highest = self.run.highest_attempt()
        if highest > self.attempt:
            raise StaleAttemptError(
                f"attempt {self.attempt} of {self.run.path} is over: attempt {highest} has begun; this one stops"
            )
