"""The registry of rollout servers, with a clock that is set by hand."""

from __future__ import annotations

import pytest

from prorl_api.errors import EngineMismatchError
from prorl_api.wire.base import WeightsId
from prorl_api.wire.learner import MemberAnswer, MemberHeartbeat
from prorl_api.wire.rollout import RefusedWeights, WeightSource
from prorl_trainer.service.rollout_servers import RolloutServers
from tests.unit.trainer.trainer_builders import WEIGHTS

NEWER = WeightsId(attempt=1, step=1, digest="b" * 64)
SOURCE = WeightSource(kind="http", location="http://learner/v1/weights/x")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def registry() -> tuple[RolloutServers, Clock]:
    clock = Clock()
    members = RolloutServers(1, clock)
    members.want(WEIGHTS, (SOURCE,))
    return members, clock


def beat(
    members: RolloutServers,
    name: str,
    *,
    address: str | None = None,
    ready: bool = True,
    weights: WeightsId | None = WEIGHTS,
    ttl: float = 15.0,
) -> MemberAnswer:
    heartbeat = MemberHeartbeat(address=address or f"http://{name}:1", ready=ready, weights_id=weights, ttl_seconds=ttl)
    return members.heartbeat(name, heartbeat)


def names(members: RolloutServers) -> list[str]:
    return [member.incarnation for member in members.ready()]


def test_a_heartbeat_is_answered_with_the_weights_to_hold_and_where_they_are() -> None:
    members, _ = registry()
    answer = beat(members, "a", weights=None, ready=False)
    assert (answer.attempt, answer.weights_id, answer.sources) == (1, WEIGHTS, (SOURCE,))


def test_only_ready_servers_with_the_wanted_weights_get_prompts() -> None:
    members, _ = registry()
    beat(members, "fit")
    beat(members, "stale", weights=NEWER)
    beat(members, "empty", weights=None)
    beat(members, "starting", ready=False)
    assert names(members) == ["fit"]
    members.want(NEWER, (SOURCE,))
    assert names(members) == ["stale"]


def test_before_the_first_publish_nobody_gets_prompts() -> None:
    members = RolloutServers(1, Clock())
    beat(members, "a")
    assert names(members) == []


def test_a_silent_server_is_forgotten_and_may_come_back() -> None:
    members, clock = registry()
    beat(members, "a", ttl=15)
    beat(members, "b", ttl=60)
    clock.now += 14.9
    assert names(members) == ["a", "b"]
    clock.now += 0.2
    assert names(members) == ["b"]
    assert [member.incarnation for member in members.alive()] == ["b"]
    beat(members, "a")
    assert sorted(names(members)) == ["a", "b"]


def test_a_new_process_at_the_same_address_replaces_the_old_one() -> None:
    members, _ = registry()
    beat(members, "old", address="http://host:1")
    beat(members, "new", address="http://host:1", weights=None)
    assert [member.incarnation for member in members.alive()] == ["new"]


def test_the_least_busy_server_comes_first() -> None:
    members, _ = registry()
    for name in ("a", "b", "c"):
        beat(members, name)
    for member, load in zip(members.ready(), (3, 1, 2), strict=True):
        member.in_flight = load
    assert names(members) == ["b", "c", "a"]


def test_a_server_that_failed_waits_a_moment_and_must_be_heard_of_again() -> None:
    members, clock = registry()
    beat(members, "a")
    members.failed(members.ready()[0])
    beat(members, "a")
    assert names(members) == [], "not at once"
    clock.now += 2.0
    assert names(members) == ["a"]
    members.failed(members.ready()[0])
    clock.now += 10.0
    assert names(members) == [], "a dead server is not tried again before it has been heard of"


def test_an_acknowledged_load_counts_before_the_next_heartbeat() -> None:
    members, _ = registry()
    beat(members, "a", weights=None, ready=False)
    members.loaded(members.alive()[0], WEIGHTS)
    assert names(members) == ["a"]


def refuse(members: RolloutServers, name: str, weights: WeightsId) -> None:
    refused = RefusedWeights(weights_id=weights, message=f"{name} computes another model")
    beat = MemberHeartbeat(address=f"http://{name}:1", ready=False, weights_id=None, refused=refused)
    members.heartbeat(name, beat)


def test_a_server_counts_as_working_until_it_is_silent_fails_or_refuses() -> None:
    members, clock = registry()
    for name in ("a", "b", "c"):
        beat(members, name, ready=False, weights=NEWER)  # as while new weights are loaded
    assert members.num_working() == 3
    refuse(members, "c", WEIGHTS)
    assert members.num_working() == 2
    members.failed(members.alive()[0])
    assert members.num_working() == 1
    clock.now += 10.0
    assert members.num_working() == 1, "its call must succeed first"
    members.answered(members.alive()[0])
    assert members.num_working() == 2
    clock.now += 10.0
    assert members.num_working() == 0


def test_a_run_ends_when_every_server_that_is_there_has_refused_the_wanted_weights() -> None:
    members, _ = registry()
    members.raise_if_refused()  # nobody is there: they may still come
    beat(members, "a", weights=None, ready=False)
    members.raise_if_refused()
    refuse(members, "b", WEIGHTS)
    members.raise_if_refused()  # a has not tried yet
    refuse(members, "a", WEIGHTS)
    with pytest.raises(EngineMismatchError, match="computes another model"):
        members.raise_if_refused()


def test_a_refusal_of_weights_that_are_no_longer_wanted_does_not_count() -> None:
    members, _ = registry()
    refuse(members, "a", WEIGHTS)
    members.want(NEWER, (SOURCE,))
    members.raise_if_refused()


def test_a_server_that_fails_again_and_again_gets_prompts_ever_more_seldom() -> None:
    members, clock = registry()
    waits = []
    for _ in range(7):
        beat(members, "a")
        (member,) = members.ready()
        members.failed(member)
        members.failed(member)  # a second call that failed in the same moment
        started = clock.now
        while not members.ready():
            clock.now += 1.0
            beat(members, "a")
        waits.append(clock.now - started)
    assert waits == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    members.answered(member)
    members.failed(member)
    clock.now += 2.0
    beat(members, "a")
    assert names(members) == ["a"]
