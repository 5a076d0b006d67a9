"""What being seen costs: a gateway and a pod that record nothing, that record every request, and with all its readers.

In interleaved slices of one run, by processes that are started anew for each round: where one process happens to lie
in memory is worth a microsecond too.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

from deploy.local.companion import NICENESS
from tests.benchmarks import sink
from tests.benchmarks.back_ends import StubAddress, running_stub
from tests.benchmarks.contender import Contender
from tests.benchmarks.cores import Cores
from tests.benchmarks.heads import json_bodies, requests_for
from tests.benchmarks.large_policy import key_of
from tests.benchmarks.mesh_policy import MeshPolicy
from tests.benchmarks.ours import running_gateway
from tests.benchmarks.pod import make_demo
from tests.benchmarks.processes import NotStarted, Program, await_answer, cpu_s, family, pinned, running
from tests.benchmarks.report import table
from tests.benchmarks.slices import CONNECTIONS, Slice, drive, is_stub_answer
from tests.benchmarks.spread import median_interval, pass_ratios, spread
from tests.fakes.load import MakeRequest
from tests.fakes.load_connection import Check
from tests.ports import free_port

POD_ARCHIVE = "digits-1.mar"
KEEPS_ALL = 1_000_000  # traces per second: more than any load here has
STARTS_WITHIN_S = 60.0
WARM_UP_S = 0.5


class Arm(StrEnum):
    """What is switched on."""

    OFF = "nothing recorded"
    RECORDED = "recorded, thrown away"  # the recorder alone: what reads it costs nothing
    EVERYTHING = "sidecar and hub, 100 %"


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure.

    Attributes:
        rounds: how often all processes are started anew.
        passes: slices of each arm per round.
    """

    rounds: int
    passes: int
    slice_s: float


# Short slices, many of them: what the machine does besides is then mostly the same in a pass.
FULL = Plan(rounds=4, passes=12, slice_s=0.5)
QUICK = Plan(rounds=1, passes=3, slice_s=0.5)

Slices = dict[Arm, list[Slice]]

IDLE_SHARE = 0.05  # of a core: what readers use that have nothing left to read
IDLE_LOOK_S = 0.1
IDLE_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Reader:
    """What reads an arm's records.

    Attributes:
        records: the socket that it reads; None for an arm that records nothing.
        programs: what it consists of.
    """

    records: Path | None = None
    programs: tuple[Program, ...] = ()


@dataclass(frozen=True, slots=True)
class Running:
    """One arm, ready to be driven."""

    contender: Contender
    reader: Reader


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: a gateway in front of the stub, or a pod.

    Attributes:
        start: runs it in a folder of its own, with the socket for its records or with none.
    """

    name: str
    start: Callable[[Path, Path | None], AbstractContextManager[Contender]]
    make_request: MakeRequest
    is_right: Check


def run(plan: Plan, cores: Cores, say: Callable[[str], None]) -> bool:
    """Measure the gateway and the pod, and say a table of each; False when something did not start."""
    is_whole = True
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        behind = StubAddress(free_port(), folder / "stub.sock")
        stack.enter_context(running_stub(cores, behind, folder))
        for subject in (gateway_subject(cores, behind), pod_subject(cores, folder, say)):
            broken: set[str] = set()
            slices = measure(subject, plan, cores, folder, broken)
            say(
                f"\nrecorder, {subject.name}: {CONNECTIONS} connections, closed loop; {plan.rounds} rounds of "
                f"{plan.passes} passes of {plan.slice_s:g} s each, interleaved"
            )
            for line in sorted(broken):
                say(line)
            say(render(slices))
            is_whole = is_whole and not broken
    say("extra: CPU per request beyond that of the same pass with nothing recorded, with the 95 % bound of its median.")
    say(f"CPU: of the gateway or the pod; sidecar and hub are on the load's core. {cores}")
    return is_whole


def gateway_subject(cores: Cores, behind: StubAddress) -> Subject:
    """Return a gateway in front of the stub."""
    policy = MeshPolicy({"stub": [f"127.0.0.1:{behind.port}"]}, lines=f"tracing: {{kept_per_s: {KEEPS_ALL}}}\n")

    @contextmanager
    def start(folder: Path, records: Path | None) -> Iterator[Contender]:
        options = () if records is None else ("--records", str(records))
        with running_gateway({cores.proxy}, policy, folder, ("--workers", "1", *options)) as gateway:
            yield gateway.contender("", "stub")

    make_request = requests_for("/predictions/stub", key_of(0), json_bodies([{"data": list(range(8))}]))
    return Subject("gateway", start, make_request, is_stub_answer)


def pod_subject(cores: Cores, folder: Path, say: Callable[[str], None]) -> Subject:
    """Return a pod of the smallest model, which leaves the most of its time to the pod itself."""
    rows = make_demo(folder, (POD_ARCHIVE,), say)
    make_request = requests_for("/predictions/digits", "none", json_bodies(rows))
    return Subject(f"pod, {POD_ARCHIVE}", partial(_running_pod, cores, folder), make_request, _is_label)


@contextmanager
def _running_pod(cores: Cores, store: Path, folder: Path, records: Path | None) -> Iterator[Contender]:
    address = f"127.0.0.1:{free_port()}"
    arguments = [
        *(sys.executable, "-m", "model_pod.server", "--model", "digits", "--version", "1", "--device", "cpu"),
        *("--archive", str(store / POD_ARCHIVE), "--listen", address, "--extracted-dir", str(store / "extracted")),
        *(() if records is None else ("--records", str(records), "--kept-per-s", str(KEEPS_ALL))),
    ]
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    with running(arguments, cores={cores.proxy}, log=folder / "pod.log", environ=environ) as program:
        await_answer(address, "/v2/health/ready", program, STARTS_WITHIN_S)
        yield Contender("", address, "", program)


def _is_label(index: int, status: int, body: bytes) -> bool:
    return status == 200 and b'"label"' in body


def measure(subject: Subject, plan: Plan, cores: Cores, folder: Path, broken: set[str]) -> Slices:
    """Take slices in rounds of passes; each pass begins with another arm.

    Args:
        broken: takes a line for each arm that did not start; the others are measured.
    """
    slices: Slices = {}
    for _ in range(plan.rounds):
        with (
            tempfile.TemporaryDirectory(dir=folder) as name,
            started(subject, cores, Path(name), broken) as arms,
            pinned({cores.load}),
        ):
            for running_arm in arms.values():
                take_slice(subject, running_arm, WARM_UP_S)
            for number in range(plan.passes):
                for arm, running_arm in _rotated(list(arms.items()), number):
                    slices.setdefault(arm, []).append(take_slice(subject, running_arm, plan.slice_s))
    return slices


def take_slice(subject: Subject, arm: Running, slice_s: float) -> Slice:
    """Drive one arm for a while, and let its readers catch up, so that they do not disturb the next one's slice."""
    taken = drive(arm.contender, slice_s, subject.make_request, subject.is_right)
    pids = [pid for program in arm.reader.programs for pid in family(program.pid)]
    give_up_s = time.monotonic() + IDLE_WITHIN_S
    while pids and time.monotonic() < give_up_s:
        before_s = cpu_s(pids)
        time.sleep(IDLE_LOOK_S)
        if cpu_s(pids) - before_s < IDLE_SHARE * IDLE_LOOK_S:
            break
    return taken


def _rotated(arms: list[tuple[Arm, Running]], number: int) -> list[tuple[Arm, Running]]:
    first = number % len(arms)
    return [*arms[first:], *arms[:first]]


@contextmanager
def started(subject: Subject, cores: Cores, folder: Path, broken: set[str]) -> Iterator[dict[Arm, Running]]:
    """Start the subject once for each arm, with what reads its records."""
    with ExitStack() as stack:
        arms: dict[Arm, Running] = {}
        for arm in Arm:
            place = folder / arm.name.lower()
            place.mkdir()
            try:
                reader = stack.enter_context(READERS[arm](cores, place))
                arms[arm] = Running(stack.enter_context(subject.start(place, reader.records)), reader)
            except NotStarted as reason:
                broken.add(f"did not start: {arm}: {reason}")
        yield arms


@contextmanager
def _no_reader(cores: Cores, folder: Path) -> Iterator[Reader]:
    yield Reader()


@contextmanager
def _sink(cores: Cores, folder: Path) -> Iterator[Reader]:
    path = folder / "records.sock"
    log = folder / "sink.log"
    with running([sys.executable, str(Path(sink.__file__)), str(path)], cores={cores.load}, log=log) as program:
        yield Reader(path, (program,))
    if program.said().split()[-1:] in ([], ["0"]):
        raise NotStarted(f"nothing was recorded: {program.said()!r}")


@contextmanager
def recorded_into(cores: Cores, folder: Path) -> Iterator[Path]:
    """Return a socket whose packets another process takes and throws away."""
    with _sink(cores, folder) as reader:
        assert reader.records is not None
        yield reader.records


@contextmanager
def _sidecar_and_hub(cores: Cores, folder: Path) -> Iterator[Reader]:
    spans, path, port = folder / "otlp.sock", folder / "records.sock", free_port()
    sidecar = [
        *(sys.executable, "-m", "telemetry.sidecar", "--listen", f"127.0.0.1:{port}"),
        *("--records", f"unix:{path}", "--export", f"unix:{spans}"),
    ]
    with (
        _running_hub(cores, folder, spans) as hub,
        running(sidecar, cores={cores.load}, log=folder / "sidecar.log") as program,
    ):
        await_answer(f"127.0.0.1:{port}", "/livez", program)
        for reader in (program, hub):
            os.setpriority(os.PRIO_PROCESS, reader.pid, NICENESS)  # as `penstock up` runs them
        yield Reader(path, (program, hub))
        program.must_run()


@contextmanager
def _running_hub(cores: Cores, folder: Path, spans: Path) -> Iterator[Program]:
    pages, otlp = free_port(), free_port()
    arguments = [
        *(sys.executable, "-m", "telemetry.hub", "--listen", f"127.0.0.1:{pages}", "--otlp", f"127.0.0.1:{otlp}"),
        *("--otlp-unix", str(spans), "--store", str(folder / "traces"), "--mesh", str(folder / "state" / "mesh.json")),
        *("--publish", str(folder / "hub.json")),
    ]
    with running(arguments, cores={cores.load}, log=folder / "hub.log") as program:
        await_answer(f"127.0.0.1:{pages}", "/api/overview", program)
        yield program
        program.must_run()


READERS: Mapping[Arm, Callable[[Cores, Path], AbstractContextManager[Reader]]] = {
    Arm.OFF: _no_reader,
    Arm.RECORDED: _sink,
    Arm.EVERYTHING: _sidecar_and_hub,
}


def render(slices: Mapping[Arm, Sequence[Slice]]) -> str:
    """Lay out one line per arm, each compared with the same pass of the arm that records nothing."""
    header = ("", "req/s", "× off", "95 %", "CPU µs/req", "extra µs", "95 %", "busy", "failed", "n")
    off = slices.get(Arm.OFF, ())
    return table(header, [_row(arm, taken, off) for arm, taken in slices.items() if len(taken) == len(off)])


def _row(arm: Arm, taken: Sequence[Slice], off: Sequence[Slice]) -> tuple[str, ...]:
    rates = [one.requests_per_s for one in taken]
    costs_s = [one.cpu_per_request_s for one in taken]
    ratios = pass_ratios(rates, [one.requests_per_s for one in off])
    extra_s = [cost_s - one.cpu_per_request_s for cost_s, one in zip(costs_s, off, strict=True)]
    ratio_low, ratio_high = median_interval(ratios) if ratios else (0.0, 0.0)
    extra_low_s, extra_high_s = median_interval(extra_s)
    return (
        str(arm),
        spread(rates).written(0),
        f"{spread(ratios).median:.3f}" if ratios else "-",
        f"{ratio_low:.3f}..{ratio_high:.3f}" if ratios else "-",
        spread(costs_s).written(1, scale=1e6),
        f"{spread(extra_s).median * 1e6:.2f}",
        f"{extra_low_s * 1e6:.2f}..{extra_high_s * 1e6:.2f}",
        f"{spread([one.busy for one in taken]).median:.0%}",
        str(sum(one.failed for one in taken)),
        str(len(taken)),
    )
