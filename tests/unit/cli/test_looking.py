"""`prorl validate` finds the faults of the machine, the model and the data in one round, each place once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from prorl_api.errors import SpecError
from prorl_api.manifest import ManifestFaults
from prorl_cli.local.job import read_local_job
from prorl_cli.looking import look, look_despite
from tests.model_folder import write_model_files

GOOD, BAD = {"prompt": "1 + 1?", "row": {"answer": "2"}}, {"prompt": "1 + 1?", "row": {}}


def gym(name: str, *tasks: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "domain": "logic", "reasoningGym": {"tasks": list(tasks)}}


def task(name: str, **config: Any) -> dict[str, Any]:
    return {"name": name, "config": config}


def faults(folder: Path, *sources: dict[str, Any], **spec: Any) -> dict[str, str]:
    """Place and whole text of every fault."""
    sections = {
        "model": {"path": "./model"},
        "data": {"sources": list(sources)},
        "learner": {"promptsPerStep": 8, "minibatchPrompts": 4},
        "referenceReset": {"mode": "disabled"},
        **spec,
    }
    head = {"apiVersion": "prorl.dev/v1alpha1", "kind": "ProRLJob", "metadata": {"name": "looked-at"}}
    (folder / "job.yaml").write_text(yaml.safe_dump({**head, "spec": sections}))
    with pytest.raises(SpecError) as caught:
        look(read_local_job(folder / "job.yaml", None).effective, folder / "job.yaml")
    found = [(fault.path, str(fault)) for fault in caught.value.faults]
    assert len({path for path, _ in found}) == len(found), "each place is named once"
    return dict(found)


def test_faults_of_machine_model_and_data_come_in_one_round(tmp_path: Path) -> None:
    (tmp_path / "good.jsonl").write_text(json.dumps(GOOD) + "\n")
    (tmp_path / "bad.jsonl").write_text(json.dumps(BAD) + "\n")
    found = faults(
        tmp_path,
        {"name": "one", "domain": "math", "jsonl": "./bad.jsonl"},
        {"name": "two", "domain": "math", "jsonl": "./none.jsonl"},
        {"name": "three", "domain": "math", "jsonl": "./good.jsonl", "heldOut": 5},
        gym("four", task("chain_sumx")),
        gym("five", task("chain_sum", min_term=3)),
        {"name": "six", "domain": "custom", "jsonl": "./good.jsonl", "reward": "nowhere:judge"},
        initFrom={"run": "./nowhere"},
    )
    assert set(found) == {
        "spec.model.path",
        "spec.initFrom.run",
        f"{tmp_path}/bad.jsonl:1 row.answer",
        "spec.data.sources[1].jsonl",
        "spec.data.sources[three].jsonl",
        "spec.data.sources[3].reasoningGym.tasks[0].name",
        "spec.data.sources[five].reasoningGym.tasks[chain_sum].config.min_term",
        "spec.data.sources[5].reward",
    }


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"min_term": 3}, {".config.min_term": "did you mean `min_terms`?"}),
        ({"zzz": 1, "max_term": 2}, {".config.zzz": "max_digits, max_terms", ".config.max_term": "`max_terms`"}),
        ({"min_terms": 9, "max_terms": 2}, {".config": "max_terms must be >= min_terms"}),
        ({"seed": 3}, {".config.seed": "a setting of chain_sum"}),
    ],
)
def test_settings_of_a_task_are_judged_by_name_and_together(
    tmp_path: Path, config: dict[str, Any], said: dict[str, str]
) -> None:
    write_model_files(tmp_path / "model")
    found = faults(tmp_path, gym("sums", task("chain_sum", **config)))
    place = "spec.data.sources[sums].reasoningGym.tasks[chain_sum]"
    of_task = {path.removeprefix(place): text for path, text in found.items() if path.startswith(place)}
    assert set(of_task) == set(said)
    assert all(part in of_task[path] for path, part in said.items())
    assert not [text for text in of_task.values() if "__init__" in text or "keyword" in text]


OVERSIZED = {"name": "rows", "domain": "math", "jsonl": "./rows.jsonl", "heldOut": 900}


def all_faults(folder: Path, **spec: Any) -> set[str]:
    """Places that `prorl validate` names of a manifest with faults of its own."""
    sections: dict[str, dict[str, Any]] = {
        "model": {"path": "./none"},
        "data": {"sources": [OVERSIZED]},
        "learner": {"promptsPerStep": 8, "minibatchPrompts": 4},
        "referenceReset": {"mode": "disabled"},
    }
    for name, values in spec.items():
        sections[name] = {**sections.get(name, {}), **values}
    (folder / "rows.jsonl").write_text((json.dumps(GOOD) + "\n") * 20)
    head = {"apiVersion": "prorl.dev/v1alpha1", "kind": "ProRLJob", "metadata": {"name": "faulty"}}
    (folder / "job.yaml").write_text(yaml.safe_dump({**head, "spec": sections}))
    with pytest.raises(ManifestFaults) as caught:
        read_local_job(folder / "job.yaml", None)
    found = [*caught.value.faults, *look_despite(caught.value, folder / "job.yaml", None)]
    paths = [fault.path for fault in found]
    assert len(paths) == len(set(paths)), "each place is named once"
    return set(paths)


LOOKED = {"spec.model.path", "spec.data.sources[rows].jsonl"}


@pytest.mark.parametrize(
    ("spec", "places"),
    [
        ({"learner": {"minibatchPrompts": 3}}, {"spec.learner", *LOOKED}),
        ({"learner": {"groupsize": 3}}, {"spec.learner.groupsize", *LOOKED}),
        ({"rollout": {"maxPromptTokens": "many"}}, {"spec.rollout.maxPromptTokens", *LOOKED}),
        ({"validation": {"sources": [{"name": "nobody", "size": 4}]}}, {"spec", *LOOKED}),
        ({"initFrom": {"run": "./nowhere"}, "learner": {"x": 1}}, {"spec.learner.x", "spec.initFrom.run", *LOOKED}),
        (
            {"data": {"sources": [OVERSIZED, {"name": "two", "domain": "math"}]}},
            {"spec.data.sources[1]", "spec.model.path"},
        ),
        ({"data": {"sources": [OVERSIZED, {**OVERSIZED, "heldOuts": 1}]}}, None),
        ({"local": {"modelPat": "./x"}}, {"spec.local.modelPat"}),
    ],
)
def test_model_and_data_are_judged_though_the_manifest_is_wrong(
    tmp_path: Path, spec: dict[str, Any], places: set[str] | None
) -> None:
    """As far as they do not hang on what is wrong."""
    found = all_faults(tmp_path, **spec)
    if places is None:
        assert "spec.model.path" in found
        assert not found & {"spec.data.sources[rows].jsonl"}
    else:
        assert found == places


def test_lengths_that_nobody_asked_for_are_not_judged(tmp_path: Path) -> None:
    """With them wrong, prompts are neither too long nor sequences longer than the model's."""
    write_model_files(tmp_path / "model")
    spec = {"model": {"path": "./model"}, "rollout": {"maxPromptTokens": "many", "maxCompletionTokens": 100_000}}
    assert not {path for path in all_faults(tmp_path, **spec) if path.startswith("spec.rollout")} - {
        "spec.rollout.maxPromptTokens"
    }
