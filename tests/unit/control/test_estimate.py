"""What a run takes on disk, from its manifest alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from prorl_control.estimate import estimate

sys.path.insert(0, str(Path(__file__).parent))
from control_builders import make_job


@pytest.mark.parametrize(
    ("kl", "references"),
    [
        pytest.param({"coefficient": 0.1}, 2, id="the first one and the best policy"),
        pytest.param(
            {"coefficient": 0.1, "referenceDecay": 0.99},
            1 + 3 + 1,
            id="best policy, and averages with checkpoints and the next",
        ),
    ],
)
def test_disk_is_counted_by_parameters(kl: dict[str, float], references: int) -> None:
    job = make_job(learner={"precision": "float32"}, algorithm={"kl": kl}, checkpoint={"keep": 3})
    found = estimate(job.spec, 1000)
    assert found.checkpoint == 12 * 1000, "master copy and two moments, in float32"
    assert found.checkpoints == (3 + 1) * 12 * 1000, "those that are kept, and the one being written"
    assert (found.references, found.one_reference) == (references * 4 * 1000, 4 * 1000)
    assert found.disk == found.checkpoints + found.references
