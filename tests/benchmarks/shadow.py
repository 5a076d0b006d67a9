"""What a shadow costs the callers whose requests are copied: answers beside those of callers who are not copied.

One mesh, one route, two tenants that differ in their consent alone; slices of the one and of the other take turns at
the same rate, so that what the machine does meanwhile falls on both. The shadow is sound, not there, late, hanging or
crashing. Told is the ratio of the 99th percentiles (and of the medians) of all slices, with a bound by bootstrap over
whole passes: the tail of one slice is a handful of requests.
"""

from __future__ import annotations

import gc
import math
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import uvloop

from deploy.demo.build import build
from deploy.demo.catalogue import DEMO_ARCHIVES
from gateway.decide.api_keys import key_of, sha256_hex
from tests.benchmarks.report import table
from tests.benchmarks.spread import CONFIDENCE, spread
from tests.fakes.load import LoadOptions, open_loop
from tests.fakes.records import Record
from tests.system.digits import known_digits, request_bytes
from tests.system.mesh import MeshUnderTest, eventually, running_mesh
from tests.system.releases.ground import SLOS, broken_store, route

_KEYS = {name: key_of("abcdefghij23", letter * 43) for name, letter in (("copied", "o"), ("alone", "c"))}
_TENANT = """\
kind: tenant/v1
name: {name}
owner: {name}-team
tier: demo
keys:
  - {{id: {name}-1, sha256: {sha256}, scopes: [infer]}}
shadow: {consent}
may_call: [digits]
"""
_SHADOW = """\
shadow:
  - name: tried
    version: "3"
    sample: 100%
    deadline: 1s
    limits: {in_flight: 16}
    compare: {outputs: [{path: /label, as: label}]}
"""


ROUNDS = 1_000


@dataclass(frozen=True, slots=True)
class Plan:
    """How many passes, each of one slice of both tenants, how long each is, and at which rate."""

    passes: int
    slice_s: float
    rate_per_s: float


FULL = Plan(16, 4.0, 150.0)
QUICK = Plan(2, 2.0, 100.0)


@dataclass(frozen=True, slots=True)
class Fault:
    """How the shadow's model behaves; "" is one that is sound, and None one whose pod is nowhere."""

    name: str
    broken_by: str | None
    late_s: float = 0.8


FAULTS = (
    Fault("sound", ""),
    Fault("not there", None),
    Fault("late by 0.8 s", "late"),
    Fault("hanging", "late", 3600.0),
    Fault("crashing", "raise"),
)


def run(plan: Plan, say: Callable[[str], None]) -> bool:
    """Measure each fault, and print a table; return whether every request was answered as it should be."""
    rows = []
    failed: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        for name in ("digits-1.mar", "digits-broken.mar"):
            build(DEMO_ARCHIVES[name], store)
        for fault in FAULTS:
            home = Path(folder) / fault.name.replace(" ", "-")
            home.mkdir()
            taken = _measure(fault, plan, home, store)
            rows.append(_row(fault, taken))
            failed += Counter(f"{fault.name}: {why}" for why in _failures(taken))
            say(f"shadow {fault.name}: {rows[-1]}")
    heads = (
        "shadow",
        "p50 copied, ms",
        "p50 alone, ms",
        "ratio",
        "95 %",
        "p99 copied, ms",
        "p99 alone, ms",
        "ratio",
        "95 %",
    )
    say(f"{plan.passes} passes of {plan.slice_s:g} s at {plan.rate_per_s:g} requests/s, one row each")
    say(table(heads, rows))
    for why, count in failed.items():
        say(f"{count} requests failed: {why}")
    return not failed


def _failures(taken: Mapping[str, Sequence[Sequence[Record]]]) -> Iterator[str]:
    for name, slices in taken.items():
        for record in chain.from_iterable(slices):
            if not record.is_right:
                reason = record.headers.get(b"penstock-reason", b"").decode()
                yield f"{name}, {record.outcome.value} {record.status} {reason} {record.why}".rstrip()


def _measure(fault: Fault, plan: Plan, home: Path, store: Path) -> dict[str, list[list[Record]]]:
    if fault.broken_by:
        store = broken_store(store, home, fault.broken_by, late_s=fault.late_s)
        versions = {"3": "digits-3.mar"}
    else:
        versions = {"3": "digits-1.mar"}
    text = route(versions, _SHADOW)
    if fault.broken_by is None:
        text = text.replace(
            "launch: {archive: digits-1.mar, device: cpu}}}\nshadow", 'static: ["127.0.0.1:1"]}}\nshadow'
        )
    policies = {"slos.yaml": SLOS, "routes/digits.yaml": text}
    for name, consent in (("copied", "allow"), ("alone", "deny")):
        policies[f"tenants/{name}.yaml"] = _TENANT.format(name=name, sha256=sha256_hex(_KEYS[name]), consent=consent)
    with running_mesh(home, store, policies=policies) as mesh:
        if fault.broken_by is not None:
            eventually(lambda: mesh.pod("digits/3/0")["state"] == "ready", "the shadow's pod is ready")
        return _slices(mesh, plan)


def _slices(mesh: MeshUnderTest, plan: Plan) -> dict[str, list[list[Record]]]:
    digits = known_digits(mesh)
    taken: dict[str, list[list[Record]]] = {name: [] for name in _KEYS}
    draw = random.Random(1)
    for _ in range(plan.passes):
        for name in draw.sample(sorted(_KEYS), 2):
            headers = {"authorization": f"Bearer {_KEYS[name]}"}
            requests = [request_bytes(mesh, "/predictions/digits", one.body, headers=headers) for one in digits]
            gc.collect()
            gc.disable()  # a pause of the load's would be in the tail of one of the two
            taken[name].append(uvloop.run(_load(mesh, plan, requests)))
            gc.enable()
    return taken


async def _load(mesh: MeshUnderTest, plan: Plan, requests: Sequence[bytes]) -> list[Record]:
    return await open_loop(
        mesh.inference,
        rate_per_s=plan.rate_per_s,
        duration_s=plan.slice_s,
        make_request=lambda index: requests[index % len(requests)],
        check=lambda index, status, body: status == 200,
        options=LoadOptions(keeps_headers=True),
    )


def quantile_s(records: Sequence[Record], share: float) -> float:
    """Return the latency that this share of requests does not exceed, in seconds."""
    return _quantile(sorted(record.latency_s for record in records), share)


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def ratio(
    copied: Sequence[Sequence[float]], alone: Sequence[Sequence[float]], share: float
) -> tuple[float, float, float]:
    """Return the ratio of this quantile over all slices, and its 95 % bound by bootstrap over whole passes.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap, chapter 13.
    """

    def of(passes: Sequence[int]) -> float:
        both = (sorted(chain.from_iterable(slices[number] for number in passes)) for slices in (copied, alone))
        return _quantile(next(both), share) / _quantile(next(both), share)

    every, draw = range(len(copied)), random.Random(0)
    drawn = sorted(of(draw.choices(every, k=len(every))) for _ in range(ROUNDS))
    tail = round((1 - CONFIDENCE) / 2 * ROUNDS)
    return of(every), drawn[tail], drawn[-1 - tail]


def _row(fault: Fault, taken: dict[str, list[list[Record]]]) -> tuple[str, ...]:
    cells = [fault.name]
    latencies = {
        name: [sorted(record.latency_s for record in records) for records in slices] for name, slices in taken.items()
    }
    copied, alone = latencies["copied"], latencies["alone"]
    for share in (0.5, 0.99):
        cells += [
            spread([_quantile(ordered, share) for ordered in slices]).written(1, 1e3) for slices in (copied, alone)
        ]
        whole, low, high = ratio(copied, alone, share)
        cells += [f"{whole:.3f}", f"{low:.3f}..{high:.3f}"]
    return tuple(cells)
