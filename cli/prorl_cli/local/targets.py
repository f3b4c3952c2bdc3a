"""`prometheus-targets.json`: where a run's members can be scraped, as Prometheus' discovery by files reads it.

The labels are those that the chart's PodMonitor gives in a cluster, so that one set of dashboards and alerts fits both.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from prorl_api.run_folder import RunFolder
from prorl_cli.errors import storage_error
from prorl_cli.local.files import write_atomically
from prorl_control.members import MemberKey

NAMESPACE = "local"
"""What stands for a Kubernetes namespace."""


def targets(urls: Mapping[MemberKey, str], *, job: str, run_uid: str) -> list[dict[str, Any]]:
    """Return one group a member.

    Args:
        urls: Base URL of every member that serves.
        job: Name of the job.
        run_uid: Of the run, by which it differs from others of the same job.
    """
    return [
        {
            "targets": [url.removeprefix("http://")],
            "labels": {
                "namespace": NAMESPACE,
                "pod": key.name,
                "prorl_job": job,
                "prorl_role": key.role.value,
                "prorl_run": run_uid,
            },
        }
        for key, url in urls.items()
    ]


@contextlib.contextmanager
def listed(run: RunFolder, urls: Mapping[MemberKey, str], *, job: str, run_uid: str) -> Iterator[None]:
    """Keep the file while the members run: a run that is over has nothing to scrape.

    Raises:
        StorageError: The run folder cannot be written.
    """
    try:
        write_atomically(run.targets, json.dumps(targets(urls, job=job, run_uid=run_uid), indent=2) + "\n")
    except OSError as error:
        raise storage_error(error, run.path) from error
    try:
        yield
    finally:
        run.targets.unlink(missing_ok=True)
