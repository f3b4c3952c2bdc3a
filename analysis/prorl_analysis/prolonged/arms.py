"""The arms of the prolonged run: which there are, and what each changes in the manifest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from prorl_api import yaml12
from prorl_api.errors import Fault, SpecError
from prorl_api.wording import reason_of

_FEWEST_RESETS = 2


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)


class Arm(_Model):
    """One way to run the manifest."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    title: str
    set: tuple[str, ...] = ()
    """Assignments as `prorl run --set` takes them."""
    supervised: bool = False
    """No run of ProRL: the base is fine-tuned on worked solutions of the same prompts."""
    kl_divided_by_resets_of: str | None = None
    """Arm by whose number of resets, with the same seed, the KL coefficient is divided."""

    def assignments(self, seed: int, coefficient: float, resets: Mapping[str, int]) -> tuple[str, ...]:
        """Return what `prorl run` is to be given for this arm.

        Args:
            seed: Of the run.
            coefficient: The manifest's KL coefficient.
            resets: Arm to the number of resets of its run with the same seed, for those that have ended.

        Raises:
            SpecError: The arm rests on another one that has not gone as far, or had fewer than two resets: divided by
                one it would be the arm without resets.
        """
        made = (f"seed={seed}", *self.set)
        if self.kl_divided_by_resets_of is None:
            return made
        count = resets.get(self.kl_divided_by_resets_of)
        other = f"the run of arm {self.kl_divided_by_resets_of} with seed {seed}"
        if count is None:
            self._refuse("a coefficient to divide", f"{other} first, as long: its resets say by how much")
        if count < _FEWEST_RESETS:
            self._refuse(f"{other} with {count} resets", "at least two: else this is the arm without resets")
        return (*made, f"algorithm.kl.coefficient={coefficient / count:.6g}")

    def _refuse(self, got: str, want: str) -> NoReturn:
        raise SpecError([Fault(path=f"arm {self.name}", got=got, want=want)], source="the arms")


class EvaluationPlan(_Model):
    """How the base and the checkpoints of every arm are evaluated."""

    depths: tuple[int, ...]
    items: int = Field(ge=2)
    samples: int = Field(ge=1, le=1024)
    deep_samples: int = Field(default=1024, ge=1, le=1024)
    """Of an item, where somebody asks for more."""
    temperature: float
    top_p: float
    checkpoints: int = Field(ge=1)
    """Of a run, the last one included."""
    guess: float = Field(ge=0, lt=1)
    """How often a sample that does not know the answer has it: what rises no higher shows nothing."""

    @property
    def deep(self) -> EvaluationPlan:
        """The same items with more samples."""
        return self.model_copy(update={"samples": self.deep_samples})

    def steps(self, last: int, checkpoint_every: int, also: Iterable[int] = ()) -> tuple[int, ...]:
        """Return the steps whose checkpoints are evaluated: evenly up to the last one, moved down to where there are
        checkpoints.

        Args:
            last: The last checkpoint's.
            checkpoint_every: Steps from one checkpoint to the next.
            also: Further ones, as far as the run went: where other runs end that this one is compared with.
        """
        shares = [last * part // self.checkpoints for part in range(1, self.checkpoints)]
        inner = {share // checkpoint_every * checkpoint_every for share in [*shares, *also] if share < last}
        return tuple(sorted((inner - {0}) | {last}))


class Contrast(_Model):
    """Two arms that differ in what a critic asks about."""

    arm: str
    other: str
    asks: str


class Arms(_Model):
    """The whole table."""

    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]
    contrasts: tuple[Contrast, ...]
    evaluation: EvaluationPlan

    def arm(self, name: str) -> Arm:
        """Return an arm.

        Raises:
            SpecError: There is none of that name.
        """
        for arm in self.arms:
            if arm.name == name:
                return arm
        want = f"one of {', '.join(arm.name for arm in self.arms)}"
        raise SpecError([Fault(path="arm", got=name, want=want)], source="the arms")


def read_arms(path: Path) -> Arms:
    """Read the table; an arm stands behind the one that it rests on.

    Raises:
        SpecError: It cannot be read, or is none.
    """
    try:
        documents = yaml12.load(path.read_text(encoding="utf-8"), source=str(path))
        arms = Arms.model_validate(documents[0] if len(documents) == 1 else documents)
    except (OSError, ValidationError) as error:
        fault = Fault(path=str(path), got=reason_of(error), want="a table of arms")
        raise SpecError([fault], source=str(path)) from error
    known: set[str] = set()
    faults = []
    for arm in arms.arms:
        if arm.name in known:
            faults.append(Fault(path=f"arm {arm.name}", got="the name twice", want="each once"))
        if arm.kl_divided_by_resets_of is not None and arm.kl_divided_by_resets_of not in known:
            faults.append(
                Fault(path=f"arm {arm.name}", got=arm.kl_divided_by_resets_of, want="an arm that stands before it")
            )
        known.add(arm.name)
    faults += [
        Fault(path=f"contrast of {each.arm} and {each.other}", got=name, want="an arm of the table")
        for each in arms.contrasts
        for name in (each.arm, each.other)
        if name not in known
    ]
    if faults:
        raise SpecError(faults, source=str(path))
    return arms
