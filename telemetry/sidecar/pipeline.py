"""The way of a record and of a span through the sidecar: count, decide, turn into spans, redact, queue for export.

It knows no clock and no socket: what comes in comes with the time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from policies.snapshot import Objective
from telemetry.conventions import (
    SIDECAR_RECORDS,
    SIDECAR_REDACTED,
    SIDECAR_UNDECIDED,
    Attribute,
)
from telemetry.materialise import spans_of
from telemetry.records import Frame, GatewayRequest, PodBatch, PodLoad, PodRequest, Record
from telemetry.sidecar.burn_rates import BurnRates
from telemetry.sidecar.counting import Counting
from telemetry.sidecar.drops import Drops
from telemetry.sidecar.export_queue import ExportQueue
from telemetry.sidecar.frames import BadPacket, read_frame
from telemetry.sidecar.judgement import Judge, Kept
from telemetry.sidecar.kept import Keep, KeepList, Keeps, KeptTraces
from telemetry.sidecar.redaction import Redactor
from telemetry.sidecar.samples import Sample
from telemetry.sidecar.undecided import Held, Recorded, Undecided
from telemetry.span import Span

LEFT_OUT = "left_out"
"""The fate of what was not kept because nothing spoke for it: sampling, not loss."""
SPANS = "spans"
BATCHES = "batches"
_KINDS = {GatewayRequest: "gateway_requests", PodRequest: "pod_requests", PodBatch: BATCHES, PodLoad: "loads"}


class Pipeline:
    """What one sidecar knows and does with it.

    Args:
        redactor: what may leave.
        queue: where what is kept goes; None where nothing is exported.
        drops: where losses are counted.
        keep_list: where the gateway's sidecar tells the pods' what it kept; None in a pod's.
    """

    def __init__(self, redactor: Redactor, queue: ExportQueue | None, drops: Drops, keep_list: KeepList | None) -> None:
        self._redactor = redactor
        self._queue = queue
        self._drops = drops
        self._keep_list = keep_list
        self._judge = Judge()
        self._counting = Counting()
        self._burn_rates = BurnRates()
        self._undecided = Undecided()
        self._kept = KeptTraces()
        self._fates: Counter[tuple[str, str]] = Counter()

    def heed(self, objectives: Mapping[str, Sequence[Objective]]) -> None:
        """Judge and count by these objectives from now on."""
        self._judge.heed(objectives)
        self._burn_rates.heed(objectives)

    def take_packet(self, packet: bytes | memoryview, now_s: float, wall_s: float) -> None:
        """Take what a recorder sent.

        Args:
            now_s: monotonic, as all times here.
            wall_s: seconds since the epoch.
        """
        try:
            frame = read_frame(packet)
        except BadPacket:
            self._drops.add("packets", "bad")
            return
        self._drops.heed(frame)
        # What is held must not hold its whole packet.
        origin = replace(frame, dropped={}, records=())
        for record in frame.records:
            self._counting.count(frame.source, record)
            if isinstance(record, PodRequest):
                self._burn_rates.count(frame, record, wall_s)
            self._decide(origin, record, now_s)

    def take_spans(self, spans: Sequence[Span], now_s: float) -> None:
        """Take spans that somebody else made; they go the way of their trace."""
        of_trace: defaultdict[str, list[Span]] = defaultdict(list)
        for span in self._redactor.foreign(spans):
            of_trace[span.trace_id].append(span)
        for trace_id, together in of_trace.items():
            held = Held(tuple(together), frozenset((trace_id,)), trace_id)
            # A trace that begins here is nobody else's to decide on.
            why = None if all(span.parent_id for span in together) else self._judge.judge_trace(trace_id, now_s)
            if why is None:
                self._follow(held, now_s)
            else:
                self._keep(held, why, now_s)

    def take_keeps(self, keeps: Keeps, now_s: float) -> None:
        """Keep what the gateway's sidecar keeps."""
        for keep in keeps.traces:
            self._spread(keep.trace_id, keep.why, now_s)

    def keeps_after(self, number: int, now_s: float) -> Keeps | None:
        """Return what the pods' sidecars are to keep; None in one of theirs."""
        return None if self._keep_list is None else self._keep_list.after(number, now_s)

    def give_up(self, now_s: float, is_heard: bool) -> None:
        """Give up what waited too long for its trace.

        Args:
            is_heard: the gateway's sidecar tells what it keeps, so what it did not name it left out; where nobody
                tells, something may be missing, and is counted as lost.
        """
        for held in self._undecided.expired(now_s):
            if is_heard:
                self._fates[_kind(held), LEFT_OUT] += held.weight
            else:
                self._drops.add(_kind(held), "undecided", held.weight)

    def samples(self, wall_s: float) -> Iterator[Sample]:
        """Yield the metrics of what was counted and of what became of it."""
        yield from self._counting.samples()
        yield from self._burn_rates.samples(wall_s)
        for (kind, fate), count in self._fates.items():
            yield Sample(SIDECAR_RECORDS, (kind, fate), float(count))
        yield Sample(SIDECAR_UNDECIDED, (), float(self._undecided.weight))
        yield Sample(SIDECAR_REDACTED, (), float(self._redactor.taken))

    def _decide(self, origin: Frame, record: Record, now_s: float) -> None:
        held = _held(origin, record)
        model = record.model if isinstance(record, GatewayRequest) else origin.source.model
        why = self._judge.judge(record, model, now_s)
        if why is None:
            self._follow(held, now_s)
            return
        if self._keep_list is not None and why is not Kept.SHARE:
            self._keep_list.add(Keep(held.trace_id, why), now_s)
        self._keep(held, why, now_s)

    def _follow(self, held: Held, now_s: float) -> None:
        """Keep what a trace that is kept speaks for; let wait what one may still speak for."""
        for trace_id in held.traces:
            why = self._kept.why(trace_id)
            if why is not None:
                self._keep(held, why, now_s)
                return
        if self._keep_list is not None and isinstance(held.matter, Recorded):
            self._fates[_kind(held), LEFT_OUT] += 1  # whoever may speak for it asks here
            return
        for given_up in self._undecided.hold(held, now_s):
            self._drops.add(_kind(given_up), "no_room", given_up.weight)

    def _keep(self, held: Held, why: Kept, now_s: float) -> None:
        """Export one thing and what waited for its trace."""
        own = Kept.LINKED if _kind(held) == BATCHES else why
        self._fates[_kind(held), own] += held.weight
        self._export(held.matter, own, now_s)
        self._spread(held.trace_id, own, now_s)

    def _spread(self, trace_id: str, why: Kept, now_s: float) -> None:
        """Let all that waits for a trace be kept; a batch brings the spans of its own trace along, and no members."""
        self._kept.note(trace_id, why, now_s)
        for held in self._undecided.release(trace_id):
            self._keep(held, why, now_s)

    def _export(self, matter: Recorded | tuple[Span, ...], why: Kept, now_s: float) -> None:
        if self._queue is None:
            return
        if isinstance(matter, tuple):
            self._queue.put(matter, now_s)
            return
        first, *others = self._redactor.own(spans_of(matter.origin, matter.record))
        first = replace(first, attributes={**first.attributes, Attribute.KEPT: why.value})
        self._queue.put((first, *others), now_s)
        self._counting.show(matter.origin, matter.record)


def _held(origin: Frame, record: Record) -> Held:
    """Return a record with the traces that speak for it: for a batch its members'."""
    matter = Recorded(origin, record)
    if isinstance(record, PodBatch):
        own = record.times.trace_id
        return Held(matter, frozenset((own, *(member.trace_id for member in record.members))), own)
    return Held(matter, frozenset((record.trace_id,)), record.trace_id)


def _kind(held: Held) -> str:
    """Return what something is called in metrics."""
    return SPANS if isinstance(held.matter, tuple) else _KINDS[type(held.matter.record)]
