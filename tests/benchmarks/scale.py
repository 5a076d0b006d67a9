"""Whether a request costs the gateway the same with two workers, with 10,000 tenants, 1,000 routes and 200 pods."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.benchmarks.back_ends import running_pods, unix_pods
from tests.benchmarks.cores import Cores
from tests.benchmarks.heads import Requests
from tests.benchmarks.large_policy import key_of, model_name
from tests.benchmarks.mesh_policy import MeshPolicy
from tests.benchmarks.ours import recording_gateway
from tests.benchmarks.processes import pinned
from tests.benchmarks.report import table
from tests.benchmarks.slices import CONNECTIONS, Slice, check_once, failures, interleaved, ratio, take_slice
from tests.benchmarks.spread import spread

GOAL = 1.1
SLICE_S = 1.0
# What a caller asks first takes longer, and 10,000 callers take a while to have asked.
WARM_SLICES = 5


@dataclass(frozen=True, slots=True)
class Size:
    """A gateway's size, and how much of it the load uses.

    Attributes:
        asked_routes: requests go to so many of the routes.
    """

    tenants: int = 10
    routes: int = 1
    asked_routes: int = 1
    pods: int = 2
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sizes that a request should cost the same in."""

    name: str
    small: Size
    large: Size
    connections: int = CONNECTIONS


PAIRS = (
    Pair("2 workers instead of 1", Size(), Size(workers=2)),
    Pair("10,000 tenants instead of 10", Size(), Size(tenants=10_000)),
    Pair("1,000 routes instead of 1, one of them asked", Size(), Size(routes=1000)),
    Pair("1,000 routes instead of 1, all of them asked", Size(), Size(routes=1000, asked_routes=1000)),
    Pair("200 pods instead of 2", Size(), Size(pods=200)),
    Pair("200 pods instead of 2, 256 connections", Size(), Size(pods=200), 256),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure."""

    passes: int
    pairs: tuple[Pair, ...]


FULL = Plan(10, PAIRS)
QUICK = Plan(2, (PAIRS[0], PAIRS[4]))


def run(plan: Plan, cores: Cores, folder: Path, say: Callable[[str], None]) -> bool:
    """Say a table with a line for each pair; False when a request failed."""
    measured = [(pair, measure(pair, plan.passes, cores, folder)) for pair in plan.pairs]
    say(
        f"\nscale: CPU per request of the larger gateway over that of the smaller, closed loop, {CONNECTIONS} "
        f"connections; {plan.passes} passes of {SLICE_S:g} s each, interleaved; goal: {GOAL:g} at most"
    )
    if len(cores.of_two_workers()) == 1:
        say("Both of the two workers are on one core, since load and back end need the other.")
    say(render(measured))
    return not any(failures(slices) for _, slices in measured)


def measure(pair: Pair, passes: int, cores: Cores, folder: Path) -> dict[str, list[Slice]]:
    """Run a gateway of each size at once, and drive them in turns."""
    with (
        tempfile.TemporaryDirectory(dir=folder) as name,
        running_size(pair.small, cores, Path(name) / "small") as small,
        running_size(pair.large, cores, Path(name) / "large") as large,
        pinned({cores.load}),
    ):
        for take in (small, large) * WARM_SLICES:
            take(pair.connections)
        return interleaved(
            {"small": partial(small, pair.connections), "large": partial(large, pair.connections)}, passes
        )


@contextmanager
def running_size(size: Size, cores: Cores, folder: Path) -> Iterator[Callable[[int], Slice]]:
    """Run a gateway of this size, and yield what drives it with so many connections for a slice."""
    folder.mkdir()
    pods = unix_pods(folder, "pod", size.pods)
    policy = MeshPolicy({model_name(number): pods for number in range(size.routes)}, size.tenants)
    path = "/predictions/model-%04d" if size.asked_routes > 1 else f"/predictions/{model_name(0)}"
    requests = Requests(path, "msk_%043d", size.asked_routes, size.tenants)
    with (
        running_pods(cores, folder, pods),
        recording_gateway(cores, policy, folder / "penstock", size.workers) as gateway,
    ):
        contender = gateway.contender("", model_name(0))
        check_once(contender, Requests(contender.path, key_of(0)))
        yield lambda connections: take_slice(contender, requests, SLICE_S, connections)


def render(measured: Sequence[tuple[Pair, Mapping[str, Sequence[Slice]]]]) -> str:
    """Lay out one line per pair."""
    header = ("", "small µs", "large µs", "large / small", "95 %", "busy", "RSS MiB", "failed", "n")
    return table(header, [_row(pair, slices["small"], slices["large"]) for pair, slices in measured])


def _row(pair: Pair, small: Sequence[Slice], large: Sequence[Slice]) -> tuple[str, ...]:
    costs_s = [[one.cpu_per_request_s for one in taken] for taken in (small, large)]
    return (
        pair.name,
        *(spread(values_s).written(1, scale=1e6) for values_s in costs_s),
        *ratio(costs_s[1], costs_s[0]),
        f"{spread([one.busy for one in large]).median:.0%}",
        f"{max(one.rss_bytes for one in large) / 2**20:.0f}",
        str(failures({"small": small, "large": large})),
        str(len(large)),
    )
