"""What a run can make of few rows: said before it begins, and no reason not to run. Pure.

Beside `notices`, which know a manifest alone: here the data has been read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prorl_api.spec.job import ProRLJobSpec
from prorl_control.notices import Notice

FEW_HELD_OUT = 20
"""Below so many one answer moves the accuracy by more than 5 points."""


def few_rows(spec: ProRLJobSpec, rows: Mapping[str, int]) -> tuple[Notice, ...]:
    """Return what is too few to tell anything, or to fill a step.

    Args:
        spec: The job's.
        rows: Of each `jsonl` source by name, the held-out ones included; generated sources never end.
    """
    return (*_held_out(spec, rows), *_trained(spec, rows))


def _held_out(spec: ProRLJobSpec, rows: Mapping[str, int]) -> Iterator[Notice]:
    sizes = {wanted.name: wanted.size for wanted in spec.validated_sources}
    for number, source in enumerate(spec.data.sources):
        held = source.held_out
        if source.name not in rows or source.name not in sizes or held >= FEW_HELD_OUT:
            continue
        effect = f"each of {held} answers is {1 / held:.0%} of the accuracy" if held > 1 else "the accuracy is 0 or 1"
        effect += ", which says little about the model"
        want = f"at least {FEW_HELD_OUT} once there are rows for them; harmless in a trial"
        yield Notice(path=f"spec.data.sources[{number}].heldOut", got=str(held), effect=effect, want=want)


def _trained(spec: ProRLJobSpec, rows: Mapping[str, int]) -> Iterator[Notice]:
    trained = [source for source in spec.data.sources if spec.is_trained_on(source)]
    if spec.schedule.total_steps == 0 or any(source.name not in rows for source in trained):
        return
    left, prompts = sum(rows[source.name] - source.held_out for source in trained), spec.learner.prompts_per_step
    if left >= prompts:
        return
    effect = f"{left} row{'s are' if left != 1 else ' is'} left to train on, so that a step asks some more than once"
    want = f"more rows, or at most {left}; harmless in a trial"
    yield Notice(path="spec.learner.promptsPerStep", got=str(prompts), effect=effect, want=want)
