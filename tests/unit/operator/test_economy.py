"""What the operator does not do twice, since it looks at every job every few seconds."""

from __future__ import annotations

import asyncio
import copy
from typing import Any, cast

import kopf
from api_builders import changed, make_manifest
from manifest_builders import CLUSTER, make_cluster_job, make_context
from operator_builders import make_memory

from prorl_api.names import LABEL_JOB
from prorl_api.status import JobStatus
from prorl_control.decision import Event, EventKind
from prorl_operator.acceptance import Acceptance, ManifestGate, with_acceptance
from prorl_operator.actions import BaseDigest, digest_of
from prorl_operator.events import refusal_of, tell
from prorl_operator.job_state import JobState
from prorl_operator.kube.client import Api
from prorl_operator.kube.views import PlanView
from prorl_operator.manifests import base_objects
from prorl_operator.watch.child_index import ChildIndex
from prorl_operator.watch.child_watches import CHILDREN
from prorl_operator.watch.kopf_storage import NoDifferences
from prorl_operator.watch.view_index import IndexedViews, Snapshot


class WrittenEvents:
    """An API that keeps what is created."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, str]] = []

    async def create(self, body: dict[str, Any]) -> dict[str, Any]:
        self.notes.append((body["reason"], body["note"]))
        return body


def make_object(generation: int, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    manifest: dict[str, Any] = changed(make_manifest(copy.deepcopy(CLUSTER)), changes or {})
    manifest["metadata"] = {**manifest["metadata"], "namespace": "research", "generation": generation}
    return manifest


def started(name: str) -> Event:
    return Event(kind=EventKind.STARTED, subject=name, message=f"{name} is starting")


def tell_all(written: WrittenEvents, memory: JobState, *events: Event) -> None:
    job = {
        "apiVersion": "prorl.dev/v1alpha1",
        "kind": "ProRLJob",
        "metadata": {"name": "a", "namespace": "b", "uid": "u"},
    }
    asyncio.run(tell(cast("Api", written), Snapshot(body=job), memory, events))


def test_an_unchanged_spec_is_judged_once() -> None:
    judge = ManifestGate()
    assert judge.accept(make_object(1), None) is judge.accept(make_object(1), None)


def test_an_edit_is_judged_anew() -> None:
    judge = ManifestGate()
    judge.accept(make_object(1), None)
    edited = judge.accept(make_object(2, {"spec.rollout.replicas": 3}), None)
    assert edited.job is not None
    assert edited.job.spec.rollout.replicas == 3


def test_the_same_spec_is_judged_anew_when_what_runs_is_another() -> None:
    judge = ManifestGate()
    judge.accept(make_object(2, {"spec.learner.precision": "float32"}), None)
    document = make_cluster_job().model_dump_json(by_alias=True, exclude_none=True)
    running = PlanView(attempt=1, applied="", text=document)
    waiting = judge.accept(make_object(2, {"spec.learner.precision": "float32"}), running)
    assert waiting.reason == "WaitsForNextAttempt"


def test_the_remembered_digest_is_that_of_the_objects_of_job_and_attempt() -> None:
    context, other = make_context(), make_context({"spec.rollout.replicas": 3})
    digest = BaseDigest()
    for wanted, attempt in ((context, 1), (context, 2), (other, 2), (context, 1)):
        assert digest.of(wanted, attempt) == digest_of(base_objects(wanted, attempt))


def test_members_that_start_together_are_one_event() -> None:
    written, memory = WrittenEvents(), make_memory()
    warning = Event(kind=EventKind.LOST, message="learner-0 was killed", is_warning=True)
    tell_all(written, memory, started("learner-0"), warning, started("rollout-0"))
    assert written.notes == [
        ("Started", "learner-0 is starting; rollout-0 is starting"),
        ("Lost", "learner-0 was killed"),
    ]


def test_an_event_that_was_told_is_not_told_again() -> None:
    written, memory = WrittenEvents(), make_memory()
    tell_all(written, memory, started("learner-0"))
    tell_all(written, memory, started("learner-0"), started("rollout-0"))
    assert [note for _, note in written.notes] == ["learner-0 is starting", "rollout-0 is starting"]


def test_kopf_finds_no_difference_between_two_objects() -> None:
    storage = NoDifferences()
    one, two = (storage.build(body=kopf.Body(cast("Any", {"spec": {"a": value}}))) for value in (1, 2))
    assert one == two


def test_a_job_is_news_when_people_ask_something_else_of_it_and_not_when_its_status_moves() -> None:
    views, key = IndexedViews({}), ("research", "demo")
    job = make_object(1)
    job["metadata"]["uid"] = "u"
    running = {**job, "status": {"step": 1}}
    steps = [
        (job, True),
        (running, True),  # it has a status now, which somebody may have put there
        ({**running, "status": {"step": 2}}, False),
        ({**running, "metadata": {**job["metadata"], "resourceVersion": "7"}}, False),
        ({**running, "metadata": {**job["metadata"], "annotations": {"prorl.dev/adopt-run": "x"}}}, True),
        ({**running, "metadata": {**job["metadata"], "generation": 2}}, True),
        ({**job, "metadata": {**job["metadata"], "generation": 2}}, True),  # its status was taken away
        (None, True),
        (None, False),
    ]
    assert [views.put_job(key, body) for body, _ in steps] == [is_news for _, is_news in steps]
    assert views.keys() == []


def test_the_job_of_a_snapshot_is_the_newest_even_if_it_was_no_news() -> None:
    views, key = IndexedViews({kind: ChildIndex(lambda _: None, print) for kind in CHILDREN}), ("research", "demo")
    job = make_object(1)
    job["metadata"]["uid"] = "u"
    for step in (1, 2):
        views.put_job(key, {**job, "status": {"step": step}})
    body = views.snapshot(key).body
    assert body is not None
    assert body["status"] == {"step": 2}


def test_a_new_leader_looks_first_at_jobs_that_nobody_has_looked_at_and_last_at_those_at_rest() -> None:
    plans: ChildIndex[PlanView] = ChildIndex(lambda _: PlanView(attempt=1, applied="", text=""), print)
    views = IndexedViews({"plans": plans})
    states = {"rests": {"attempt": 1}, "runs": {"attempt": 1}, "new": None, "also-runs": {"attempt": 2}}
    for name, status in states.items():
        job = make_object(1)
        job["metadata"]["uid"] = name
        views.put_job(("research", name), {**job, "status": status} if status else job)
    for name in ("runs", "also-runs"):
        plans.put({"metadata": {"namespace": "research", "name": f"{name}-plan", "labels": {LABEL_JOB: name}}})
    assert [name for _, name in views.by_urgency()] == ["new", "runs", "also-runs", "rests"]


def test_a_refused_spec_is_told_once_by_whichever_operator_looks_at_it() -> None:
    refused = Acceptance(job=None, reason="Invalid", message="3 faults: a; b; c")
    (event,) = refusal_of(refused, JobStatus())
    assert (event.kind.value, event.message, event.is_warning) == ("NotAccepted", "3 faults: a; b; c", True)
    told = with_acceptance(JobStatus(), refused, now=1.0)
    assert refusal_of(refused, told) == ()
    assert refusal_of(Acceptance(job=None, reason="Invalid", message="another fault"), told) != ()
    assert refusal_of(Acceptance(job=make_cluster_job(), reason="WaitsForNextAttempt", message="later"), told) == ()
    healed = with_acceptance(told, Acceptance(job=make_cluster_job()), now=2.0)
    assert refusal_of(refused, healed) == (event,)


def test_a_long_list_of_faults_is_cut_where_an_event_ends() -> None:
    written, memory = WrittenEvents(), make_memory()
    tell_all(written, memory, Event(kind=EventKind.NOT_ACCEPTED, message="x" * 5000, is_warning=True))
    ((reason, note),) = written.notes
    assert (reason, len(note)) == ("NotAccepted", 1024)
    assert note.endswith("(the job's conditions have it all)")
