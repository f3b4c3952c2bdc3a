"""A `ProRLReset` as a person writes it, judged as the API server judges it when it is created."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from prorl_api import yaml12
from prorl_api.crd.reset_models import ResetObjectSpec
from prorl_api.errors import Fault, SpecError
from prorl_api.manifest import RESET_KIND, sole_document, validated
from prorl_api.spec.base import SpecModel, rule
from prorl_api.wording import reason_of


class ResetMetadata(SpecModel):
    """The object's name and labels."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=253)]
    """Unique among the resets of the namespace."""
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=63)] | None = None
    """Where the job is."""
    labels: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=64)] = {}
    """Kubernetes labels of the object."""
    annotations: Annotated[dict[str, Annotated[str, Field(max_length=65536)]], Field(max_length=64)] = {}
    """Kubernetes annotations of the object."""


class AskedReset(ResetObjectSpec, SpecModel):
    """What a person asks for: the operator's fields may stay open."""

    model_config = ConfigDict(extra="forbid")

    @rule
    def approved_or_vetoed(self) -> None:
        """Refuse both at once."""
        if self.approved and self.vetoed:
            raise ValueError("`approved` (true, unless it is set) and `vetoed` exclude one another")

    @rule
    def never_applied(self) -> None:
        """A rehearsal waits for no approval."""
        if self.approved and self.dry_run:
            raise ValueError("`dryRun` is never applied: set `approved: false`, or leave `dryRun` out")


class ResetManifest(SpecModel):
    """The whole object."""

    api_version: Literal["prorl.dev/v1alpha1"]
    """The API's group and version."""
    kind: Literal["ProRLReset"]
    """What the object is."""
    metadata: ResetMetadata
    spec: AskedReset


def read_reset(path: Path) -> ResetManifest | None:
    """Return the `ProRLReset` of a YAML file; None if the file holds no such kind, whatever it holds.

    Raises:
        SpecError: It is one, with faults; or the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fault = Fault(path=str(path), got=reason_of(error), want="a readable UTF-8 file with one ProRLJob")
        raise SpecError([fault], source=str(path)) from error
    documents: list[Any] = yaml12.load(text, source=str(path))
    if len(documents) != 1 or not isinstance(documents[0], dict) or documents[0].get("kind") != RESET_KIND:
        return None
    return validated(ResetManifest, sole_document(documents, str(path)), source=str(path))
