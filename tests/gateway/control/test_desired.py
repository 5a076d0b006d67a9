"""From a snapshot to the pods that should run."""

from __future__ import annotations

from pathlib import PurePath

from hypothesis import given
from hypothesis import strategies as st

from gateway.control.desired import (
    SOCKET_PATH_BYTES,
    desired_pods,
    pod_places,
    pod_places_meanwhile,
    socket_address,
)
from gateway.control.desired_pods import DesiredPod
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh
from policies.snapshot.route import Batching, Health, Launch, Route, Static, Version

STATE = PurePath("/state")


def snapshot(**versions: Version) -> Snapshot:
    route = Route("digits", "vision", versions, next(iter(versions)), batching=Batching(32, 0.002))
    return Snapshot(7, "d", Mesh("m"), routes={"digits": route})


def test_a_launched_version_desires_one_pod_per_count() -> None:
    asked = snapshot(v1=Version("1", launch=Launch("digits-1.mar", 2, "cuda:0")))
    places = pod_places(asked, STATE)
    desired = desired_pods(asked, places)
    assert desired.generation == 7
    assert desired.pods[1] == DesiredPod(
        name="digits/1/1",
        model="digits",
        version="1",
        archive="digits-1.mar",
        device="cuda:0",
        address="unix:/state/pods/digits-1-1.sock",
        max_rows=32,
        max_wait_s=0.002,
    )
    assert len(desired.pods) == 2


def test_pods_that_somebody_else_runs_are_known_but_not_desired() -> None:
    both = snapshot(v1=Version("1", static=Static(("unix:/p", "host:8500"))), v2=Version("2", launch=Launch("a.mar")))
    assert [place.address for place in pod_places(both, STATE)] == [
        "unix:/p",
        "host:8500",
        "unix:/state/pods/digits-2-0.sock",
    ]
    assert [pod.name for pod in desired_pods(both, pod_places(both, STATE)).pods] == ["digits/2/0"]


def test_every_pod_is_probed_as_its_version_says() -> None:
    health = Health("/up", 1.0)
    v1 = Version("1", static=Static(("unix:/p",)), health=health)
    v2 = Version("2", launch=Launch("a.mar"), health=health)
    assert [place.health for place in pod_places(snapshot(v1=v1, v2=v2), STATE)] == [health, health]


def test_the_pods_of_stable_versions_start_first() -> None:
    launches = {"1": Version("1", launch=Launch("a.mar")), "2": Version("2", launch=Launch("b.mar", 2))}
    route = Route("digits", "vision", launches, stable="2")
    asked = Snapshot(7, "d", Mesh("m"), routes={"digits": route})
    names = [pod.name for pod in desired_pods(asked, pod_places(asked, STATE)).pods]
    assert names == ["digits/2/0", "digits/2/1", "digits/1/0"]


def test_meanwhile_the_pods_in_force_stay_as_they_are_and_those_that_are_new_come_too() -> None:
    in_force = snapshot(v1=Version("1", launch=Launch("old.mar")), v3=Version("3", launch=Launch("gone.mar")))
    waiting = snapshot(v1=Version("1", launch=Launch("new.mar")), v2=Version("2", launch=Launch("a.mar")))
    launches = [place.launch for place in pod_places_meanwhile(in_force, waiting, (), STATE)]
    assert {launch.name: launch.archive for launch in launches if launch} == {
        "digits/1/0": "old.mar",
        "digits/2/0": "a.mar",
        "digits/3/0": "gone.mar",
    }


def test_meanwhile_a_version_that_is_waited_for_is_as_the_waiting_generation_has_it() -> None:
    in_force = snapshot(v1=Version("1", launch=Launch("old.mar")), v2=Version("2", launch=Launch("typo.mar", 2)))
    waiting = snapshot(v1=Version("1", launch=Launch("new.mar")), v2=Version("2", launch=Launch("good.mar")))
    places = pod_places_meanwhile(in_force, waiting, {("digits", "2")}, STATE)
    assert {place.launch.name: place.launch.archive for place in places if place.launch} == {
        "digits/1/0": "old.mar",
        "digits/2/0": "good.mar",
    }


def test_a_dash_cannot_give_two_pods_one_socket() -> None:
    assert socket_address(STATE, "a-1", "2", 0) != socket_address(STATE, "a", "1-2", 0)


def test_a_long_name_still_fits_a_socket_path() -> None:
    address = socket_address(STATE, "m" * 200, "1", 0)
    assert len(address.removeprefix("unix:")) <= SOCKET_PATH_BYTES
    assert address != socket_address(STATE, "m" * 200, "1", 1)


NAMES = st.from_regex(r"[a-z0-9][a-z0-9.-]{0,60}", fullmatch=True)


@given(st.lists(st.tuples(NAMES, NAMES, st.integers(0, 20)), unique=True, max_size=20))
def test_no_two_pods_share_a_socket(pods: list[tuple[str, str, int]]) -> None:
    addresses = {socket_address(STATE, model, version, index) for model, version, index in pods}
    assert len(addresses) == len(pods)
    assert all(len(address.removeprefix("unix:")) <= SOCKET_PATH_BYTES for address in addresses)


def test_pods_behind_a_name_are_known_by_the_name_until_it_is_looked_up() -> None:
    asked = snapshot(v1=Version("1", dns="pods.local:8500"))
    assert [(place.name, place.address) for place in pod_places(asked, STATE)] == [("digits/1/0", "pods.local:8500")]
    assert desired_pods(asked, pod_places(asked, STATE)).pods == ()
