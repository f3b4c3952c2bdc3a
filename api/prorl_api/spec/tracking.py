"""`spec.tracking`: experiment trackers that are told every step of a run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from prorl_api.spec.base import KEYED_BY_NAME, Cel, Name, SpecModel, rule

_Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=128)]


class TensorBoardTracker(SpecModel):
    """Event files in the run folder: `tensorboard --logdir RUN/tracking`. It sees every step at once."""


class WandbTracker(SpecModel):
    """Weights & Biases. It is told steps once a checkpoint holds them, so that a resumed run never shows one twice."""

    project: _Word = "prorl"
    """Project of the run."""
    entity: _Word | None = None
    """User or team; unset: the default of the account."""
    mode: Literal["online", "offline"] = "online"
    """`offline`: files in the run folder, for `wandb sync`. `online` needs WANDB_API_KEY or `wandb login`."""


class MlflowTracker(SpecModel):
    """MLflow. It is told steps once a checkpoint holds them."""

    tracking_uri: Annotated[str, Field(pattern=r"^https?://[^\s@]+$", max_length=2048)] | None = None
    """The server; unset: a file store in the run folder. Credentials do not belong into it: see docs/trackers.md."""
    experiment: Annotated[str, Field(min_length=1, max_length=256)] = "prorl"
    """Made if it is not there."""


class TrackioTracker(SpecModel):
    """Trackio. It is told steps once a checkpoint holds them."""

    project: _Word = "prorl"
    """Project of the run."""
    space: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$", max_length=256)] | None = None
    """A Space of a hub, which needs HF_TOKEN; unset: a database in the run folder."""


class Tracker(SpecModel):
    """One tracker: a name and exactly one kind."""

    name: Name
    """Unique; its files in the run folder bear it."""
    tensorboard: TensorBoardTracker | None = None
    wandb: WandbTracker | None = None
    mlflow: MlflowTracker | None = None
    trackio: TrackioTracker | None = None

    @property
    def kind(self) -> str:
        """The one that is set."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @rule(
        Cel(
            "[has(self.tensorboard), has(self.wandb), has(self.mlflow), has(self.trackio)]"
            ".filter(given, given).size() == 1",
            "set exactly one of `tensorboard`, `wandb`, `mlflow` and `trackio`",
        ),
    )
    def exactly_one_kind(self) -> None:
        """A tracker is of one kind; `{}` chooses it with its defaults."""
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"set exactly one of `tensorboard`, `wandb`, `mlflow` and `trackio`, got {len(given)}")


KINDS = ("tensorboard", "wandb", "mlflow", "trackio")


class TrackingSpec(SpecModel):
    """Who is told every step. A tracker that fails or hangs never stops training: condition `Tracked` says so."""

    trackers: Annotated[tuple[Tracker, ...], Field(max_length=8, json_schema_extra=KEYED_BY_NAME)] = ()
    """Each runs as a process of its own beside the learner's first rank."""
    secret_name: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """In a cluster: Secret in the job's namespace; its keys, such as WANDB_API_KEY, become the learner's variables."""

    @rule
    def tracker_names_are_unique(self) -> None:
        """Their files lie side by side."""
        names = [tracker.name for tracker in self.trackers]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"`trackers` must have names of their own, got {', '.join(repeated)} more than once")
