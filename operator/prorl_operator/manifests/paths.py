"""Where things lie in a pod, and what a path in a manifest refers to."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

_HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")

PLAN_FOLDER = "/etc/prorl"
HOME = "/home/prorl"
TEMPORARY = "/tmp"  # noqa: S108  (a volume of the pod's own)
SHARED_MEMORY = "/dev/shm"  # noqa: S108
OURS = (PLAN_FOLDER, HOME, TEMPORARY, SHARED_MEMORY)
"""Mount paths that volumes of a job may not take."""


def is_hub_name(model: str) -> bool:
    """Tell whether `spec.model.path` is `owner/name` on a hub rather than a folder."""
    return _HUB_NAME.fullmatch(model) is not None


def is_under(path: str, folders: Iterable[str]) -> bool:
    """Tell whether an absolute path, or glob, lies in one of the folders or is one; `..` is resolved first."""
    plain = posixpath.normpath(path)
    return path.startswith("/") and any(
        plain == folder or plain.startswith(folder.rstrip("/") + "/") for folder in map(posixpath.normpath, folders)
    )
