"""An exported folder onto a model hub, where one is reachable."""

from __future__ import annotations

import shlex
from pathlib import Path

from prorl_api.errors import ProRLError
from prorl_api.export_record import ExportRecord


class HubError(ProRLError):
    """The hub did not take the folder."""


def require_token(repository: str) -> None:
    """Make sure, before anything is written, that the hub would know who asks.

    Raises:
        HubError: The name is no repository's, or there is no token, with the remedy.
    """
    from huggingface_hub import get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise HubError(f"--push {repository}: {error}; name it OWNER/NAME") from error
    if get_token() is None:
        raise HubError(
            f"--push {repository}: there is no token for the hub; log in with `hf auth login`, or set HF_TOKEN (in a "
            "cluster a key of the Secret that --secret names)"
        )


def push(folder: Path, repository: str, record: ExportRecord) -> str:
    """Upload the folder, into a private repository if there is none yet; its address.

    Raises:
        HubError: The hub is not reachable or refuses; the folder stays as it is.
    """
    from huggingface_hub import HfApi

    hub = HfApi()
    message = f"{record.job}, checkpoint {record.checkpoint}, step {record.step}"
    try:
        hub.create_repo(repository, private=True, exist_ok=True)
        return str(hub.upload_folder(repo_id=repository, folder_path=folder, commit_message=message))
    except Exception as error:
        what = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise HubError(
            f"{hub.endpoint} did not take {repository}: {type(error).__name__}: {what}. The exported folder is whole; "
            f"once the hub answers: hf upload {shlex.quote(repository)} {shlex.quote(str(folder))}"
        ) from error
