"""Policy edits under load: what a thousand reloads cost callers, and whether they do what they say.

Each edit changes a tier's rate by a rename. Callers keep their connections and send one request after the other; each
answer names its generation. Told are errors, how soon an edit is in force, the longest request around each switch and
the longest in an equal time just before the edit, and the gateway's memory.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.back_ends import StubAddress, running_stub
from tests.benchmarks.cores import Cores
from tests.benchmarks.large_policy import key_of
from tests.benchmarks.mesh_policy import MeshPolicy
from tests.benchmarks.ours import RunningGateway, running_gateway
from tests.benchmarks.report import table
from tests.ports import free_port
from tests.system.processes import family

_GENERATION = re.compile(rb"penstock-decision: gen=(\d+)")
_IN_FORCE_WITHIN_S = 10.0
_CALLERS = 8
_PAUSE_S = 0.004
# What a switch can hold up: a moment before the first answer of the new generation, and as long after it.
_AROUND_S = 0.1
_WARM = 50


@dataclass(frozen=True, slots=True)
class Plan:
    """How many edits, and how often."""

    edits: int
    every_s: float


FULL = Plan(1000, 0.6)
QUICK = Plan(30, 0.6)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: when it began, how long it took, the generation that answered, and its status (0: none came)."""

    began_s: float
    took_s: float
    generation: int
    status: int


@dataclass(slots=True)
class Edit:
    """One edit: when it was made and when the first answer of its generation came."""

    made_s: float
    seen_s: float = 0.0


@dataclass(slots=True)
class Outcome:
    """Everything that was seen."""

    asked: list[Asked] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)
    memory_kib: list[int] = field(default_factory=list)
    newest: int = 0
    went_back: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)


def run(plan: Plan, cores: Cores, say: Callable[[str], None]) -> bool:
    """Measure and say; False when a request failed or an edit did not come into force."""
    say(f"policy reloads: {plan.edits} edits, one each {plan.every_s:g} s, {_CALLERS} callers")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        behind = StubAddress(free_port(), folder / "stub.sock")
        policy = MeshPolicy({"stub": [f"127.0.0.1:{behind.port}"]})
        with (
            running_stub(cores, behind, folder),
            running_gateway({cores.proxy}, policy, folder, ("--workers", "2")) as gateway,
        ):
            outcome = asyncio.run(_measure(plan, gateway))
    say(render(outcome))
    return not failures(outcome) and all(edit.seen_s for edit in outcome.edits)


async def _measure(plan: Plan, gateway: RunningGateway) -> Outcome:
    outcome = Outcome()
    stop = asyncio.Event()
    host, _, port = gateway.inference.rpartition(":")
    callers = [asyncio.create_task(_call(host, int(port), outcome, stop)) for _ in range(_CALLERS)]
    await asyncio.sleep(1.0)
    for number in range(plan.edits):
        next_s = time.monotonic() + plan.every_s
        await _edit(gateway.policies, number, outcome)
        if number >= min(_WARM, plan.edits // 2):
            outcome.memory_kib.append(await asyncio.to_thread(memory_kib, gateway.program.pid))
        await asyncio.sleep(max(0.0, next_s - time.monotonic()))
    stop.set()
    await asyncio.gather(*callers)
    return outcome


async def _edit(policies: Path, number: int, outcome: Outcome) -> None:
    beside = policies / ".limits.yaml.new"
    beside.write_text(f"kind: limits/v1\ntiers:\n  bench: {{rate: {1_000_001 + number}/s, in_flight: 4096}}\n")
    edit = Edit(time.monotonic())
    beside.rename(policies / "limits.yaml")
    outcome.edits.append(edit)
    outcome.news.clear()
    with suppress(TimeoutError):
        async with asyncio.timeout(_IN_FORCE_WITHIN_S):
            await outcome.news.wait()
        edit.seen_s = time.monotonic()


async def _call(host: str, port: int, outcome: Outcome, stop: asyncio.Event) -> None:
    request = (
        "POST /predictions/stub HTTP/1.1\r\nHost: m\r\n"
        f"Authorization: Bearer {key_of(0)}\r\nContent-Length: 2\r\n\r\n{{}}"
    ).encode()
    reader, writer = await asyncio.open_connection(host, port)
    own = 0
    while not stop.is_set():
        began_s = time.monotonic()
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
        except (OSError, asyncio.IncompleteReadError):
            outcome.asked.append(Asked(began_s, time.monotonic() - began_s, 0, 0))
            return
        told = _GENERATION.search(head)
        generation = int(told[1]) if told else 0
        outcome.asked.append(Asked(began_s, time.monotonic() - began_s, generation, int(head[9:12])))
        outcome.went_back += generation < own
        own = generation
        if generation > outcome.newest:
            outcome.newest = generation
            outcome.news.set()
        await asyncio.sleep(_PAUSE_S)
    writer.close()


def memory_kib(pid: int) -> int:
    """Return the resident memory of a process and its children's children, in KiB."""
    total = 0
    for one in family(pid):
        with suppress(OSError):
            resident = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{one}/status").read_text())
            total += int(resident[1]) if resident else 0
    return total


def failures(outcome: Outcome) -> int:
    """Return how many requests had no answer, or one that was not the model's."""
    return sum(one.status != 200 for one in outcome.asked)


def longest(asked: Sequence[Asked], from_s: float, to_s: float) -> float:
    """Return the longest of the requests that ran in that time, 0 when none did."""
    return max((one.took_s for one in asked if one.began_s < to_s and one.began_s + one.took_s > from_s), default=0.0)


def render(outcome: Outcome) -> str:
    """Lay the figures out."""
    asked = sorted(outcome.asked, key=lambda one: one.began_s)
    seen = [edit for edit in outcome.edits if edit.seen_s]
    in_force_s = [edit.seen_s - edit.made_s for edit in seen]
    around, beside = [], []
    start = 0
    for edit in seen:
        while start < len(asked) and asked[start].began_s < edit.made_s - 1.0:
            start += 1
        near = asked[start : start + 4000]
        around.append(longest(near, edit.seen_s - _AROUND_S, edit.seen_s + _AROUND_S))
        beside.append(longest(near, edit.made_s - 2 * _AROUND_S, edit.made_s))
    generations = {one.generation for one in asked if one.generation}
    memory = outcome.memory_kib
    tenth = max(1, len(memory) // 10)
    first, last = statistics.median(memory[:tenth]), statistics.median(memory[-tenth:])
    return table(
        ("", "p50", "p99", "most", "n"),
        [
            ("edit to first answer, ms", *_quantiles(in_force_s)),
            ("longest request around a switch, ms", *_quantiles(around)),
            ("longest in as long before the edit, ms", *_quantiles(beside)),
        ],
    ) + (
        f"\n{len(asked)} requests, {failures(outcome)} failed; {len(seen)} of {len(outcome.edits)} edits in force; "
        f"{len(generations)} generations answered, {outcome.went_back} answers of an older one than before on one "
        f"connection\nmemory of all processes {first / 1024:.1f} MiB at first, {last / 1024:.1f} MiB at the end"
    )


def _quantiles(values_s: Sequence[float]) -> tuple[str, str, str, str]:
    ordered = sorted(values_s) or [0.0]
    ranks = (len(ordered) // 2, min(len(ordered) - 1, int(len(ordered) * 0.99)), -1)
    return (*(f"{ordered[rank] * 1000:.1f}" for rank in ranks), str(len(values_s)))  # type: ignore[return-value]  # three
