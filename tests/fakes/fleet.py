"""What a mesh may tell of drift, of its machine and of its telemetry: with something wrong in each."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from policies.snapshot.watching import Drift, Watched
from telemetry.conventions import Metric
from telemetry.drift.fields import INPUT, OUTPUT, Field
from telemetry.drift.judging import judge
from telemetry.drift.reports import VersionReport, in_brief, unjudged
from telemetry.drift.windows import Windows, add, place_of
from telemetry.hub.fleet import HubFacts
from telemetry.hub.writer import StoreCounts
from telemetry.machine_conventions import (
    DEVICE_BUSY,
    DEVICE_BUSY_SECONDS,
    GPU_CLOCK_EVENT,
    GPU_DRIVER_UP,
    GPU_ECC_ERRORS,
    GPU_ENERGY,
    GPU_MEMORY,
    GPU_MEMORY_USED,
    GPU_POWER,
    GPU_POWER_LIMIT,
    GPU_PROCESS_MEMORY,
    GPU_SM_ACTIVE,
    GPU_TEMPERATURE,
    GPU_UNREADABLE,
    GPU_UP,
    GPU_UTILIZATION,
    GPU_XIDS,
    GROUP_MEMORY,
    GROUP_MEMORY_LIMIT,
    GROUP_OOM_KILLS,
    HOST_AVAILABLE,
    HOST_CPU,
    HOST_CPUS,
    HOST_LOAD,
    HOST_MEMORY,
    HOST_PRESSURE,
    LOOP_LAG,
    PROCESS_CPU,
    PROCESS_OPEN_FDS,
    PROCESS_RESIDENT,
    STATE_DISK,
    STATE_DISK_FREE,
)
from telemetry.sidecar.health import Health, Lost, SpansHealth
from telemetry.stats.sketch import sketched

Json = dict[str, Any]

HOUR_S = 3600.0
NOW_S = 1_800_000_000.0
START_S = NOW_S // HOUR_S * HOUR_S - 40 * HOUR_S
GIB = 2**30
POINTS = 21
WATCHED = Drift(0.5, inputs=(Watched("/age"), Watched("/income")), outputs=(Watched("/label"),), reference_s=4 * HOUR_S)


def windows(*moves: float, missing: int = 0) -> Windows:
    """Return windows of an hour, in each of which ages are so much higher than usual and labels so much other."""
    draw = random.Random(5)
    made: Windows = {}
    for hour, moved in enumerate(moves):
        ages = sketched(draw.gauss(40 + moved, 8) for _ in range(900))
        incomes = sketched(draw.lognormvariate(10, 0.5) for _ in range(900))
        first = round(900 * min(0.95, 0.5 + moved / 60))
        at_s = START_S + hour * HOUR_S
        for side, path, field in (
            (INPUT, "/age", Field(900 + missing, measures={"value": ages}, kinds=_kinds(missing))),
            (INPUT, "/income", Field(900, measures={"value": incomes}, kinds=_kinds(0))),
            (OUTPUT, "/label", Field(900, classes={"yes": first, "no": 900 - first}, kinds={"text": 900})),
        ):
            add(made, at_s, HOUR_S, place_of(side, path), field)
    return made


def _kinds(missing: int) -> dict[str, int]:
    return {"number": 900, **({"missing": missing} if missing else {})}


def judged(model: str, version: str, of: Windows) -> VersionReport:
    """Return what is said of such windows now."""
    return judge(model, version, WATCHED, of, of, NOW_S)


def drifting() -> tuple[VersionReport, ...]:
    """Return a version in each state."""
    steady = windows(*[0.0] * 12)
    first_rows: Windows = {int(START_S): {place_of(INPUT, "/age"): Field(40, kinds={"number": 40})}}
    return (
        judged("digits", "1", windows(*[0.0] * 8, 12.0, 12.0, 12.0, 12.0, missing=120)),
        judged("digits", "2", steady),
        judged("text", "3", windows(*[0.0] * 8, 12.0)),
        judged("text", "1", first_rows),
        unjudged("text", "2", WATCHED),
    )


def drift(*versions: VersionReport, **changed: Any) -> Json:
    """Return the answer of ``/api/drift/{model}`` for these versions; ``changed`` replaces parts of it."""
    labels = {"digits": {"right": 940, "wrong": 60, "too_late": 3}}
    answer: Json = {"at": NOW_S, "versions": msgspec.to_builtins(versions), "labels": labels}
    return answer | {"is_known": True, "error": ""} | changed


def brief(answer: Json) -> Json:
    """Return the answer as the list has it."""
    told = msgspec.convert(answer["versions"], tuple[VersionReport, ...])
    return answer | {"versions": msgspec.to_builtins([in_brief(one) for one in told])}


def line(metric: Metric, values: Iterable[float | None], **labels: str) -> Json:
    """Return one series."""
    return {"metric": metric.name, "labels": labels, "values": list(values)}


def flat(value: float) -> list[float]:
    """Return a value that stays."""
    return [value] * POINTS


def rising(per_s: float, from_: float = 0.0) -> list[float]:
    """Return a counter that grows so much each second."""
    return [from_ + per_s * 15.0 * place for place in range(POINTS)]


def process(name: str, memory: float, cpu: float, model: str = "", version: str = "") -> list[Json]:
    """Return what is told of one process."""
    who = {"process": name, "model": model, "version": version}
    grown = [memory * (0.8 + 0.01 * place) for place in range(POINTS)]
    return [
        line(PROCESS_RESIDENT, grown, **who),
        line(PROCESS_CPU, rising(cpu * 0.8, 100.0), **who, mode="user"),
        line(PROCESS_CPU, rising(cpu * 0.2, 20.0), **who, mode="system"),
        line(PROCESS_OPEN_FDS, flat(31.0), **who),
        line(LOOP_LAG, flat(0.0021), **who),
    ]


def host() -> list[Json]:
    """Return what is told of a machine of two processors, one of which works."""
    return [
        line(HOST_CPUS, flat(2.0)),
        line(HOST_CPU, rising(0.8), mode="user"),
        line(HOST_CPU, rising(0.2), mode="system"),
        line(HOST_CPU, rising(1.0), mode="idle"),
        line(HOST_LOAD, flat(1.7), over="1m"),
        line(HOST_LOAD, flat(1.2), over="5m"),
        line(HOST_LOAD, flat(0.9), over="15m"),
        line(HOST_MEMORY, flat(8.0 * GIB)),
        line(HOST_AVAILABLE, flat(3.0 * GIB)),
        line(HOST_PRESSURE, rising(0.125), resource="cpu", kind="some"),
        line(STATE_DISK, flat(100.0 * GIB)),
        line(STATE_DISK_FREE, flat(60.0 * GIB)),
    ]


def gpu() -> list[Json]:
    """Return what is told of a GPU that is at its power limit and has had an error."""
    return [
        line(GPU_DRIVER_UP, flat(1.0)),
        line(GPU_UP, flat(1.0), gpu="0", uuid="GPU-1", name="NVIDIA H100 80GB HBM3"),
        line(GPU_UTILIZATION, flat(1.0), gpu="0"),
        line(GPU_SM_ACTIVE, [0.3 + 0.01 * place for place in range(POINTS)], gpu="0"),
        line(GPU_MEMORY, flat(80.0 * GIB), gpu="0"),
        line(GPU_MEMORY_USED, flat(24.0 * GIB), gpu="0"),
        line(GPU_POWER, flat(690.0), gpu="0"),
        line(GPU_POWER_LIMIT, flat(700.0), gpu="0"),
        line(GPU_ENERGY, rising(690.0, 1e6), gpu="0"),
        line(GPU_TEMPERATURE, flat(71.0), gpu="0"),
        line(GPU_CLOCK_EVENT, flat(1.0), gpu="0", reason="software_power_cap"),
        line(GPU_CLOCK_EVENT, flat(0.0), gpu="0", reason="hardware_thermal"),
        line(GPU_ECC_ERRORS, flat(3.0), gpu="0", kind="corrected"),
        line(GPU_XIDS, flat(1.0), gpu="0", xid="63"),
        line(GPU_PROCESS_MEMORY, flat(20.0 * GIB), gpu="0", model="text", version="1"),
        line(GPU_PROCESS_MEMORY, flat(4.0 * GIB), gpu="0", model="", version=""),
        line(GPU_UNREADABLE, flat(1.0), gpu="0", call="nvmlDeviceGetRetiredPages"),
    ]


def device(model: str, version: str, of: str, busy: float) -> list[Json]:
    """Return what is told of a pod's device."""
    who = {"model": model, "version": version, "device": of}
    return [line(DEVICE_BUSY_SECONDS, rising(busy, 50.0), **who), line(DEVICE_BUSY, flat(busy), **who)]


def group() -> list[Json]:
    """Return what is told of a control group that was too small once."""
    return [
        line(GROUP_MEMORY, flat(0.9 * GIB)),
        line(GROUP_MEMORY_LIMIT, flat(1.0 * GIB)),
        line(GROUP_OOM_KILLS, flat(1.0)),
    ]


def past(*series: list[Json]) -> Json:
    """Return what one sidecar tells of the machine."""
    return {"step_s": 15.0, "ends_s": NOW_S, "left_out": 0, "series": [one for each in series for one in each]}


def costs() -> Json:
    """Return what requests of two tenants cost."""
    rows: list[Mapping[str, Any]] = [
        {"tenant": "search", "model": "text", "requests": 900, "device_s": 90.0, "body_bytes": 2**20, "tokens": 4000},
        {"tenant": "ads", "model": "digits", "requests": 100, "device_s": 10.0, "body_bytes": 2**14, "tokens": 0},
    ]
    versions = [
        {key: held for key, held in row.items() if key != "tenant"} | {"version": version}
        for row, version in zip(rows, ("1", "2"), strict=True)
    ]
    total = {"tenant": "", "model": "", "requests": 1000, "device_s": 100.0, "body_bytes": 2**20 + 2**14}
    since = "2027-01-15T07:00:00.000+00:00"
    return {"since": since, "rows": rows, "left_out": 2, "total": total | {"tokens": 4000}, "versions": versions}


def machine(**changed: Any) -> Json:
    """Return the answer of ``/api/machine``; ``changed`` replaces parts of it."""
    pod = {"message": "", "state": "ready", "queued_rows": 3}
    answer: Json = {
        "at_s": NOW_S,
        "sidecars": [
            {
                "name": "digits/2/0",
                "error": "",
                "machine": past(
                    process("pod inference", 0.4 * GIB, 0.3, "digits", "2"), device("digits", "2", "cpu", 0.25), group()
                ),
            },
            {
                "name": "gateway",
                "error": "",
                "machine": past(host(), gpu(), process("gateway worker 0", 0.1 * GIB, 0.5)),
            },
            {"name": "text/1/0", "error": "", "machine": past(device("text", "1", "cuda:0", 0.75))},
            {"name": "text/1/1", "error": "It does not answer.", "machine": None},
        ],
        "left_out": 0,
        "pods": [
            {
                "name": "digits/2/0",
                "model": "digits",
                "version": "2",
                "state": "ready",
                "restarts": 1,
                "load_s": 1.4,
                **pod,
            },
            {
                "name": "text/1/0",
                "model": "text",
                "version": "1",
                "state": "ready",
                "restarts": 0,
                "load_s": 31.0,
                **pod,
            },
        ],
        "costs": costs(),
        "costs_error": "",
        "objectives": [],
        "error": "",
    }
    return answer | changed


def spans(**changed: Any) -> SpansHealth:
    """Return spans that are all sent; ``changed`` replaces parts of it."""
    usual = SpansHealth(
        came=1000,
        sent=1000,
        lost={},
        in_memory=0,
        on_disk=0,
        waiting_bytes=0,
        most_bytes=64 * 2**20,
        waited_s=0.0,
        receiver="unix:/state/hub.sock",
        taken_s=NOW_S - 2.0,
        trouble="",
        last_trouble="",
        last_trouble_s=0.0,
        disk_trouble="",
        disk_failures=0,
    )
    return msgspec.structs.replace(usual, **changed)


def health(of: SpansHealth | None = None, **changed: Any) -> Json:
    """Return what a sidecar tells of itself; ``changed`` replaces parts of it."""
    usual = Health(
        at_s=NOW_S,
        started_s=NOW_S - 3600.0,
        records={"gateway_requests": {"share": 300, "error": 20, "left_out": 680}, "batches": {"linked": 90}},
        undecided=4,
        redacted=17,
        lost=[],
        log_lines={"info": 40},
        log_suppressed=2,
        spans=of,
    )
    answer: Json = msgspec.to_builtins(msgspec.structs.replace(usual, **changed))
    return answer


def behind() -> Json:
    """Return what a sidecar tells whose receiver has been away for a while."""
    away = spans(
        sent=600,
        lost={"queue_full": 100},
        in_memory=20,
        on_disk=280,
        waiting_bytes=48 * 2**20,
        waited_s=95.0,
        trouble="ConnectError: All connection attempts failed",
        last_trouble="ConnectError: All connection attempts failed",
        last_trouble_s=NOW_S - 3.0,
    )
    return health(away, lost=[Lost("records", "ring_full", 7), Lost("spans", "queue_full", 100)])


def telemetry(**changed: Any) -> Json:
    """Return the answer of ``/api/telemetry``; ``changed`` replaces parts of it."""
    hub = {
        "started_s": NOW_S - 7200.0,
        "stored": 1600,
        "repeated": 12,
        "lost": {},
        "waiting": 3,
        "files": 3,
        "file_bytes": 5 * 2**20,
        "damaged_files": 0,
        "oldest_s": NOW_S - 10_000.0,
        "posts": {"200": 40, "503": 2},
        "retain_s": 86400.0,
        "most_bytes": 2 * GIB,
        "log_lines": {"info": 9},
        "log_suppressed": 0,
    }
    answer: Json = {
        "at_s": NOW_S,
        "sidecars": [
            {"name": "digits/2/0", "error": "", "health": health(spans())},
            {"name": "gateway", "error": "", "health": behind()},
            {"name": "text/1/1", "error": "It does not answer.", "health": None},
        ],
        "supervisor": [],
        "left_out": 0,
        "hub": hub,
        "error": "",
    }
    return answer | changed


class ScriptedFleet:
    """Answers of drift, machine and telemetry; a test may change each at any time."""

    def __init__(self) -> None:
        self.drift = drift(*drifting())
        self.machine = machine()
        self.telemetry = telemetry()


def facts() -> HubFacts:
    """Return what a hub knows of itself."""
    counts, dropped = StoreCounts(10, 2, {"disk": 3}, 4, 5, 6), {("copies", "away"): 7}
    return HubFacts(1.0, counts, (), {"200": 1}, 60.0, 2**20, {"info": 2}, 0, dropped)
