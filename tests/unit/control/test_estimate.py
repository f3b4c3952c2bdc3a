"""What a run takes on disk, from its manifest alone."""

from __future__ import annotations

import pytest

from prorl_api.manifest import parse_job
from prorl_control.estimate import estimate

MANIFEST = """
apiVersion: prorl.dev/v1alpha1
kind: ProRLJob
metadata: {name: demo}
spec:
  model: {path: /models/base}
  data: {sources: [{name: sums, domain: logic, reasoningGym: {tasks: [{name: chain_sum}]}}]}
  learner: {precision: float32}
  algorithm: {kl: {coefficient: 0.1DECAY}}
  schedule: {totalSteps: 50}
  checkpoint: {keep: 3}
"""


@pytest.mark.parametrize(
    ("decay", "references"),
    [
        pytest.param("", 2, id="the first one and the best policy"),
        pytest.param(
            ", referenceDecay: 0.99",
            1 + 3 + 1,
            id="best policy, and averages with checkpoints and the next",
        ),
    ],
)
def test_disk_is_counted_by_parameters(decay: str, references: int) -> None:
    found = estimate(parse_job(MANIFEST.replace("DECAY", decay)).spec, 1000)
    assert found.checkpoint == 12 * 1000, "master copy and two moments, in float32"
    assert found.checkpoints == (3 + 1) * 12 * 1000, "those that are kept, and the one being written"
    assert (found.references, found.one_reference) == (references * 4 * 1000, 4 * 1000)
    assert found.disk == found.checkpoints + found.references
