"""Decides how telemetry's own health is shown: what was made, kept, sent and lost, and whether that adds up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from msgspec import Struct

from telemetry.hub.shown.axis import Bar, bar
from telemetry.hub.shown.fleet_answers import Health, HubHealth, Lost, SpansHealth, Telemetry, TelemetrySidecar
from telemetry.hub.shown.formats import count, date, duration, share, size

LEFT_OUT = "left_out"
BEHIND_S = 30.0
"""Spans that wait for longer than this are behind."""
LOSSES = 200
_GATEWAY, _SUPERVISOR = "gateway", "gateway supervisor"
_RECORDS = "records"
RECEIVERS = 3
_KINDS = {
    "gateway_requests": "requests at the gateway",
    "pod_requests": "requests at pods",
    "batches": "batches",
    "copies": "copies for shadows",
    "loads": "loads of models",
    "spans": "handlers’ spans",
}
_WHY = {
    ("spans", "queue_full"): "the receiver took too little, and the oldest went",
    ("spans", "refused"): "the receiver does not want them",
    ("spans", "given_up"): "the receiver said “later” for 300 s",
    ("spans", "abandoned"): "another sidecar left them, and they were too old or too many",
    ("spans", "damaged"): "on disk, and cannot be read any more",
    ("spans", "too_large"): "larger than all that may wait",
    ("spans", "disk"): "the hub’s disk takes nothing",
    ("spans", "damaged_file"): "the hub’s file is damaged, and was set aside",
    ("spans", "trace_too_long"): "of a trace that is too long",
    ("records", "ring_full"): "the recorder’s ring was full: its sidecar was too slow or away",
    ("records", "sidecar"): "its sidecar was gone when the process ended",
    ("records", "sidecar_lost"): "with a sidecar that ended",
    ("records", "too_large"): "larger than a packet may be",
    ("records", "unencodable"): "could not be encoded",
    ("packets", "bad"): "no packet of ours",
    ("rows", "unread"): "rows to summarise: too large, or too many at once",
    ("windows", "another_length"): "policy changed how long windows of drift are",
    ("windows", "damaged_file"): "what drift had counted could not be read at the start",
    ("summaries", "unwatched"): "of a part that policy does not watch any more",
    ("processes", "too_many"): "more processes than are told of",
    ("copies", "away"): "of requests, for shadows and the like: the process that takes them was away",
    ("copies", "behind"): "of requests, for shadows and the like: more came than could be taken",
    ("copies", "too_large"): "of requests, for shadows and the like: a body is larger than what is copied",
    ("requests", "malformed"): "could not be counted",
    ("tallies", "malformed"): "could not be counted: a defect of ours",
    ("slo_events", "unknown_objective"): "of an objective that policy does not have any more",
    ("slo_events", "series_full"): "counted in their objective, but not in its version or tier: no room",
    ("slo_events", "too_late"): "from before any window",
    ("slo_loads", "untold"): "loads that a pod no longer told of when it was asked",
    ("slo_series", "series_full"): "kept of versions and former objectives, and no room for them",
    ("slo_saves", "failed"): "slo.db could not be read or written: a restart would forget",
    ("series", "full"): "metrics have no room for more series",
    ("audit_records", "unavailable"): "the audit log could not be written",
    ("gpu_readings", "failed"): "the driver did not answer a question",
}
_UNDECIDED = {
    "undecided": "nobody said whether their trace is kept",
    "no_room": "too much waited for what becomes of its trace",
}


class SidecarRow(Struct, frozen=True):
    """One sidecar in a line; ``check`` says whether its spans add up.

    Attributes:
        level, says: how it does.
        bar: how full its folder is.
        trouble: why spans wait now, or the latest reason with its moment; "" without one.
    """

    name: str
    level: str
    says: str
    sentence: str
    told: str
    kept: str
    kept_part: str
    came: str
    sent: str
    lost: str
    waiting: str
    check: str
    is_balanced: bool
    bytes: str
    bar: Bar
    lag: str
    taken: str
    trouble: str
    receiver: str
    redacted: str
    suppressed: str


class FateRow(Struct, frozen=True):
    """What became of one kind of record, in all sidecars together."""

    kind: str
    told: str
    kept: str
    bar: Bar
    why: str
    left_out: str


class LossRow(Struct, frozen=True):
    """Something that was lost, where and why."""

    where: str
    what: str
    why: str
    number: str
    amount: int


class HubView(Struct, frozen=True):
    """The hub's own store, as names and values."""

    facts: tuple[tuple[str, str], ...]
    bar: Bar
    level: str
    says: str


class TelemetryView(Struct, frozen=True):
    """The page.

    Attributes:
        total: of all sidecars: came, sent, lost, waiting.
        is_balanced: whether they add up everywhere.
        sentence: that they do, or by how much not.
        receivers: where spans go.
    """

    rows: tuple[SidecarRow, ...]
    fates: tuple[FateRow, ...]
    losses: tuple[LossRow, ...]
    hub: HubView
    total: tuple[tuple[str, str], ...]
    is_balanced: bool
    sentence: str
    receivers: str
    silent: int
    in_trouble: int


def telemetry_view(told: Telemetry) -> TelemetryView:
    """Return the page, sidecars in trouble first."""
    healths = [one.health for one in told.sidecars if one.health is not None]
    rows = sorted((_row(one, told.at_s) for one in told.sidecars), key=_rank)
    spans = [health.spans for health in healths if health.spans is not None]
    off = sum(difference(one) for one in spans)
    wrong = [row.name for row in rows if not row.is_balanced]
    losses = sorted(_losses(told), key=lambda loss: (-loss.amount, loss.where, loss.what))
    return TelemetryView(
        tuple(rows),
        _fates(healths),
        tuple(losses[:LOSSES]),
        _hub(told.hub, told.at_s),
        _total(spans),
        not wrong,
        _sum_sentence(spans, wrong, off),
        ", ".join(sorted({_receiver(one.receiver) for one in spans})[:RECEIVERS]),
        sum(one.health is None for one in told.sidecars),
        sum(row.level in ("page", "ticket") for row in rows),
    )


def difference(spans: SpansHealth) -> int:
    """Return how many spans came and are neither sent, nor lost, nor waiting; 0 where the books balance."""
    return spans.came - spans.sent - sum(spans.lost.values()) - spans.in_memory - spans.on_disk


def _rank(row: SidecarRow) -> tuple[int, bool, str]:
    return (("page", "ticket", "none", "ok").index(row.level), row.name != _GATEWAY, row.name)


def _row(one: TelemetrySidecar, at_s: float) -> SidecarRow:
    health = one.health
    if health is None:
        return _silent(one)
    told, left_out = _told(health.records.values())
    spans = health.spans
    level, says, sentence = _state(spans)
    return SidecarRow(
        one.name,
        level,
        says,
        sentence,
        count(told),
        count(told - left_out),
        share((told - left_out) / told) if told else "–",
        *(_figures(spans) if spans else ("–", "–", "–", "–", "–", True, "–", bar(0.0, 0.0, 1.0), "–")),
        _ago(spans.taken_s, at_s) if spans else "–",
        _trouble(spans, at_s) if spans else "",
        spans.receiver if spans else "nowhere",
        count(health.redacted),
        count(health.log_suppressed),
    )


def _silent(one: TelemetrySidecar) -> SidecarRow:
    figures = ("–", "–", "–", "–", "–", True, "–", bar(0.0, 0.0, 1.0), "–")
    return SidecarRow(one.name, "ticket", "silent", one.error, "–", "–", "–", *figures, "–", "", "–", "–", "–")


def _figures(spans: SpansHealth) -> tuple[str, str, str, str, str, bool, str, Bar, str]:
    waiting, off = spans.in_memory + spans.on_disk, difference(spans)
    whole = f" of {size(spans.most_bytes)}" if spans.most_bytes else " in memory"
    return (
        count(spans.came),
        count(spans.sent),
        count(sum(spans.lost.values())),
        count(waiting),
        "adds up" if off == 0 else f"{count(abs(off))} {'missing' if off > 0 else 'too many'}",
        off == 0,
        f"{size(spans.waiting_bytes)}{whole}",
        bar(0.0, float(spans.waiting_bytes), float(spans.most_bytes or 1)),
        _waits(spans.waited_s) if waiting else "nothing waits",
    )


def _receiver(text: str) -> str:
    """Return where spans go; of a socket its name alone, for its folder says nothing."""
    return f"the socket {text.rpartition('/')[2]}" if text.startswith("unix:") else text


def _waits(waited_s: float) -> str:
    return duration(waited_s) if waited_s >= 1.0 else "under a second"


def _state(spans: SpansHealth | None) -> tuple[str, str, str]:
    """Return how a sidecar does: a level, a word and a sentence."""
    if spans is None:
        return "none", "counts only", "Spans go nowhere: it was started without --export. Counts are not affected."
    if difference(spans):
        return "page", "does not add up", "Spans came that are neither sent, nor lost, nor waiting: a defect of ours."
    if spans.disk_trouble:
        return "ticket", "disk fails", f"The disk keeps nothing ({spans.disk_trouble}), and spans wait in memory."
    if spans.trouble:
        return "ticket", "not taken", "The receiver takes nothing, and spans wait."
    if spans.waited_s > BEHIND_S:
        return "ticket", "behind", "The receiver takes less than comes."
    return "ok", "sends", "What is kept reaches its receiver."


def _trouble(spans: SpansHealth, at_s: float) -> str:
    if not spans.last_trouble:
        return ""
    return f"{spans.last_trouble}, {_ago(spans.last_trouble_s, at_s)}"


def _ago(moment_s: float, at_s: float) -> str:
    return f"{duration(max(0.0, at_s - moment_s))} ago" if moment_s else "never"


def _told(records: Iterable[Mapping[str, int]]) -> tuple[int, int]:
    fates = list(records)
    return sum(sum(fate.values()) for fate in fates), sum(fate.get(LEFT_OUT, 0) for fate in fates)


def _fates(healths: Iterable[Health]) -> tuple[FateRow, ...]:
    sums: dict[str, Counter[str]] = {}
    for health in healths:
        for kind, fates in health.records.items():
            sums.setdefault(kind, Counter()).update(fates)
    ordered = [kind for kind in _KINDS if kind in sums] + sorted(kind for kind in sums if kind not in _KINDS)
    return tuple(_fate(kind, sums[kind]) for kind in ordered)


def _fate(kind: str, fates: Counter[str]) -> FateRow:
    told, left_out = sum(fates.values()), fates[LEFT_OUT]
    why = ", ".join(f"{fate} {count(held)}" for fate, held in fates.most_common() if fate != LEFT_OUT and held)
    ratio = (told - left_out) / told if told else 0.0
    return FateRow(
        _KINDS.get(kind, kind.replace("_", " ")),
        count(told),
        f"{count(told - left_out)} ({share(ratio)})" if told else "0",
        bar(0.0, ratio, 1.0),
        why or "–",
        count(left_out),
    )


def _losses(told: Telemetry) -> list[LossRow]:
    rows = [_loss(one.name, loss) for one in told.sidecars if one.health for loss in one.health.lost if loss.count]
    rows += [_loss(_SUPERVISOR, loss) for loss in _only_there(told) if loss.count]
    return rows + [_loss("hub", Lost("spans", why, held)) for why, held in told.hub.lost.items() if held]


def _only_there(told: Telemetry) -> Iterable[Lost]:
    """Yield what the supervisor lost, less what workers could not hand to their sidecar and that tells as well."""
    healths = (one.health for one in told.sidecars if one.name == _GATEWAY)
    also = {(loss.what, loss.why) for health in healths if health is not None for loss in health.lost}
    return (loss for loss in told.supervisor if loss.what != _RECORDS or (loss.what, loss.why) not in also)


def _loss(where: str, loss: Lost) -> LossRow:
    why = _WHY.get((loss.what, loss.why)) or _UNDECIDED.get(loss.why) or loss.why.replace("_", " ")
    return LossRow(where, loss.what.replace("_", " "), why, count(loss.count), loss.count)


def _total(spans: Iterable[SpansHealth]) -> tuple[tuple[str, str], ...]:
    every = list(spans)
    return (
        ("To be exported", count(sum(one.came for one in every))),
        ("Sent", count(sum(one.sent for one in every))),
        ("Lost", count(sum(sum(one.lost.values()) for one in every))),
        ("Waiting", count(sum(one.in_memory + one.on_disk for one in every))),
        ("On disk and in memory", size(sum(one.waiting_bytes for one in every))),
    )


def _sum_sentence(spans: list[SpansHealth], wrong: list[str], off: int) -> str:
    if not spans:
        return "No sidecar that exports spans answers, so nothing can be added up."
    if wrong:
        return f"Does not add up by {count(abs(off))} spans, in {', '.join(wrong[:5])}: a defect of ours."
    return "Sent + lost + waiting is what was to be exported, in every sidecar that answers."


def _hub(hub: HubHealth, at_s: float) -> HubView:
    lost = sum(hub.lost.values())
    refused = sum(held for status, held in hub.posts.items() if not status.startswith("2"))
    says = "stores" if not lost else "has lost spans"
    facts = (
        ("Spans stored", count(hub.stored)),
        ("Came again", count(hub.repeated)),
        ("Lost", count(lost)),
        ("Waiting to be stored", count(hub.waiting)),
        ("Posts taken", count(sum(hub.posts.values()) - refused)),
        ("Posts turned away", ", ".join(_turned_away(hub.posts)) or "0"),
        ("Files", f"{count(hub.files)}, {size(hub.file_bytes)} of {size(hub.most_bytes)}"),
        ("Damaged files set aside", count(hub.damaged_files)),
        ("Oldest traces", _oldest(hub, at_s)),
        ("Kept for", duration(hub.retain_s)),
        ("Lines of its log held back", count(hub.log_suppressed)),
        ("Runs since", date(hub.started_s)),
    )
    fullness = bar(0.0, float(hub.file_bytes), float(hub.most_bytes or 1))
    return HubView(facts, fullness, "ok" if not lost else "ticket", says)


def _turned_away(posts: Mapping[str, int]) -> Iterable[str]:
    return (f"{count(held)} with {status}" for status, held in sorted(posts.items()) if not status.startswith("2"))


def _oldest(hub: HubHealth, at_s: float) -> str:
    if hub.oldest_s is None:
        return "none stored yet"
    return f"of the hour from {date(hub.oldest_s)}, {duration(max(0.0, at_s - hub.oldest_s))} ago"
