"""A reset that a person writes is judged as a reset: every fault at once, at its path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from prorl_api.errors import SpecError
from prorl_api.manifest import read_job
from prorl_api.reset_manifest import read_reset


def written(folder: Path, **changes: Any) -> Path:
    document = {"apiVersion": "prorl.dev/v1alpha1", "kind": "ProRLReset", "metadata": {"name": "now"}}
    path = folder / "reset.yaml"
    path.write_text(yaml.safe_dump({**document, "spec": {"jobName": "demo"}, **changes}))
    return path


def test_a_job_name_alone_is_a_reset(tmp_path: Path) -> None:
    reset = read_reset(written(tmp_path))
    assert reset is not None
    assert (reset.metadata.name, reset.spec.job_name, reset.spec.approved) == ("now", "demo", True)


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({"spec": {}}, {"spec.jobName": "required"}),
        ({"spec": {"jobName": "demo", "source": "bst"}}, {"spec.source": "did you mean `best`"}),
        ({"spec": {"jobname": "demo"}}, {"spec.jobName": "required", "spec.jobname": "did you mean `jobName`"}),
        ({"spec": {"jobName": "demo", "applyAtStep": -1}}, {"spec.applyAtStep": "at least 0"}),
        ({"spec": {"jobName": "demo", "vetoed": True}}, {"spec": "exclude one another"}),
        ({"spec": {"jobName": "demo", "dryRun": True}}, {"spec": "approved: false"}),
        (
            {"metadata": {"name": "Now"}, "spec": {"jobName": "demo", "approved": "no"}},
            {"metadata.name": "lower-case letters", "spec.approved": "true or false"},
        ),
        ({"apiVersion": "prorl.dev/v2"}, {"apiVersion": "prorl.dev/v1alpha1"}),
    ],
)
def test_every_fault_of_a_reset_is_found(tmp_path: Path, changes: dict[str, Any], faults: dict[str, str]) -> None:
    with pytest.raises(SpecError) as caught:
        read_reset(written(tmp_path, **changes))
    found = {fault.path: fault.want for fault in caught.value.faults}
    assert set(found) == set(faults)
    assert all(part in found[path] for path, part in faults.items())


def test_what_is_no_reset_is_left_to_the_judge_of_jobs(tmp_path: Path) -> None:
    assert read_reset(written(tmp_path, kind="ProRLJob")) is None


def test_a_reset_is_not_run(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="prorl resets request"):
        read_job(written(tmp_path))
