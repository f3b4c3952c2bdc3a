"""Vitals by their definitions, over the whole list of lines: what the fold is held against."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

Line = dict[str, Any]


def vitals_by_definition(lines: Sequence[Line]) -> dict[str, float]:
    steps = [line for line in lines if line["step"] > 0]
    found: dict[str, float | None] = {
        "step_timestamp": number(steps[-1], "time") if steps else None,
        **{f"{name}_recent": mean(steps, name, 10) for name in ("truncated", "mismatch_logprob")},
        "reward_recent": mean(steps, "reward_mean", 10),
    }
    outside = ("seconds_validating", "seconds_checkpointing")
    pauses = [math.fsum(number(line, name) or 0.0 for name in outside) for line in steps]
    work = [
        total - pause
        for line, pause in zip(steps, pauses, strict=True)
        if (total := number(line, "seconds_total")) is not None
    ]
    found["step_usual"] = statistics.median(work[-10:]) if work else None
    found["step_pause_longest"] = max(pauses[-50:], default=None)
    newest_reference = max((line.get("resets_total", 0) for line in steps), default=0)
    same = [line for line in steps if line.get("resets_total", 0) == newest_reference]
    found |= {f"{name}_long": mean(same, name, 50) for name in ("kl", "kl_loss_share")}
    counted = [line for line in steps[-10:] if number(line, "groups_kept") is not None and line.get("groups_sampled")]
    if len(counted) == 10:
        kept = math.fsum(line["groups_kept"] * line["groups_sampled"] for line in counted)
        found["groups_kept_recent"] = kept / math.fsum(line["groups_sampled"] for line in counted)
    found |= of_validation(lines, steps)
    for source in sources(steps, "entropy_sampled"):
        values = [value for line in steps if (value := number(line, f"entropy_sampled/{source}")) is not None]
        found[f"entropy_sampled_start/{source}"] = math.fsum(values[:10]) / 10 if len(values) >= 10 else None
        found[f"entropy_sampled_recent/{source}"] = math.fsum(values[-10:]) / 10 if len(values) >= 20 else None
    for source in sources(steps[-10:], "rollouts_sampled") if len(steps) >= 10 else ():
        sampled = math.fsum(line.get(f"rollouts_sampled/{source}", 0.0) for line in steps[-10:])
        masked = math.fsum(line.get(f"rollouts_masked_unsupported/{source}", 0.0) for line in steps[-10:])
        found[f"rollouts_masked_recent/{source}"] = masked / sampled if sampled else None
    return {name: value for name, value in found.items() if value is not None}


def of_validation(lines: Sequence[Line], steps: Sequence[Line]) -> dict[str, float | None]:
    judged = [(line["step"], value) for line in lines if (value := number(line, "validation_accuracy")) is not None]
    if not judged:
        return {}
    best = max(value for _, value in judged)
    best_step = next(step for step, value in judged if value == best)
    later = [value for step, value in judged if step > best_step]
    found = {
        f"validation_source_newest/{source}": [
            value for line in lines if (value := number(line, f"validation_source_accuracy/{source}")) is not None
        ][-1]
        for source in sources(lines, "validation_source_accuracy")
    }
    return {
        **found,
        "validation_newest": judged[-1][1],
        "validation_best": best,
        "validation_recent": max(later[-2:]) if len(later) >= 2 else None,
        "reward_at_best": mean([line for line in steps if line["step"] <= max(best_step, 10)], "reward_mean", 10),
    }


def sources(lines: Sequence[Line], metric: str) -> list[str]:
    return sorted({name.partition("/")[2] for line in lines for name in line if name.startswith(f"{metric}/")})


def mean(lines: Sequence[Line], name: str, count: int) -> float | None:
    values = [value for line in lines if (value := number(line, name)) is not None][-count:]
    return math.fsum(values) / count if len(values) == count else None


def number(line: Line, name: str) -> float | None:
    value = line.get(name)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
