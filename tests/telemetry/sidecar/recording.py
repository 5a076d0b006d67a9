"""Records as a gateway's worker and a pod's server tell them, for the tests of the sidecar."""

from __future__ import annotations

import msgspec

from telemetry.records import (
    FRAME_VERSION,
    Attempt,
    BatchTimes,
    Frame,
    GatewayCopy,
    GatewayRequest,
    Member,
    Part,
    PodBatch,
    PodLoad,
    PodRequest,
    Record,
    Source,
)

GATEWAY = Source("penstock-gateway", "worker 0", 100, package="0.1.0")
POD = Source("penstock-pod", "digits/1/0", 200, "digits", "1", "0.1.0")
WALL_OFFSET_NS = 1_700_000_000 * 10**9
# What sampling looks at is the end of the trace id: these are in every share, and in none but the whole.
IN_SHARE, OUT_OF_SHARE = "f" * 14, "0" * 14


def trace(number: int, end: str = IN_SHARE) -> str:
    """Return a trace id."""
    return f"{number:018x}{end}"


def span(number: int) -> str:
    """Return the id of a process's own span."""
    return f"{number:012x}0000"


def gateway_request(
    number: int,
    *,
    sampled: bool = False,
    status: int = 200,
    outcome: str = "good",
    took_s: float = 0.01,
    lost: str = "",
) -> GatewayRequest:
    """Return a request that a worker settled; ``lost`` is why its first attempt failed."""
    attempts: tuple[Attempt, ...] = (Attempt(span(number + 1000), "digits/1/0", 50.0, 50.0 + took_s),)
    if lost:
        attempts = (Attempt(span(number + 2000), "digits/1/1", 50.0, 50.0, lost), *attempts)
    return GatewayRequest(
        *(trace(number), span(number), "", sampled, 50.0, 50.0 + took_s, "POST", "predictions", status),
        *("busy" if status >= 400 else "", f"id-{number}", 1, "acme", "digits", "1", "stable", outcome, attempts),
    )


def gateway_copy(number: int, *, sampled: bool = False, status: int = 200) -> GatewayCopy:
    """Return a copy of the request of that number, as it was sent to the shadow ``dark``."""
    return GatewayCopy(
        *(trace(number), span(number + 3000), span(number), sampled, 50.02, 50.05, f"id-{number}", 1, "acme"),
        *("digits", "2", "dark", "digits/2/0", status, False),
    )


def batch_times(number: int, row_count: int = 2) -> BatchTimes:
    """Return a batch that took 30 ms: 5 before, 20 in and 5 after inference."""
    ids = (number, trace(number + 500_000), span(number + 500_000))
    return BatchTimes(*ids, 50.003, 50.004, 0.005, 0.02, 0.005, 50.034, 50.035, row_count, row_count, 1, 0.02)


def pod_request(
    number: int,
    *,
    sampled: bool = False,
    status: int = 200,
    batch: BatchTimes | None = None,
    took_s: float = 0.04,
    tenant: str = "acme",
    shadow: str = "",
) -> PodRequest:
    """Return a request of one row that waited for 2 ms, and is charged 10 ms if it ran."""
    ended_s = 50.0 + took_s
    part = Part(0, 1, 50.001, batch, 0 if batch is None else 10_000)
    return PodRequest(
        *(trace(number), span(number), span(number + 1000), sampled, 50.0, ended_s, "predict", status),
        *("broken" if status >= 500 else "", f"id-{number}", tenant, 1, False, (part,), shadow),
    )


def pod_batch(times: BatchTimes, *members: PodRequest) -> PodBatch:
    """Return a batch with one row of each member."""
    rode = tuple(Member(member.trace_id, member.span_id, 0, member.request_id, 1, 0.002) for member in members)
    return PodBatch(times, rode, "cpu", 0)


def pod_load(number: int, message: str = "") -> PodLoad:
    """Return a load that took 3 s, of which the handler took 1."""
    return PodLoad(trace(number), span(number), 40.0, 43.0, message, "" if message else "cpu", 1.0)


def frame(source: Source, *records: Record, dropped: dict[str, int] | None = None) -> Frame:
    """Return what one packet holds."""
    return Frame(FRAME_VERSION, source, WALL_OFFSET_NS, dropped or {}, records)


def packet(source: Source, *records: Record, dropped: dict[str, int] | None = None) -> bytes:
    """Return one packet."""
    return msgspec.msgpack.encode(frame(source, *records, dropped=dropped))
