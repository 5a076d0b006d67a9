"""Two random choices: the less loaded of two, never a pod that cannot answer while another can."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.dataplane.balance import Pick, PodLoad, pick_pod
from model_pod.wire.status import PodState

READY = PodState.READY
draws = st.floats(0.0, 1.0, exclude_max=True)
pods = st.lists(
    st.builds(PodLoad, st.sampled_from(list(PodState)), st.booleans(), st.integers(0, 12), st.booleans()), max_size=8
)


def load(outstanding: int = 0, state: PodState = READY, *, suspect: bool = False, was_ready: bool = True) -> PodLoad:
    return PodLoad(state, was_ready, outstanding, suspect)


@given(pods, draws)
def test_a_ready_pod_with_room_is_always_found_and_none_is_overfilled(loads: list[PodLoad], draw: float) -> None:
    pick = pick_pod(loads, in_flight=10, draw=draw)
    healthy = [pod for pod in loads if pod.state is READY and not pod.suspect]
    if pick.index >= 0:
        assert loads[pick.index].outstanding < 10
        if healthy:
            assert loads[pick.index] in healthy
    else:
        assert pick.reason in ("no_pod_ready", "pods_busy")
        assert not [pod for pod in healthy if pod.outstanding < 10]


@given(draws)
def test_of_two_pods_the_idle_one_is_picked(draw: float) -> None:
    assert pick_pod([load(5), load(0)], 10, draw) == Pick(1)


def test_every_pair_is_drawn_alike() -> None:
    loads = [load(i) for i in range(4)]
    picks = [pick_pod(loads, 10, draw / 1200).index for draw in range(1200)]
    # The least loaded is in half of the ordered pairs, the most loaded wins none.
    assert [picks.count(i) for i in range(4)] == [600, 400, 200, 0]


def test_a_restarting_pod_that_was_ready_keeps_its_place_when_it_is_the_last() -> None:
    assert pick_pod([load(state=PodState.RESTARTING)], 10, 0.5) == Pick(0)
    assert pick_pod([load(state=PodState.RESTARTING), load()], 10, 0.5) == Pick(1)


def test_a_pod_that_never_was_ready_gets_nothing() -> None:
    assert pick_pod([load(state=PodState.STARTING, was_ready=False)], 10, 0.5) == Pick(-1, "no_pod_ready")


def test_a_suspect_is_used_only_when_nobody_else_is_left() -> None:
    assert pick_pod([load(suspect=True), load(9)], 10, 0.1) == Pick(1)
    assert pick_pod([load(suspect=True)], 10, 0.1) == Pick(0)


def test_full_pods_are_busy() -> None:
    assert pick_pod([load(10), load(11)], 10, 0.3) == Pick(-1, "pods_busy")
