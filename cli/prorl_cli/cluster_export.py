"""`prorl export NAME --namespace N`: the same export as a Job on the job's volume, printed or applied.

It speaks to the cluster through `kubectl`, with the rights of whoever calls it, and reads two things: the ProRLJob, and
the image of its newest learner.
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from typing import Any

from prorl_api import API_VERSION
from prorl_api.errors import Fault, ProRLError, SpecError
from prorl_api.manifest import validate_job
from prorl_api.names import LABEL_JOB, LABEL_ROLE
from prorl_api.spec.job import ProRLJob

_CHECKPOINT = re.compile(r"best|last|step-[0-9]{1,9}")
_KIND = "prorljobs.prorl.dev"
_SECONDS = 60.0


class ClusterError(ProRLError):
    """The cluster cannot be asked, or refuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterExport:
    """What is to be exported, and where."""

    job: str
    namespace: str
    checkpoint: str
    output: str
    image: str | None
    """Of the learner; None: that of the newest learner pod."""
    push: str | None
    secret: str | None
    should_apply: bool


def export_in_cluster(request: ClusterExport) -> str:
    """Print the Job, or create it; what to tell the person.

    Raises:
        SpecError: The job or the request does not fit.
        ClusterError: `kubectl` is missing, cannot reach the cluster, or is refused.
    """
    if _CHECKPOINT.fullmatch(request.checkpoint) is None:
        fault = Fault(path="--checkpoint", got=request.checkpoint, want="best, last or step-N")
        raise SpecError([fault], source="the command line")
    built = _built(request, _job(request))
    if not request.should_apply:
        return json.dumps(built, indent=2)
    name = built["metadata"]["name"]
    here = f"-n {request.namespace}"
    try:
        _kubectl("create", "-n", request.namespace, "-f", "-", stdin=json.dumps(built))
    except ClusterError as error:
        if "AlreadyExists" in str(error):
            remedy = f"look at it with kubectl logs {here} job/{name}, or remove it: kubectl delete {here} job/{name}"
            raise ClusterError(f"an export of this checkpoint is there already: {remedy}") from error
        raise
    return f"Job {name} created; it writes {request.output}. Follow it: kubectl logs {here} -f job/{name}"


def _built(request: ClusterExport, job: ProRLJob) -> dict[str, Any]:
    try:
        from prorl_operator.manifests.context import Images, JobContext
        from prorl_operator.manifests.export import ExportOrder, export_job
    except ImportError as error:
        raise ClusterError(
            f"{error}; the Job is built with the operator's packages: pip install 'prorl[operator]'"
        ) from error
    image, policy, secrets = _image(request)
    images = Images(learner=image, rollout="", sandbox="", pull_policy=policy, pull_secrets=secrets)
    context = JobContext(job=job, uid="", namespace=request.namespace, images=images, token_key=b"")
    order = ExportOrder(checkpoint=request.checkpoint, output=request.output, push=request.push, secret=request.secret)
    return export_job(context, order)


def _job(request: ClusterExport) -> ProRLJob:
    found = json.loads(_kubectl("get", _KIND, request.job, "-n", request.namespace, "-o", "json"))
    document = {
        "apiVersion": API_VERSION,
        "kind": "ProRLJob",
        "metadata": {"name": request.job, "namespace": request.namespace},
        "spec": found["spec"],
    }
    return validate_job(document, source=f"ProRLJob {request.namespace}/{request.job}")


def _image(request: ClusterExport) -> tuple[str, str, tuple[str, ...]]:
    """Return the learner's image, how it is pulled, and with which secrets."""
    selector = f"{LABEL_JOB}={request.job},{LABEL_ROLE}=learner"
    answer = _kubectl("get", "jobs.batch", "-n", request.namespace, "-l", selector, "-o", "json")
    jobs = sorted(json.loads(answer)["items"], key=lambda item: str(item["metadata"]["creationTimestamp"]))
    spec = jobs[-1]["spec"]["template"]["spec"] if jobs else {"containers": []}
    main: dict[str, Any] = next((item for item in spec["containers"] if item["name"] == "learner"), {})
    image = request.image or main.get("image")
    if image is None:
        raise ClusterError(f"{request.job} has no learner whose image could be taken; name one with --image")
    secrets = tuple(str(item["name"]) for item in spec.get("imagePullSecrets") or [])
    return str(image), str(main.get("imagePullPolicy", "IfNotPresent")), secrets


def _kubectl(*arguments: str, stdin: str | None = None) -> str:
    try:
        done = subprocess.run(
            ["kubectl", *arguments], input=stdin, check=False, capture_output=True, text=True, timeout=_SECONDS
        )
    except FileNotFoundError as error:
        raise ClusterError("there is no kubectl on the PATH; it is what speaks to the cluster here") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(
            f"kubectl {arguments[0]} gave no answer within {_SECONDS:g} s; is the cluster reachable?"
        ) from error
    if done.returncode != 0:
        raise ClusterError(f"kubectl {' '.join(arguments[:3])}: {done.stderr.strip() or done.returncode}")
    return done.stdout
