"""What a pod makes of a model: rows per second over its socket, beside the same handler in an offline loop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import uvloop

from tests.benchmarks.heads import json_bodies, requests_for
from tests.benchmarks.offline import BATCH_ROWS, HANDLE, INFERENCE, OfflineLoop, offline_loop
from tests.benchmarks.processes import NotStarted, Program, await_answer, running
from tests.benchmarks.report import ROOT, table
from tests.benchmarks.spread import median_interval, pass_ratios, spread
from tests.fakes.load import closed_loop
from tests.fakes.load_connection import Check
from tests.fakes.records import Summary, summarize

CONNECTIONS = (1, 16, 64, 256)
DISTINCT_ROWS = 64
STARTS_WITHIN_S = 60.0
LOG_TAIL_CHARACTERS = 2_000


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure, and which of the demo's archives."""

    archives: tuple[str, ...]
    passes: int
    slice_s: float


FULL = Plan(("digits-1.mar", "digits-2.mar"), passes=8, slice_s=1.0)
QUICK = Plan(("digits-2.mar",), passes=2, slice_s=0.5)


@dataclass(slots=True)
class Passes:
    """What all passes saw, pass by pass: offline rows per second by stage, and the pod's figures by connections."""

    offline: dict[str, list[float]] = field(default_factory=lambda: {INFERENCE: [], HANDLE: []})
    pod: dict[int, list[Summary]] = field(default_factory=lambda: {count: [] for count in CONNECTIONS})


class _Answer(msgspec.Struct):
    label: int


def run(plan: Plan, say: Callable[[str], None]) -> None:
    """Measure each archive and say its table."""
    # What the inference process chooses by itself; said to both so that both compute alike.
    threads = max(1, len(os.sched_getaffinity(0)) - 1)
    environ = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        rows = make_demo(folder, plan.archives, say)
        for archive in plan.archives:
            with (
                offline_loop(folder / archive, folder / "extracted", folder / "rows.json", environ) as offline,
                _running_pod(folder, archive, environ) as (address, program),
            ):
                passes = measure(plan, offline, address, rows)
                program.must_run()
            say(
                f"\npod, {archive}: one row a request, batches of at most {BATCH_ROWS}, {offline.threads} torch "
                f"thread(s) on the CPU, Unix socket; {plan.passes} passes of {plan.slice_s:g} s each, interleaved"
            )
            say(render(passes))
    say("ideal: the handler's inference alone on ready batches. handler: preprocess, inference and postprocess of it.")
    say("Load, pod server and inference process share the machine's cores; the offline loops run alone.")


def make_demo(folder: Path, archives: tuple[str, ...], say: Callable[[str], None]) -> list[object]:
    """Train and pack the archives into a folder, and return rows that no model was trained on.

    Raises:
        NotStarted: they could not be made.
    """
    arguments = [sys.executable, "-m", "deploy.demo", "build", str(folder), *archives]
    built = subprocess.run(arguments, cwd=ROOT, check=False, capture_output=True, text=True, timeout=120)
    if built.returncode != 0:
        raise NotStarted(f"the demo's archives could not be made: {built.stderr[-LOG_TAIL_CHARACTERS:]}")
    say(built.stdout.rstrip())
    from deploy.demo.data import load_split

    _, held_out = load_split()
    rows: list[object] = [{"data": pixels.tolist()} for pixels in held_out.pixels[:DISTINCT_ROWS]]
    (folder / "rows.json").write_text(json.dumps(rows))
    return rows


@contextmanager
def _running_pod(folder: Path, archive: str, environ: dict[str, str]) -> Iterator[tuple[str, Program]]:
    address = f"unix:{folder}/{archive}.sock"
    arguments = [
        *(sys.executable, "-m", "model_pod.server", "--model", "digits", "--version", "1"),
        *("--archive", str(folder / archive), "--listen", address, "--extracted-dir", str(folder / "extracted")),
        *("--device", "cpu", "--max-rows", str(BATCH_ROWS)),
    ]
    cores = os.sched_getaffinity(0)
    with running(arguments, cores=cores, log=folder / f"{archive}.log", environ=environ) as program:
        await_answer(address, "/v2/health/ready", program, STARTS_WITHIN_S)
        yield address, program


def measure(plan: Plan, offline: OfflineLoop, address: str, rows: list[object]) -> Passes:
    """Take slices in passes: both offline loops, then each number of connections."""
    make_request = requests_for("/predictions/digits", "none", json_bodies(rows))
    check = _same_labels(offline.labels)
    passes = Passes()
    for _ in range(plan.passes):
        for stage, taken in passes.offline.items():
            taken.append(offline.rows_per_s(stage, plan.slice_s))
        for count, summaries in passes.pod.items():
            load = closed_loop(
                address, connections=count, duration_s=plan.slice_s, make_request=make_request, check=check
            )
            summaries.append(summarize(uvloop.run(load)))
    return passes


def _same_labels(labels: list[int]) -> Check:
    decoder = msgspec.json.Decoder(_Answer)

    def check(index: int, status: int, body: bytes) -> bool:
        return status == 200 and decoder.decode(body).label == labels[index % len(labels)]

    return check


def render(passes: Passes) -> str:
    """Lay out one line per way of running the model."""
    header = ("", "rows/s", "× ideal", "95 %", "× handler", "p50 ms", "p99 ms", "failed", "n")
    ideal, handler = passes.offline[INFERENCE], passes.offline[HANDLE]
    rows = [
        _offline_row("ideal", ideal, ideal, handler),
        _offline_row("handler", handler, ideal, handler),
        *(_pod_row(count, taken, ideal, handler) for count, taken in passes.pod.items()),
    ]
    return table(header, rows)


def _offline_row(name: str, rates: list[float], ideal: list[float], handler: list[float]) -> tuple[str, ...]:
    return (name, *_rates(rates, ideal, handler), "-", "-", "-", str(len(rates)))


def _pod_row(count: int, taken: list[Summary], ideal: list[float], handler: list[float]) -> tuple[str, ...]:
    rates = [summary.right_per_s for summary in taken]
    return (
        f"pod, {count} connections",
        *_rates(rates, ideal, handler),
        f"{spread([summary.p50_s for summary in taken]).median * 1e3:.2f}",
        f"{spread([summary.p99_s for summary in taken]).median * 1e3:.2f}",
        str(sum(summary.count - summary.right for summary in taken)),
        str(len(taken)),
    )


def _rates(rates: list[float], ideal: list[float], handler: list[float]) -> tuple[str, str, str, str]:
    to_ideal = pass_ratios(rates, ideal)
    low, high = median_interval(to_ideal)
    return (
        spread(rates).written(0),
        spread(to_ideal).written(3),
        f"{low:.3f}..{high:.3f}",
        spread(pass_ratios(rates, handler)).written(2),
    )
