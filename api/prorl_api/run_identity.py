"""`run.json`: whose run a folder holds. Written once, before anything else that lasts; bodies and learner read it."""

from __future__ import annotations

from prorl_api.wire.base import WireModel


class RunIdentity(WireModel):
    """Content of `prorl_api.run_folder.RunFolder.identity`."""

    uid: str
    """A ULID on one machine, the ProRLJob's uid in a cluster."""
    created: float
    """Unix time in seconds."""
    job: str | None = None
    """`namespace/name` of the ProRLJob in a cluster; None on one machine."""
    manifest_folder: str = ""
    """Relative paths in `job.yaml` are relative to it; empty in a cluster, where paths are absolute."""
    model: str | None = None
    """`--model` on one machine; it holds for every later start, until its folder is gone or another one is given."""
    digests: dict[str, str] = {}
    """On one machine, of the model's weights and of files that the run was begun with, by the path of their field:
    what was moved is known again by them."""
