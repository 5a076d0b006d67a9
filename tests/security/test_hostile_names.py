"""Names that somebody makes up grow no page of metrics and no process, and what is beyond a bound is counted as such.

5,000 names of each kind, or as many as ``PENSTOCK_HOSTILE_NAMES`` says: a million in ``make soak``.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from urllib.parse import quote

import httpx
import msgspec
import pytest
import uvloop
from msgspec.structs import replace
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from gateway.control.exposition import expose as expose_mesh
from gateway.control.mesh_facts import MeshFacts
from gateway.control.mesh_metrics import mesh_families
from telemetry.hub.exposition import Exposition
from telemetry.hub.otlp_app import OtlpApp
from telemetry.hub.trace_files import Limits, TraceFiles
from telemetry.hub.writer import Writer
from telemetry.otlp.decode import decode_protobuf
from telemetry.otlp.encode import encode_spans
from telemetry.records import Source
from telemetry.sidecar.counting import OTHER
from telemetry.sidecar.drops import Drops
from telemetry.sidecar.export_queue import ExportQueue
from telemetry.sidecar.exposition import expose as expose_sidecar
from telemetry.sidecar.foreign import by_trace
from telemetry.sidecar.pipeline import Pipeline
from telemetry.sidecar.redaction import Redactor
from telemetry.span import Attributes, Kind, Span
from tests.fakes.pod import echo
from tests.gateway.control.objectives import START_S, engine, requests, tally
from tests.gateway.dataplane.mesh import Mesh, running_mesh
from tests.gateway.policy import KEY
from tests.security.hostile_names import COUNT, names, resident_bytes
from tests.telemetry.sidecar.recording import (
    POD,
    WALL_OFFSET_NS,
    batch_times,
    packet,
    pod_batch,
    pod_request,
    span,
    trace,
)

pytestmark = pytest.mark.timeout(600 + COUNT // 50)

# What a page may hold, in series: far above what a mesh of this size shows, far below what it was sent.
MOST_SERIES = 12_000
# What a process may grow by after its first tenth of the names.
MOST_GROWTH_BYTES = 48 * 2**20
_WALL_S = WALL_OFFSET_NS / 1e9 + 51.0
_AT_ONCE = 200
Page = Callable[[str], tuple[str, bytes]]


class Watched:
    """Memory, from the moment that a tenth of the names has come."""

    def __init__(self) -> None:
        self._seen = 0
        self._before = 0

    def saw(self, count: int) -> None:
        """So many names more have come."""
        self._seen += count
        if not self._before and self._seen * 10 >= COUNT:
            gc.collect()
            self._before = resident_bytes()

    def check(self, what: str) -> None:
        """Memory has not grown with the names."""
        gc.collect()
        grown = resident_bytes() - self._before
        print(f"{what}: {self._seen:,} names, memory grew by {grown / 2**20:.1f} MiB since the first tenth of them")
        assert grown < MOST_GROWTH_BYTES, grown


def series_of(page: Page) -> dict[str, int]:
    """Return how many series each family of a page has, once both formats of it were read and say the same."""
    _, text = page("")
    _, open_text = page("application/openmetrics-text")
    plain, opened = (
        Counter({family.name: len(family.samples) for family in parse(body.decode())})
        for parse, body in ((parse_text, text), (parse_openmetrics, open_text))
    )
    assert "forged" not in plain
    assert "forged" not in opened
    assert sum(opened.values()) <= sum(plain.values())
    return dict(plain)


def check_page(what: str, page: Page) -> dict[str, int]:
    series = series_of(page)
    print(f"{what}: {sum(series.values()):,} series")
    assert 0 < sum(series.values()) < MOST_SERIES
    return series


def labels_of(page: Page, label: str) -> set[str]:
    _, body = page("")
    return {one.labels[label] for family in parse_text(body.decode()) for one in family.samples if label in one.labels}


# --- the gateway: whatever callers say


def heads(of: Sequence[str]) -> Iterable[bytes]:
    """Yield requests that say a name wherever a caller can."""
    for number, name in enumerate(of):
        path = quote(name[:2000], safe="", errors="replace")
        # What a header may hold, and in every twentieth what it may not.
        field = "".join(one for one in name[:2000] if (one.isprintable() and ord(one) < 256) or number % 20 == 0)
        where = (
            f"/predictions/{path}",
            f"/predictions/digits/{path}",
            f"/v2/models/{path}/versions/{path}/infer",
            f"/v2/models/digits/infer?{path}={path}",
            f"/{path}",
        )[number % 5]
        key = KEY if number % 3 else f"msk_{path[:60]}"
        lines = [
            f"{'POST' if number % 7 else path[:30] or 'PUT'} {where} HTTP/1.1",
            "Host: mesh",
            f"Authorization: Bearer {key}",
            f"User-Agent: {field}",
            f"penstock-tenant: {field}",
            f"penstock-version: {field}",
            f"x-{number}: {field}",
            f"traceparent: 00-{number + 1:032x}-{number + 1:016x}-01",
            f"tracestate: a={field[:200]}",
            "Content-Length: 2",
        ]
        yield "\r\n".join([*lines, "", "{}"]).encode("latin-1", "replace")


async def ask_all(mesh: Mesh, requests_: Iterable[bytes]) -> Counter[int]:
    """Send each request; return how often each status was answered."""
    statuses: Counter[int] = Counter()
    caller = await mesh.connect()
    for data in requests_:
        try:
            caller.writer.write(data)
            answer = await caller.answer()
        except (OSError, asyncio.IncompleteReadError, EOFError):
            statuses[0] += 1
            answer = None
        if answer is not None:
            statuses[answer.status] += 1
        if answer is None or answer.fields.get("connection") == "close" or answer.status in (400, 431):
            caller.writer.transport.abort()
            mesh.callers.remove(caller)
            caller = await mesh.connect()
    return statuses


def test_what_callers_make_up_is_no_series_of_the_gateway() -> None:
    slos = engine()
    watched = Watched()
    statuses: Counter[int] = Counter()
    wanted = names()

    async def storm() -> None:
        async with running_mesh([echo]) as mesh:
            while some := list(islice(wanted, _AT_ONCE)):
                statuses.update(await ask_all(mesh, heads(some)))
                for told in mesh.gateway.settlement.take_tallies():
                    slos.take(1, told, START_S)
                mesh.gateway.settlement.take_uses()
                watched.saw(len(some))

    uvloop.run(storm())
    assert statuses.total() == COUNT
    assert {200, 401, 404} <= statuses.keys(), statuses
    assert not {500, 502} & statuses.keys(), statuses
    check_page("gateway", lambda accept: expose_mesh(mesh_families(slos, FACTS, START_S), accept))
    models = labels_of(lambda accept: expose_mesh(mesh_families(slos, FACTS, START_S), accept), "model")
    assert models <= {"", "digits", "other"}, models
    watched.check("gateway")


FACTS = MeshFacts(generation=1, worker_restarts=0, pods=(), dropped={}, host_name="here")


def test_more_tenants_than_a_page_has_room_for_are_one_of_that_name() -> None:
    slos, watched = engine(), Watched()
    wanted = names(is_utf8=True)
    while some := list(islice(wanted, _AT_ONCE)):
        slos.take(1, tally(START_S, *(replace(requests(1), tenant=name) for name in some)), START_S)
        watched.saw(len(some))

    def page(accept: str) -> tuple[str, bytes]:
        return expose_mesh(mesh_families(slos, FACTS, START_S), accept)

    check_page("supervisor", page)
    assert OTHER in labels_of(page, "tenant")
    counted = sum(
        one.value
        for family in parse_text(page("")[1].decode())
        for one in family.samples
        if one.name == "penstock_requests_total"
    )
    assert counted == COUNT  # none is lost: what has no name of its own is in "other"
    watched.check("supervisor")


# --- a pod's sidecar: whatever its socket and foreign exporters say


def foreign_span(number: int, name: str) -> Span:
    """Return a span as a handler may name it, with attributes of any name."""
    named: Attributes = {name: 1, f"a.{name}": name, "code.function.name": name, "service.name": name}
    return Span(
        trace(number), span(number), "", name, Kind.INTERNAL, 1, 2, attributes=named, resource={"service.name": name}
    )


def test_whatever_a_sidecar_is_told_is_bounded_and_beyond_that_other() -> None:
    drops, watched = Drops(), Watched()
    queue = ExportQueue(encode_spans, drops)
    pipeline = Pipeline(Redactor(("a.*",)), queue, drops, None, None)
    count = 0
    wanted = names(is_utf8=True)
    while some := list(islice(wanted, _AT_ONCE)):
        now_s = count / 1000
        for name in some:
            count += 1
            batch = batch_times(count)
            told = replace(pod_request(count, status=500, batch=batch, tenant=name), reason=name)
            copied = pod_request(count, batch=batch, tenant=name, shadow=name)
            source = POD if count % 2 else Source(name, name, 1, name, name)
            packet_ = packet(source, told, copied, pod_batch(batch, told), dropped={name: 1})
            pipeline.take_packet(packet_, now_s, _WALL_S)
        pipeline.take_spans(by_trace([foreign_span(count + at, name) for at, name in enumerate(some)]), now_s)
        pipeline.give_up(now_s)
        watched.saw(len(some))
        while parcel := queue.next(now_s, is_ending=True):
            decode_protobuf(parcel.body)
            queue.done()

    def page(accept: str) -> tuple[str, bytes]:
        return expose_sidecar([*pipeline.samples(_WALL_S), *drops.samples()], accept)

    check_page("sidecar", page)
    for label in ("model", "reason", "tenant", "shadow"):
        assert OTHER in labels_of(page, label), label
    watched.check("sidecar")


# --- the hub: whatever any exporter says


def test_whatever_the_hub_is_told_is_stored_within_its_bytes_and_is_no_series(tmp_path: Path) -> None:
    max_bytes = 64 * 2**20
    store = Writer(TraceFiles(tmp_path, Limits(86_400 * 365 * 100, max_bytes)), lambda: None)
    store.start()
    page = Exposition(store.counts, lambda: 0)
    watched = Watched()
    wanted = names(is_utf8=True)

    async def storm() -> None:
        app = OtlpApp(store.put, page.told)
        headers = {"content-type": "application/x-protobuf"}
        count = 0
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hub") as client:
            while some := list(islice(wanted, _AT_ONCE)):
                body = encode_spans([foreign_span(count + at + 1, name[:4096]) for at, name in enumerate(some)])
                count += len(some)
                while (await client.post("/v1/traces", headers=headers, content=body)).status_code != 200:  # noqa: ASYNC110 - as a sender does that is told to come again
                    await asyncio.sleep(0.05)
                watched.saw(len(some))
        app.close()

    asyncio.run(storm())
    store.close(300)
    check_page("hub", page.expose)
    counts = store.counts()
    assert counts.stored + sum(counts.lost.values()) == COUNT
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 2 * max_bytes
    watched.check("hub")


def test_the_names_are_what_they_should_be() -> None:
    some = list(names(2300))
    assert len(set(some)) == 2300 - 99
    assert max(map(len, some)) == 64 * 2**10
    assert any("\n" in name for name in some)
    with pytest.raises(UnicodeEncodeError):
        msgspec.json.encode("\ud800")
