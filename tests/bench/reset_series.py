"""Synthetic series for the triggers of reference resets: made, not recorded, from a seed. Pure.

A series is what the metrics table says of a run, as far as triggers look at it. The KL after a reset rises from 0
to its level and scatters about it by a factor; the accuracy of a validation is a binomial share of `COMPLETIONS`.

    python -m tests.bench.reset_series examples/series     writes the examples that docs/resets.md speaks of
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Line = dict[str, Any]
Floats = NDArray[np.float64]

COMPLETIONS = 512
"""Of one validation: the default 128 prompts with 4 completions each."""
VALIDATE_EVERY = 10
LEVEL, RISE_STEPS, SCATTER = 0.05, 15.0, 0.1
"""KL that a reference allows, nats; steps in which most of it is reached; standard deviation of its logarithm."""
SEED = 20251128


def kl_curve(rng: np.random.Generator, steps: int, resets: Sequence[int] = (), *, level: float = LEVEL) -> Floats:
    """Return the KL of steps 1 to `steps`, with resets after those named."""
    at = np.arange(1, steps + 1, dtype=np.float64)
    since = at.copy()
    for reset in resets:
        since[at > reset] = at[at > reset] - reset
    mean = level * (1 - np.exp(-since / RISE_STEPS))
    return np.asarray(mean * np.exp(SCATTER * rng.standard_normal(steps)))


def stationary_kl(rng: np.random.Generator, steps: int, *, level: float = LEVEL) -> Floats:
    """Return the KL about its level, with normal noise: nothing happens at all."""
    return np.asarray(level * (1 + SCATTER * rng.standard_normal(steps)))


def shares(rng: np.random.Generator, truth: NDArray[Any], count: int = COMPLETIONS) -> Floats:
    """Return validations' accuracies, given the true ones."""
    return np.asarray(rng.binomial(count, np.clip(truth, 0.0, 1.0)) / count)


def lines(kl: Floats, accuracy: Floats, *, first_step: int = 1, attempt: int = 1) -> list[Line]:
    """Return one line a step; `accuracy` has one value for each validation of these steps."""
    found: list[Line] = []
    values = iter(accuracy)
    for offset, value in enumerate(kl):
        step = first_step + offset
        line: Line = {"step": step, "attempt": attempt, "kl": float(value)}
        if step % VALIDATE_EVERY == 0:
            line |= {"validation_accuracy": float(next(values)), "validation_completions": COMPLETIONS}
        found.append(line)
    return found


def validations_alone(accuracy: Floats) -> list[Line]:
    """Return the lines of validations, with nothing in between."""
    return [
        {
            "step": VALIDATE_EVERY * index,
            "attempt": 1,
            "validation_accuracy": float(value),
            "validation_completions": COMPLETIONS,
        }
        for index, value in enumerate(accuracy)
    ]


def _kl_spike(rng: np.random.Generator) -> tuple[list[Line], list[Line]]:
    """The policy runs away from step 151 on; true: one reset there."""
    kl = kl_curve(rng, 180)
    kl[150:] += 0.06
    return lines(kl, shares(rng, 0.30 + 0.01 * np.arange(18))), [{"step": 151, "kind": "kl-spike"}]


def _plateau(rng: np.random.Generator) -> tuple[list[Line], list[Line]]:
    """Accuracy climbs for 300 steps, then no more; true: a stall from there."""
    truth = np.minimum(0.25 + 0.01 * np.arange(80), 0.55)
    return lines(kl_curve(rng, 800), shares(rng, truth)), [{"step": 300, "kind": "plateau", "within": 825}]


def _noise_only(rng: np.random.Generator) -> tuple[list[Line], list[Line]]:
    """A slow, steady climb of 0.002 a validation, and a KL that only scatters; true: nothing happens."""
    return lines(stationary_kl(rng, 2000), shares(rng, 0.3 + 0.002 * np.arange(200))), []


def _missing_data(rng: np.random.Generator) -> tuple[list[Line], list[Line]]:
    """A spike from step 231 on, seen by scrapes that miss two steps of five, and every step from 100 to 119."""
    kl = kl_curve(rng, 280)
    kl[230:] += 0.06
    found = lines(kl, shares(rng, np.full(28, 0.4)))
    kept = [line for line in found if line["step"] % 5 not in (1, 3) and not 100 <= line["step"] < 120]
    return kept, [{"step": 231, "kind": "kl-spike"}]


def _restart(rng: np.random.Generator) -> tuple[list[Line], list[Line]]:
    """The learner is killed at step 160 in the middle of a spike and continues from its checkpoint of step 140, where
    nothing of the kind happens: only the timeline that survived counts; true: nothing happens.
    """
    first, second = kl_curve(rng, 160), kl_curve(rng, 240)[140:]
    first[150:] += 0.2
    lost = lines(first, shares(rng, np.full(16, 0.4)))
    return [*lost, *lines(second, shares(rng, np.full(10, 0.41)), first_step=141, attempt=2)], []


def _like_the_papers(rng: np.random.Generator) -> tuple[list[Line], list[Line]]:
    """The shape of ProRL's figure of validation over 2,000 steps: rises, stalls, is reset by hand, rises again.

    Read off by eye, no data of the paper's; the reference is reset where the paper's text says that a run ended.
    """
    resets = (500, 900, 1300, 1700)
    at = np.arange(1, 201) * VALIDATE_EVERY
    truth = np.full(200, 0.30)
    for start, end in zip((0, *resets), (*resets, 2000), strict=True):
        part = (at > start) & (at <= end)
        before = 0.30 if start == 0 else truth[at <= start][-1]
        truth[part] = before + 0.07 * (1 - np.exp(-(at[part] - start) / 120))
    kl = kl_curve(rng, 2000, resets)
    return lines(kl, shares(rng, truth)), [
        {"step": step - 200, "kind": "stall before the reset by hand", "within": step + 100} for step in resets
    ]


EXAMPLES: dict[str, Callable[[np.random.Generator], tuple[list[Line], list[Line]]]] = {
    "kl-spike": _kl_spike,
    "plateau": _plateau,
    "noise-only": _noise_only,
    "missing-data": _missing_data,
    "restart": _restart,
    "like-the-paper": _like_the_papers,
}
"""Each gives a series and what truly happened in it."""


def example(name: str) -> tuple[list[Line], list[Line]]:
    """Return an example series, the same every time, and its truth."""
    return EXAMPLES[name](np.random.default_rng([SEED, *name.encode()]))


def text(name: str) -> str:
    """Return an example as a file: what truly happened in its first line, then the series."""
    series, truth = example(name)
    return "\n".join([json.dumps({"truth": truth}), *(json.dumps(_rounded(line)) for line in series)]) + "\n"


def _rounded(line: Line) -> Line:
    return {key: round(value, 6) if isinstance(value, float) else value for key, value in line.items()}


def main() -> None:
    """Write every example into a folder."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in EXAMPLES:
        (folder / f"{name}.jsonl").write_text(text(name), encoding="utf-8")


if __name__ == "__main__":
    main()
