"""The waiting room: whoever waits is asked when pods have room, ended when its time is over, and answered once."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from gateway.dataplane import waiting
from gateway.dataplane.waiting import Tried, Waiter, WaitingRoom
from gateway.decide.decision import Decision, Refusal
from gateway.decide.fair_queue import Asked, Ticket
from policies.snapshot.limits import Tier

FAR_S = 1000.0
USUAL = Tier("usual")


@dataclass
class Pods:
    """How many more requests the pods take, and who went to them."""

    free: int = 0
    went: list[str] = field(default_factory=list)


@dataclass
class Caller:
    """A request; like the true one, it says no while its pods have no room."""

    name: str
    pods: Pods
    refused: list[str] = field(default_factory=list)

    def resume(self, now_s: float) -> Tried:
        if not self.pods.free:
            return Tried.NO_ROOM
        self.pods.free -= 1
        self.pods.went.append(self.name)
        return Tried.SENT

    def lane(self, now_s: float) -> str:
        return ""

    def refuse(self, refusal: Refusal) -> None:
        self.refused.append(refusal.reason)


@dataclass
class Keyed(Caller):
    """A request that only the one pod is good for that its lane names."""

    rooms: dict[str, int] = field(default_factory=dict)
    pod: str = "pod-a"

    def resume(self, now_s: float) -> Tried:
        if not self.rooms.get(self.pod):
            return Tried.NO_ROOM
        self.rooms[self.pod] -= 1
        self.pods.went.append(self.name)
        return Tried.SENT

    def lane(self, now_s: float) -> str:
        return self.pod


def decision(tenant: str = "ads", model: str = "digits") -> Decision:
    return Decision(1, None, tenant, model=model, version="1")


def enter(
    room: WaitingRoom, caller: Waiter, tenant: str = "ads", tier: Tier = USUAL, now_s: float = 0.0
) -> Ticket[Waiter]:
    place = room.enter(caller, decision(tenant), tier, FAR_S, 1.0, 0.0, now_s)
    assert isinstance(place, Ticket)
    return place


def test_a_pod_that_has_room_again_gets_who_is_next_and_no_more_than_it_has_room_for() -> None:
    room, pods = WaitingRoom(), Pods()
    for name in "abc":
        enter(room, Caller(name, pods))
    pods.free = 2
    room.on_free("digits", "1", 0.1)
    assert (pods.went, room.count) == (["a", "b"], 1)


def test_another_version_s_pods_are_of_no_use() -> None:
    room, pods = WaitingRoom(), Pods(free=1)
    enter(room, Caller("a", pods))
    room.on_free("digits", "2", 0.1)
    room.on_free("text", "1", 0.1)
    assert pods.went == []


def test_new_pods_are_found_by_the_next_turn() -> None:
    room, pods = WaitingRoom(), Pods()
    enter(room, Caller("a", pods))
    room.turn(0.1)
    pods.free = 5
    room.turn(0.2)
    assert (pods.went, room.count) == (["a"], 0)


def test_who_has_waited_as_long_as_it_may_is_refused_once_and_not_sent() -> None:
    room, pods = WaitingRoom(), Pods()
    caller = Caller("a", pods)
    enter(room, caller)
    room.turn(0.99)
    assert caller.refused == []
    pods.free = 1
    room.turn(1.0)
    room.turn(2.0)
    assert (caller.refused, pods.went, room.count) == (["waited_too_long"], [], 0)


def test_a_wait_is_counted_whatever_ends_it() -> None:
    room, pods = WaitingRoom(), Pods()
    enter(room, Caller("sent", pods))
    left = enter(room, Caller("left", pods))
    enter(room, Caller("refused", pods), now_s=0.2)
    room.leave(left, 0.4)
    pods.free = 1
    room.turn(0.5)
    room.turn(1.2)
    (waits,) = room.waited.told()
    assert (sum(waits.buckets), round(waits.sum_s, 3)) == (3, 1.9)


def test_who_left_is_not_asked_any_more() -> None:
    room, pods = WaitingRoom(), Pods()
    place = enter(room, Caller("a", pods))
    enter(room, Caller("b", pods))
    room.leave(place, 0.1)
    room.leave(place, 0.1)
    pods.free = 5
    room.on_free("digits", "1", 0.2)
    assert (pods.went, room.count) == (["b"], 0)


def test_who_is_displaced_is_told_so_and_another_has_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MAX_WAITING", 2)
    room, pods = WaitingRoom(), Pods()
    first, second = Caller("low1", pods), Caller("low2", pods)
    enter(room, first)
    enter(room, second)
    enter(room, Caller("high", pods), "labs", Tier("gold", priority=5))
    assert (first.refused, second.refused, room.count) == ([], ["shed"], 2)
    pods.free = 5
    room.on_free("digits", "1", 0.1)
    assert pods.went == ["high", "low1"]


def test_what_may_wait_is_divided_among_the_workers() -> None:
    room, pods = WaitingRoom(worker_count=3), Pods()
    four = Tier("four", queue_length=4)
    for name in "ab":
        enter(room, Caller(name, pods), tier=four)
    refused = room.enter(Caller("c", pods), decision(), four, FAR_S, 1.0, 0.0, 0.0)
    assert isinstance(refused, Refusal)
    assert refused.reason == "pods_busy"


def test_the_room_as_a_whole_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MAX_WAITING_IN_ROOM", 1)
    room, pods = WaitingRoom(), Pods()
    enter(room, Caller("a", pods))
    refused = room.enter(Caller("b", pods), decision(model="text"), USUAL, FAR_S, 1.0, 0.0, 0.0)
    assert isinstance(refused, Refusal)


def test_the_bytes_that_waiting_requests_hold_are_bounded_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MAX_HELD_BYTES", 100)
    room, pods = WaitingRoom(), Pods()
    one, other, third = (enter(room, Caller(name, pods)) for name in "abc")
    assert room.hold(one, 60, 0.0) is None
    assert room.hold(other, 40, 0.0) is None
    refusal = room.hold(third, 1, 0.0)
    assert refusal is not None
    assert refusal.reason == "pods_busy"
    assert (room.count, room.held_bytes) == (2, 100)
    room.leave(one, 0.1)
    pods.free = 1
    room.on_free("digits", "1", 0.2)
    assert (room.count, room.held_bytes) == (0, 0)
    assert room.hold(other, 1000, 0.3) is None  # it waits no more


def test_one_who_is_answered_while_it_is_asked_frees_a_place_for_the_next() -> None:
    """A request that goes to a pod and is refused there at once is told of within ``resume``."""
    room, pods = WaitingRoom(), Pods()

    class AtOnce(Caller):
        def resume(self, now_s: float) -> Tried:
            self.pods.went.append(self.name)
            room.on_free("digits", "1", now_s)
            return Tried.SENT

    for name in "ab":
        enter(room, AtOnce(name, pods))
    room.on_free("digits", "1", 0.1)
    assert (pods.went, room.count) == (["a", "b"], 0)


def test_one_who_leaves_while_it_is_asked_is_counted_out_once() -> None:
    room, pods = WaitingRoom(), Pods()
    places: list[Ticket[Waiter]] = []

    class Leaving(Caller):
        def resume(self, now_s: float) -> Tried:
            room.leave(places.pop(), now_s)
            return Tried.SENT

    places.append(enter(room, Leaving("a", pods)))
    room.on_free("digits", "1", 0.1)
    assert room.count == 0


def test_one_whose_own_pod_is_busy_keeps_its_place_and_nobody_else_waits_for_it() -> None:
    room, pods = WaitingRoom(), Pods()
    rooms: dict[str, int] = {}
    enter(room, Caller("first", pods))
    enter(room, Keyed("keyed", pods, rooms=rooms))
    for name in "abc":
        enter(room, Caller(name, pods))
    pods.free = 2
    room.on_free("digits", "1", 0.1)
    assert (pods.went, room.count) == (["first", "a"], 3)
    rooms["pod-a"] = 1
    pods.free = 9
    room.on_free("digits", "1", 0.2)
    assert pods.went == ["first", "a", "keyed", "b", "c"]


def test_however_many_wait_for_one_busy_pod_others_get_the_places_that_come_free() -> None:
    room, pods = WaitingRoom(), Pods()
    asked: list[str] = []

    class Counted(Keyed):
        def resume(self, now_s: float) -> Tried:
            asked.append(self.name)
            return super().resume(now_s)

    for number in range(40):
        enter(room, Counted(f"k{number}", pods, rooms={}), "flood")
    for number in range(20):
        enter(room, Caller(f"v{number}", pods), "others")
    for turn in range(4):
        pods.free = 5
        room.on_free("digits", "1", turn / 100)
    assert pods.went == [f"v{number}" for number in range(20)]
    assert len(asked) <= 4  # one for the pod, each time


def test_those_who_wait_for_different_pods_do_not_wait_for_each_other() -> None:
    room, pods = WaitingRoom(), Pods()
    rooms = {"pod-b": 2}
    for number in range(30):
        enter(room, Keyed(f"a{number}", pods, rooms=rooms))
    for number in range(3):
        enter(room, Keyed(f"b{number}", pods, rooms=rooms, pod="pod-b"))
    room.on_free("digits", "1", 0.1)
    assert (pods.went, room.count) == (["b0", "b1"], 31)


def test_one_that_was_passed_over_is_next_at_its_pod_though_others_always_wait_for_any() -> None:
    room, pods = WaitingRoom(), Pods()
    rooms = {"pod-a": 0, "pod-b": 0}

    class Anywhere(Caller):
        def resume(self, now_s: float) -> Tried:
            pod = next((pod for pod, places in rooms.items() if places), None)
            if pod is None:
                return Tried.NO_ROOM
            rooms[pod] -= 1
            self.pods.went.append(self.name)
            return Tried.SENT

    enter(room, Anywhere("first", pods), "others")
    enter(room, Keyed("keyed", pods, rooms=rooms), "labs")
    for number in range(20):
        enter(room, Anywhere(f"v{number}", pods), "others")
    for turn in range(5):
        rooms["pod-b"] += 1
        room.on_free("digits", "1", turn / 100)
        rooms["pod-a"] += 1
        room.on_free("digits", "1", turn / 100)
    assert "keyed" in pods.went[:4]


def test_who_belongs_to_another_pod_by_now_goes_there() -> None:
    room, pods = WaitingRoom(), Pods()
    rooms = {"pod-a": 0, "pod-b": 1}
    keyed = Keyed("keyed", pods, rooms=rooms)
    waits = Keyed("waits", pods, rooms=rooms)
    enter(room, keyed)
    enter(room, waits)
    room.turn(0.1)
    keyed.pod = waits.pod = "pod-b"
    room.turn(0.2)
    assert (pods.went, room.count) == (["keyed"], 1)
    rooms["pod-b"] = 1
    room.turn(0.3)
    assert (pods.went, room.count) == (["keyed", "waits"], 0)


def test_one_that_was_passed_is_ended_like_any_other() -> None:
    room, pods = WaitingRoom(), Pods(free=1)
    keyed = Keyed("keyed", pods)
    enter(room, keyed)
    room.on_free("digits", "1", 0.1)
    room.turn(1.0)
    assert (keyed.refused, room.count) == (["waited_too_long"], 0)


def test_those_who_are_answered_because_no_pod_is_left_do_not_make_the_queue_look_fast() -> None:
    room, pods = WaitingRoom(), Pods()

    class Ended(Caller):
        def resume(self, now_s: float) -> Tried:
            return Tried.ENDED

    for turn in range(20):
        enter(room, Ended("a", pods), now_s=turn / 10)
        enter(room, Ended("b", pods), now_s=turn / 10)
        room.turn(turn / 10 + 0.05)
    assert room.count == 0
    enter(room, Caller("stays", pods), now_s=2.0)
    queue = room._queues["digits", "1"]
    assert queue.predicted_wait_s(Asked("ads", 0, 1, 1000.0, 0.0, 10, 1.0, FAR_S), 2.1) == 0.0  # nothing is known


def test_a_defect_in_one_request_ends_nobody_else_s_waiting() -> None:
    noted: list[str] = []
    room, pods = WaitingRoom(1, lambda where, error: noted.append(str(error))), Pods(free=1)

    class Broken(Caller):
        def resume(self, now_s: float) -> Tried:
            raise RuntimeError("resume")

        def refuse(self, refusal: Refusal) -> None:
            raise RuntimeError("refuse")

    enter(room, Broken("broken", pods))
    enter(room, Caller("goes", pods))
    room.turn(0.1)
    assert (pods.went, room.count, noted) == (["goes"], 0, ["resume"])

    class BrokenAtTheEnd(Keyed):
        def refuse(self, refusal: Refusal) -> None:
            raise RuntimeError("refuse")

    room, pods = WaitingRoom(1, lambda where, error: noted.append(str(error))), Pods()
    last = Caller("last", pods)
    enter(room, BrokenAtTheEnd("broken", pods))
    enter(room, last)
    room.turn(1.0)
    assert (last.refused, noted) == (["waited_too_long"], ["resume", "refuse"])


def test_a_room_that_closes_tells_everybody_and_takes_nobody() -> None:
    room, pods = WaitingRoom(), Pods()
    callers = [Caller(name, pods) for name in "abc"]
    for caller in callers:
        enter(room, caller)
    room.close(Refusal("pods_busy", "closed"), 0.1)
    pods.free = 5
    room.on_free("digits", "1", 0.2)
    assert ([caller.refused for caller in callers], pods.went, room.count) == ([["pods_busy"]] * 3, [], 0)
    refused = room.enter(Caller("late", pods), decision(), USUAL, FAR_S, 1.0, 0.0, 0.3)
    assert isinstance(refused, Refusal)
    assert refused.message == "closed"


def test_versions_that_nobody_waits_for_are_forgotten() -> None:
    room, pods = WaitingRoom(), Pods(free=1)
    enter(room, Caller("a", pods))
    room.turn(0.1)
    room.turn(5.0)
    assert len(room._queues) == 1  # how fast it drained is still known
    room.turn(11.0)
    assert len(room._queues) == 0


def test_while_nobody_waits_there_is_nothing_to_tell_the_room() -> None:
    room = WaitingRoom()
    assert room.count == 0
    room.on_free("digits", "1", 0.0)
    room.turn(0.0)
