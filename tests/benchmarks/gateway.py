"""What one hop costs: our gateway beside nginx, HAProxy and Envoy, in interleaved slices of one run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.benchmarks import grpc_hop, open_hop, own_pods, peers, scale, wrk
from tests.benchmarks.back_ends import StubAddress, running_http, running_pods, tcp_pods, unix_pods
from tests.benchmarks.contender import Contender, Started, start_all
from tests.benchmarks.cores import Cores
from tests.benchmarks.heads import Requests
from tests.benchmarks.large_policy import key_of
from tests.benchmarks.mesh_policy import MeshPolicy
from tests.benchmarks.ours import OURS, WORKER_MIB, recording_gateway
from tests.benchmarks.processes import NotStarted, pinned
from tests.benchmarks.slices import (
    CONNECTIONS,
    Slice,
    check_once,
    failures,
    interleaved,
    is_saturated,
    ratio,
    render,
    take_slice,
)

DIRECT = "no proxy"
# Everybody takes part at the first point; at the others, those that a reader compares.
COMPARED = (DIRECT, peers.NGINX, "HAProxy", peers.ENVOY, OURS)
PODS = 2


@dataclass(frozen=True, slots=True)
class Point:
    """How a contender is loaded."""

    connections: int
    body_bytes: int


HEADLINE = Point(CONNECTIONS, 200)
OTHERS = (Point(1, 200), Point(16, 200), Point(256, 200), *(Point(count, 64 * 1024) for count in (1, 16, 64, 256)))


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure.

    Attributes:
        passes: at the first point.
        other_passes: at each of the other points.
    """

    passes: int
    other_passes: int
    others: tuple[Point, ...]
    slice_s: float
    open_loop: open_hop.Plan
    grpc: grpc_hop.Plan
    scale: scale.Plan
    own_pods: open_hop.Plan


FULL = Plan(15, 5, OTHERS, 1.0, open_hop.FULL, grpc_hop.FULL, scale.FULL, own_pods.FULL)
QUICK = Plan(
    3, 1, (OTHERS[0], OTHERS[2], OTHERS[5]), 1.0, open_hop.QUICK, grpc_hop.QUICK, scale.QUICK, own_pods.QUICK
)  # fmt: skip


def run(plan: Plan, cores: Cores, say: Callable[[str], None]) -> bool:
    """Measure every contender there is and say the tables.

    Returns:
        Whether everything that is here started, and every request had its right answer.
    """
    say(f"load: {'wrk' if wrk.find_wrk() else 'our own client; wrk is not installed (apt-get install wrk)'}. {cores}")
    say("skipped: LiteLLM, which is some 500 times as slow as nginx: in a pass of a second it says nothing.")
    is_whole = True
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        parts: tuple[Callable[[Path], bool], ...] = (
            lambda folder: _peers(plan, cores, folder, say),
            lambda folder: grpc_hop.run(plan.grpc, cores, folder, say),
            lambda folder: scale.run(plan.scale, cores, folder, say),
            lambda folder: own_pods.run(plan.own_pods, cores, folder, say),
        )
        for number, part in enumerate(parts):
            folder = Path(name) / str(number)
            folder.mkdir()
            try:
                is_whole = part(folder) and is_whole
            except (NotStarted, wrk.WrkFailed) as reason:
                say(f"not measured: {reason}")
                is_whole = False
    _say_words(say)
    return is_whole


def _say_words(say: Callable[[str], None]) -> None:
    say("\nreq/s, CPU: median [min..max] over passes; ×: median of the ratios within each pass, and its 95 % bound.")
    say("CPU: every process of the contender. busy: share of one core that it used; where it or the reference used")
    say("less than 90 %, something else set the req/s (load, back end, other programs): only the CPU is compared.")


def _peers(plan: Plan, cores: Cores, folder: Path, say: Callable[[str], None]) -> bool:
    with started(cores, folder) as found, pinned({cores.load}):
        for line in (*found.skipped, *found.broken):
            say(line)
        contenders = [contender for contender in found.contenders if answers_rightly(contender, say)]
        failed = _closed_loops(plan, contenders, say)
        compared = [contender for contender in contenders if contender.name in COMPARED]
        failed += open_hop.run(plan.open_loop, compared, key_of(0), say)
    return not found.broken and len(contenders) == len(found.contenders) and not failed


def answers_rightly(contender: Contender, say: Callable[[str], None]) -> bool:
    """Warm a contender up; one that answers wrongly is left out, with a line."""
    try:
        check_once(contender, _requests(contender, HEADLINE))
    except NotStarted as reason:
        say(f"left out: {reason}")
        return False
    return True


def _closed_loops(plan: Plan, contenders: Sequence[Contender], say: Callable[[str], None]) -> int:
    """Say a table for each point, and return how many requests failed."""
    failed = 0
    for point in (HEADLINE, *plan.others):
        passes = plan.passes if point == HEADLINE else plan.other_passes
        taking_part = [one for one in contenders if point == HEADLINE or one.name in COMPARED]
        slices = measure(taking_part, point, passes, plan.slice_s)
        say(
            f"\nhop, closed loop: {point.connections} connections, POST of {point.body_bytes:,} bytes, answer of 200; "
            f"{passes} passes of {plan.slice_s:g} s each, interleaved"
        )
        say(render(slices, peers.NGINX))
        if point == HEADLINE:
            say(goals(slices))
        failed += failures(slices)
    return failed


def measure(contenders: Sequence[Contender], point: Point, passes: int, slice_s: float) -> dict[str, list[Slice]]:
    """Take slices of each, in passes."""
    takes = {
        contender.name: partial(take_slice, contender, _requests(contender, point), slice_s, point.connections)
        for contender in contenders
    }
    return interleaved(takes, passes)


def goals(slices: Mapping[str, Sequence[Slice]]) -> str:
    """Say what the first table should show, and our ratio to Envoy, which it does not hold."""
    ours, envoy = slices.get(OURS, ()), slices.get(peers.ENVOY, ())
    are_saturated = is_saturated(ours) and is_saturated(envoy)
    rates = [one.requests_per_s for one in ours]
    found, bound = ratio(rates, [one.requests_per_s for one in envoy] if are_saturated else ())
    costs_found, costs_bound = ratio([one.cpu_per_request_s for one in envoy], [one.cpu_per_request_s for one in ours])
    return (
        f"{OURS} to {peers.ENVOY}: req/s × {found} ({bound}), {peers.ENVOY}'s CPU per request × {costs_found} "
        f"({costs_bound}) of ours\n"
        f"goals of {OURS}: req/s 1.0 × {peers.NGINX} and 4 × {peers.ENVOY} at least, {WORKER_MIB} MiB at most"
    )


def _requests(contender: Contender, point: Point) -> Requests:
    return Requests(contender.path, key_of(0), body_bytes=point.body_bytes)


@contextmanager
def started(cores: Cores, folder: Path) -> Iterator[Started]:
    """Start the back ends and every contender that this machine has."""
    with ExitStack() as stack:
        behind = stack.enter_context(running_http(cores, folder))
        direct = Contender(DIRECT, f"127.0.0.1:{behind.port}", peers.PATH, None)
        found = start_all(
            (
                lambda: peers.nginx(cores, behind, folder),
                lambda: peers.haproxy(cores, behind, folder),
                lambda: peers.envoy(cores, behind, folder),
                lambda: penstock(cores, behind, folder),
            ),
            stack,
        )
        found.contenders.insert(0, direct)
        yield found


@contextmanager
def penstock(cores: Cores, behind: StubAddress, folder: Path) -> Iterator[list[Contender]]:
    """Start our gateway, with everything on, in front of pods that speak the link and of a server that does not."""
    pods, pods_on_tcp = unix_pods(folder, "pod", PODS), tcp_pods(PODS)
    policy = MeshPolicy({"stub": pods, "stub-tcp": pods_on_tcp, "stub-http": [f"127.0.0.1:{behind.port}"]})
    with (
        running_pods(cores, folder, [*pods, *pods_on_tcp]),
        recording_gateway(cores, policy, folder / "penstock") as gateway,
    ):
        yield [
            gateway.contender(OURS, "stub"),
            gateway.contender(f"{OURS}, link over TCP", "stub-tcp"),
            gateway.contender(f"{OURS}, HTTP/1.1 pod", "stub-http"),
        ]
