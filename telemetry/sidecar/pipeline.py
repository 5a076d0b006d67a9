"""The way of a record and of a span through the sidecar: count, decide, turn into spans, redact, queue for export.

It knows no clock and no socket: what comes in comes with the time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from policies.snapshot.slos import Objective
from telemetry.conventions import (
    SIDECAR_RECORDS,
    SIDECAR_REDACTED,
    SIDECAR_UNDECIDED,
    Attribute,
)
from telemetry.materialise import spans_of
from telemetry.records import GatewayCopy, GatewayRequest, PodBatch, PodLoad, PodRequest, PodSummary, Record
from telemetry.sidecar.burn_rates import BurnRates
from telemetry.sidecar.counting import Counting
from telemetry.sidecar.drift_book import DriftBook
from telemetry.sidecar.drops import Drops
from telemetry.sidecar.export_queue import ExportQueue
from telemetry.sidecar.foreign import ForeignTrace
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
REQUESTS = ("gateway_requests", "pod_requests", "copies")
# What a record takes in memory, by what it takes in its packet.
_PACKED_TO_HELD = 4
_KINDS = {
    GatewayRequest: REQUESTS[0],
    PodRequest: REQUESTS[1],
    GatewayCopy: REQUESTS[2],
    PodBatch: BATCHES,
    PodLoad: "loads",
}


class Pipeline:
    """What one sidecar knows and does with it.

    Args:
        redactor: cuts what our own processes recorded.
        queue: where what is kept goes; None where nothing is exported.
        drops: where losses are counted.
        keep_list: where the gateway's sidecar tells the pods' what it kept; None in a pod's.
        is_gateway_heard: whether the gateway's sidecar tells what it keeps; None where it is not asked.
        drift_book: where summaries of rows are counted; None where nobody wants them.
    """

    def __init__(
        self,
        redactor: Redactor,
        queue: ExportQueue | None,
        drops: Drops,
        keep_list: KeepList | None,
        is_gateway_heard: Callable[[], bool] | None = None,
        drift_book: DriftBook | None = None,
    ) -> None:
        self._redactor = redactor
        self._queue = queue
        self._drops = drops
        self._keep_list = keep_list
        self._is_gateway_heard = is_gateway_heard
        self._drift_book = drift_book
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
        size_bytes = _PACKED_TO_HELD * len(packet) // max(1, len(frame.records))
        for record in frame.records:
            if isinstance(record, PodSummary):
                self._take_summary(record, frame.wall_offset_ns, wall_s)
                continue
            self._counting.count(frame.source, record)
            if isinstance(record, PodRequest) and not record.shadow:
                self._burn_rates.count(frame, record, wall_s)
            elif isinstance(record, PodLoad):
                self._burn_rates.count_load(frame, record, wall_s)
            self._decide(Recorded(origin, record), size_bytes, now_s)

    def _take_summary(self, summary: PodSummary, wall_offset_ns: int, wall_s: float) -> None:
        if self._drift_book is None:
            self._drops.add("summaries", "unwatched")
        else:
            self._drift_book.take(summary, wall_offset_ns * 1e-9 + summary.ended_s, wall_s)

    def take_spans(self, traces: Sequence[ForeignTrace], now_s: float) -> None:
        """Take spans that somebody else made, redacted; they go the way of their trace."""
        for trace in traces:
            held = Held(trace.spans, frozenset((trace.trace_id,)), trace.trace_id, trace.size_bytes)
            why = self._judge.judge_trace(trace.trace_id, now_s) if trace.begins else None
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

    def give_up(self, now_s: float, is_ending: bool = False) -> None:
        """Decide on what waited long enough for its trace; at the end everything has.

        What the gateway's sidecar did not name it left out. While nobody tells, each is decided on by itself, and what
        does not speak for itself may be missing elsewhere: it is counted as lost.
        """
        is_silent = self._is_gateway_heard is not None and not self._is_gateway_heard()
        waited = list(self._undecided.expired(math.inf if is_ending else now_s))
        if is_silent:
            for held in waited:
                if held.why is not None:
                    self._keep(held, held.why, now_s)
            waited = [held for held in waited if held.why is None]
        for held in waited:
            if self._is_joined(held, now_s):
                continue
            if is_silent:
                self._drops.add(_kind(held), "undecided", held.weight)
            else:
                self._fates[_kind(held), LEFT_OUT] += held.weight

    @property
    def fates(self) -> dict[str, dict[str, int]]:
        """What became of everything, by what it was: why it was kept, or that it was left out."""
        fates: dict[str, dict[str, int]] = {}
        for (kind, fate), count in self._fates.items():
            fates.setdefault(kind, {})[str(fate)] = count
        return fates

    @property
    def undecided(self) -> int:
        """How much waits for what becomes of its trace."""
        return self._undecided.weight

    def samples(self, wall_s: float) -> Iterator[Sample]:
        """Yield the metrics of what was counted and of what became of it."""
        yield from self._counting.samples()
        yield from self._burn_rates.samples(wall_s)
        for (kind, fate), count in self._fates.items():
            yield Sample(SIDECAR_RECORDS, (kind, fate), float(count))
        yield Sample(SIDECAR_UNDECIDED, (), float(self._undecided.weight))
        yield Sample(SIDECAR_REDACTED, (), float(self._redactor.taken))

    def _decide(self, recorded: Recorded, size_bytes: int, now_s: float) -> None:
        record = recorded.record
        model = record.model if isinstance(record, GatewayRequest | GatewayCopy) else recorded.origin.source.model
        why = self._judge.judge(record, model, now_s)
        held = _held(recorded, size_bytes, why)
        if why is None or self._is_others_to_say(record):
            self._follow(held, now_s)
        else:
            self._keep(held, why, now_s)

    def _is_others_to_say(self, record: Record) -> bool:
        """Whether the gateway's sidecar decides on a pod's record, so that both keep their half of a trace or neither.

        The share is known to both, and what came without a parent came by no gateway.
        """
        if not isinstance(record, PodRequest) or record.sampled or not record.parent_id:
            return False
        return self._is_gateway_heard is not None and self._is_gateway_heard()

    def _follow(self, held: Held, now_s: float) -> None:
        """Keep what a trace that is kept speaks for; let wait what one may still speak for."""
        if self._is_joined(held, now_s):
            return
        for given_up in self._undecided.hold(held, now_s):
            if self._keep_list is not None and _kind(given_up) in REQUESTS:
                self._fates[_kind(given_up), LEFT_OUT] += 1  # nobody but this sidecar would have spoken for it
            else:
                self._drops.add(_kind(given_up), "no_room", given_up.weight)

    def _is_joined(self, held: Held, now_s: float) -> bool:
        """Whether a trace that is kept speaks for this, which is then dealt with."""
        for trace_id in held.traces:
            why = self._kept.why(trace_id)
            if why is not None:
                self._join(held, trace_id, why, now_s)
                return True
        return False

    def _join(self, held: Held, trace_id: str, why: Kept, now_s: float) -> None:
        """Keep something for the sake of a trace, unless that has brought enough requests along."""
        if _kind(held) in REQUESTS and not self._kept.joins(trace_id):
            self._fates[_kind(held), LEFT_OUT] += 1
        else:
            self._keep(held, why, now_s)

    def _keep(self, held: Held, why: Kept, now_s: float) -> None:
        """Export one thing and what waited for its trace; tell pods of what they cannot know."""
        own = Kept.LINKED if _kind(held) == BATCHES else why
        if self._keep_list is not None and _is_unsampled_request(held):
            self._keep_list.add(Keep(held.trace_id, own), now_s)
        self._fates[_kind(held), own] += held.weight
        self._export(held.matter, own, now_s)
        self._spread(held.trace_id, own, now_s)

    def _spread(self, trace_id: str, why: Kept, now_s: float) -> None:
        """Let all that waits for a trace be kept; a batch brings the spans of its own trace along, and no members."""
        self._kept.note(trace_id, why, now_s)
        for held in self._undecided.release(trace_id):
            self._join(held, trace_id, why, now_s)

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


def _held(recorded: Recorded, size_bytes: int, why: Kept | None) -> Held:
    """Return a record with the traces that speak for it: for a batch its members'."""
    record = recorded.record
    if isinstance(record, PodBatch):
        own = record.times.trace_id
        traces = frozenset((own, *(member.trace_id for member in record.members)))
        return Held(recorded, traces, own, size_bytes, why)
    return Held(recorded, frozenset((record.trace_id,)), record.trace_id, size_bytes, why)


def _is_unsampled_request(held: Held) -> bool:
    """Whether this is a request that pods, which go by its flag, do not keep by themselves."""
    record = held.matter.record if isinstance(held.matter, Recorded) else None
    return isinstance(record, GatewayRequest) and not record.sampled


def _kind(held: Held) -> str:
    """Return what something is called in metrics."""
    return SPANS if isinstance(held.matter, tuple) else _KINDS[type(held.matter.record)]
