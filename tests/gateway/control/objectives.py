"""A model with two objectives, and what workers tell of it."""

from __future__ import annotations

from gateway.control.messages import RequestCounts, SloEvents, Tally
from gateway.control.slo_engine import SloEngine
from gateway.copies.messages import LabelEvent
from model_pod.wire.status import LoadEnded, PodState, PodStatus
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh
from policies.snapshot.route import Launch, Route, Version
from policies.snapshot.slos import BurnAlert, Guards, Objective

PAGE = BurnAlert("page", "page 1h", 14.4, 3600.0, 300.0)
TICKET = BurnAlert("ticket", "ticket 1d", 3.0, 86_400.0, 7200.0)
DAY_S = 86_400.0
AVAILABILITY = Objective(
    "digits-availability",
    "vision",
    30 * DAY_S,
    0.999,
    500,
    model="digits",
    alerts=(PAGE, TICKET),
    guards=Guards(0, 0, 0),
)
LATENCY = Objective("digits-latency", "vision", 30 * DAY_S, 0.99, 500, within_s=0.123, model="digits", by=())
LOADS = Objective("digits-loads", "vision", 30 * DAY_S, 0.99, model="digits", loads_within_s=10.0)
RIGHT = Objective("digits-right", "vision", 30 * DAY_S, 0.9, model="digits", by=("version", "tier"), label="right")
VERSIONS = {"1": Version("1", launch=Launch("digits-1.mar")), "2": Version("2", launch=Launch("digits-2.mar"))}
ROUTE = Route("digits", "vision", VERSIONS, "1", slo=("digits-availability", "digits-latency"))
SNAPSHOT = Snapshot(
    1,
    "d",
    Mesh("demo"),
    routes={"digits": ROUTE, "plain": Route("plain", "vision", VERSIONS, "1")},
    objectives={"digits-availability": AVAILABILITY, "digits-latency": LATENCY},
)
# A multiple of an hour, so that slots of every level begin here.
START_S = 1_800_000_000.0
EDGES_S = (0.1, 1.0)


def events(good: int, bad: int = 0, slo: str = "digits-availability", version: str = "1") -> SloEvents:
    """Return what requests meant to one objective."""
    return SloEvents(slo, "digits", version, "gold", good, bad, 0)


def requests(count: int, status: int = 200, trace: str = "", version: str = "1") -> RequestCounts:
    """Return requests that took a quarter of a second and 2 ms of a device each."""
    return RequestCounts(
        "digits",
        version,
        "demo",
        "gold",
        status,
        "",
        (0, count, 0),
        count * 0.25,
        0.25 if trace else 0.0,
        trace,
        device_us=count * 2000,
        body_bytes=count * 300,
        tokens=count * 5,
    )


def tally(at_s: float, *told: SloEvents | RequestCounts, dropped: dict[str, int] | None = None) -> Tally:
    """Return a worker's tally of one slot."""
    return Tally(
        slot_s=int(at_s // 10) * 10,
        edges_s={"digits": EDGES_S},
        requests=tuple(one for one in told if isinstance(one, RequestCounts)),
        events=tuple(one for one in told if isinstance(one, SloEvents)),
        dropped=dropped or {},
    )


def engine(snapshot: Snapshot = SNAPSHOT) -> SloEngine:
    """Return an engine that follows a policy."""
    made = SloEngine(START_S)
    made.follow(snapshot, START_S)
    return made


def with_others() -> Snapshot:
    """Return the policy with objectives on loads and labels beside those on requests."""
    objectives = {one.name: one for one in (AVAILABILITY, LATENCY, LOADS, RIGHT)}
    route = Route("digits", "vision", VERSIONS, "1", slo=tuple(objectives))
    return Snapshot(1, "d", Mesh("demo"), routes={"digits": route}, objectives=objectives)


def loads(*ended: LoadEnded, instance: str = "one") -> PodStatus:
    """Return what a pod says of itself that has loaded so."""
    return PodStatus("digits", "1", PodState.READY, instance=instance, loads=ended)


def label(at_s: float, *, is_right: bool, version: str = "1", tier: str = "gold") -> LabelEvent:
    """Return a label that was told of an answer."""
    return LabelEvent("digits", version, "stable", tier, at_s, is_right, "t", None, 0)
