"""``penstock trace list``: shows the traces that the hub keeps, newest first, as filters want them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Struct

from deploy.commands.moment import past_unix_s
from deploy.commands.numbers import number, whole
from deploy.commands.table import table
from deploy.commands.waterfall import plain
from telemetry.conventions import SpanName

SHOWN, SHOWN_AT_MOST = 20, 1000
# What the hub's list is narrowed by, as its URLs are.
FILTERS = ("model", "version", "tenant", "status", "reason", "min_ms", "max_ms", "q")
# The hub lists them beside requests, and their models and versions look the same.
_MOMENTS = "15m for so long ago, or 2027-03-01T00:00:00Z"
_NO_REQUESTS = {SpanName.POD_LOAD: "load", SpanName.POD_BATCH: "batch"}


class StageReport(Struct, frozen=True):
    """One stage of a trace."""

    name: str
    start_ns: int
    duration_ns: int


class SummaryReport(Struct, frozen=True):
    """One trace in the list, as far as it is shown."""

    trace_id: str
    request_id: str
    name: str
    model: str
    version: str
    tenant: str
    status: str
    http_status: int | None
    reason: str
    start_ns: int
    duration_ns: int
    batch_rows: int | None
    kept: str
    stages: tuple[StageReport, ...] = ()


class ListReport(Struct, frozen=True):
    """What the hub answers; ``next`` is where the next page begins, None on the last."""

    traces: tuple[SummaryReport, ...]
    next: str | None


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Add what narrows a list."""
    parser.add_argument("--model", metavar="MODEL", help="of this model alone")
    parser.add_argument("--version", metavar="VERSION", help="of this version alone")
    parser.add_argument("--tenant", metavar="TENANT", help="of this tenant alone")
    parser.add_argument("--status", choices=("ok", "error"), help="those that ended so")
    parser.add_argument("--reason", metavar="REASON", help="why it was refused or failed: pod_lost")
    parser.add_argument("--min-ms", type=_ms, metavar="MS", help="took so long at least")
    parser.add_argument("--max-ms", type=_ms, metavar="MS", help="took so long at most")
    parser.add_argument("--since", type=past_unix_s, metavar="MOMENT", help=f"began then or later: {_MOMENTS}")
    parser.add_argument("--until", type=past_unix_s, metavar="MOMENT", help="began before that; written alike")
    parser.add_argument("--begins", metavar="ID", dest="q", help="ids of requests or traces that begin so")
    parser.add_argument("--limit", type=_limit, default=SHOWN, metavar="N", help=f"so many at most ({SHOWN})")
    parser.add_argument("--cursor", metavar="CURSOR", help="go on where a list before ended")


def query_of(options: argparse.Namespace) -> dict[str, str]:
    """Return the query of the hub's URL."""
    given = {name: getattr(options, name) for name in (*FILTERS, "cursor")}
    narrowed = {name: value for name, value in given.items() if value} | {"limit": str(options.limit)}
    moments = (("since", options.since), ("until", options.until))
    return narrowed | {name: f"{at_s:.6f}" for name, at_s in moments if at_s is not None}


def describe(found: ListReport) -> str:
    """Return the list for people."""
    if not found.traces:
        return "no trace is like this: widen the filters, or see what mesh.yaml's kept_per_s leaves out"
    head = ("STARTED (UTC)", "ID", "MODEL", "STATUS", "  TOOK ms", "MOST OF IT", "BATCH", "KEPT")
    text = table(head, [_row(one) for one in found.traces])
    return text if found.next is None else f"{text}\nolder ones: --cursor {plain(found.next)}"


def _row(one: SummaryReport) -> tuple[str | int | None, ...]:
    at = datetime.fromtimestamp(one.start_ns / 1e9, UTC)
    what = f"{one.model}/{one.version}" if one.version else one.model or one.name
    return (
        f"{at:%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}",
        plain(one.request_id or one.trace_id),
        plain(what),
        plain(_status(one)),
        f"{one.duration_ns / 1e6:9.3f}",
        _longest(one.stages),
        one.batch_rows,
        plain(one.kept) or None,
    )


def _status(one: SummaryReport) -> str:
    """Return how a request ended; what is no request says first what it is, and nothing more where all is well."""
    what = _NO_REQUESTS.get(one.name)
    ended = one.http_status or one.status
    said = (what, "" if what and one.status == "ok" else ended, one.reason)
    return " ".join(str(word) for word in said if word)


def _longest(stages: Sequence[StageReport]) -> str | None:
    """Return the stage of a pod that took longest; where the rest went is in the trace."""
    of_pod = [stage for stage in stages if stage.name.startswith("pod.")]
    longest = max(of_pod, key=lambda stage: stage.duration_ns, default=None)
    return f"{plain(longest.name.removeprefix('pod.'))} {longest.duration_ns / 1e6:.3f}" if longest else None


def _limit(text: str) -> int:
    return whole(text, 1, SHOWN_AT_MOST)


def _ms(text: str) -> str:
    """Return what is asked of the hub as it was written, once it is a number that the hub can take."""
    number(text, 0.0)
    return text
