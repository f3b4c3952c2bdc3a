"""Published recipes shortened to the quickstart's model: their algorithm, stages and resets on sums, in a few steps."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted((ROOT / "examples" / "recipes").glob("*.yaml"))
STEPS = 10
"""Enough for each of ProRL v1's eight runs to have some."""
_LONGEST = 6
"""Completion tokens of the quickstart; a stage with twice the recipe's context gets twice as many."""
_PROMPTS, _GROUP = 4, 4
"""Prompts of a step, in two optimizer steps, and completions of each: a third of the quickstart's work."""
_VALIDATED = 16


def load(path: Path) -> dict[str, Any]:
    """A manifest as a document."""
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    return document


def shortened(recipe: dict[str, Any]) -> dict[str, Any]:
    """The quickstart's manifest with the recipe's algorithm, stages, resets, and sources under their names."""
    job, wanted = load(ROOT / "examples" / "quickstart.yaml"), recipe["spec"]
    job["metadata"]["name"] = recipe["metadata"]["name"]
    spec = job["spec"]
    spec["model"]["path"] = str(ROOT / ".cache" / "models" / "SmolLM2-135M-Instruct")
    (quick,), sources = spec["data"]["sources"], wanted["data"]["sources"]
    spec["data"]["sources"] = [
        {
            **copy.deepcopy(quick),
            "name": source["name"],
            "weight": source.get("weight", 1),
            "reasoningGym": _gym(quick, number),
        }
        for number, source in enumerate(sources)
    ]
    spec["algorithm"] = _algorithm(wanted["algorithm"])
    scale = STEPS / wanted["schedule"]["totalSteps"]
    spec["schedule"] = {
        "totalSteps": STEPS,
        "stages": [_stage(stage, scale, wanted) for stage in wanted["schedule"].get("stages", [])],
    }
    spec["learner"] |= {"promptsPerStep": _PROMPTS, "minibatchPrompts": _PROMPTS // 2, "groupSize": _GROUP}
    sizes = [{"name": source["name"], "size": max(1, _VALIDATED // len(sources))} for source in sources]
    spec["validation"] |= {"everySteps": 4, "sources": sizes}
    spec["referenceReset"] = _resets(wanted["referenceReset"])
    return job


def _gym(quick: dict[str, Any], number: int) -> dict[str, Any]:
    return {**copy.deepcopy(quick["reasoningGym"]), "seed": number + 1}


def _algorithm(wanted: dict[str, Any]) -> dict[str, Any]:
    length = dict(wanted.get("length", {}))
    if "onSteps" in length:
        length |= {"onSteps": 2, "offSteps": 4}
    return {**wanted, **({"length": length} if length else {})}


def _resets(wanted: dict[str, Any]) -> dict[str, Any]:
    short = {"cooldownSteps": 3, "windowSteps": 2, "patience": 2, "everySteps": 8}
    triggers = [
        {key: {**value, **_known(short, value)} if isinstance(value, dict) else value for key, value in trigger.items()}
        for trigger in wanted.get("triggers", [])
    ]
    return {**wanted, **_known(short, wanted), **({"triggers": triggers} if triggers else {})}


def _known(short: dict[str, int], section: dict[str, Any]) -> dict[str, int]:
    return {name: value for name, value in short.items() if name in section}


def _stage(stage: dict[str, Any], scale: float, recipe: dict[str, Any]) -> dict[str, Any]:
    overrides = dict(stage.get("overrides", {}))
    if "maxCompletionTokens" in overrides:
        growth = overrides["maxCompletionTokens"] / recipe["rollout"]["maxCompletionTokens"]
        overrides["maxCompletionTokens"] = round(_LONGEST * growth)
    if "groupSize" in overrides:
        overrides["groupSize"] = _GROUP * overrides["groupSize"] // recipe["learner"]["groupSize"]
    return {**stage, "fromStep": round(stage["fromStep"] * scale), "overrides": overrides}
