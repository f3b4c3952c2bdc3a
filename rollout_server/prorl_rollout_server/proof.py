"""Proves that the engine computes with new weights what the learner computes with them, before they are served.

Digests prove which bytes arrived. That every parameter got its value, in the layout that the kernels read, of a model
that engine and learner understand alike, shows only in what comes out.
"""

from __future__ import annotations

import math

from prorl_api.errors import EngineMismatchError, WeightsError
from prorl_api.wire.rollout import Sampling, WeightsProbe
from prorl_rollout_server.engine import Engine, Sample

PROOF_TOKEN_ID = 0
"""Of the trial generation where the learner sent no probe; in every vocabulary."""


async def prove(engine: Engine, version: str, probe: WeightsProbe | None) -> None:
    """Compute the learner's probe, or generate one token if there is none.

    Raises:
        WeightsError: What came is no finite log-probability under these weights.
        EngineMismatchError: The engine's log-probabilities are not those of the learner.
        EngineDiedError, EngineRefusedError: See `Engine`.
    """
    if probe is None:
        sampling = Sampling(temperature=0.0, max_tokens=1, seed=0)
        sample = await engine.sample(f"proof/{version}", [PROOF_TOKEN_ID], sampling, seed=0, max_tokens=1)
    else:
        sample = await engine.score(f"proof/{version}", probe.token_ids)
    if sample.version != version or not all(math.isfinite(logprob) for logprob in sample.logprobs):
        raise WeightsError(f"a trial generation gave log-probabilities {sample.logprobs} of weights {sample.version}")
    if probe is not None:
        _raise_if_distant(sample, probe)


def _raise_if_distant(sample: Sample, probe: WeightsProbe) -> None:
    differences = [abs(own - theirs) for own, theirs in zip(sample.logprobs, probe.logprobs, strict=False)]
    distance = sum(differences) / len(differences)
    if not distance <= probe.max_distance:
        worst = max(range(len(differences)), key=differences.__getitem__)
        raise EngineMismatchError(
            f"engine mismatch: the engine's log-probabilities of {len(differences)} tokens differ from the learner's "
            f"by {distance:.3g} nats on average, at most {probe.max_distance:g} are allowed; the worst is token "
            f"{probe.token_ids[worst + 1]} at position {worst + 1}: {sample.logprobs[worst]:.3f}, the learner has "
            f"{probe.logprobs[worst]:.3f}"
        )
