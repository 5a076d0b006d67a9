"""What waits to be exported is bounded, goes in its order, and each answer has its meaning."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.sidecar import export_queue as queue_module
from telemetry.sidecar.drops import Drops
from telemetry.sidecar.export_queue import (
    FIRST_DELAY_S,
    LONGEST_DELAY_S,
    LONGEST_RETRY_AFTER_S,
    PARCEL_AFTER_S,
    PARCEL_SPANS,
    ExportQueue,
    Fate,
    delay_s,
    fate_of,
)
from telemetry.span import Kind, Span


def spans(count: int, name: str = "x") -> list[Span]:
    return [Span("t", "s", "", name, Kind.INTERNAL, 0, 1)] * count


def names(spans: Sequence[Span]) -> bytes:
    """Encode as one byte a span."""
    return "".join(span.name for span in spans).encode()


def lost(drops: Drops) -> dict[tuple[str, ...], object]:
    return {sample.labels: sample.value for sample in drops.samples()}


def test_spans_wait_a_moment_for_others_unless_the_end_is_near() -> None:
    queue = ExportQueue(names, Drops())
    queue.put(spans(1, "a"), 0.0)
    queue.put(spans(1, "b"), PARCEL_AFTER_S / 2)
    assert queue.next(PARCEL_AFTER_S - 0.01) is None
    parcel = queue.next(PARCEL_AFTER_S)
    assert parcel is not None
    assert (parcel.body, parcel.span_count) == (b"ab", 2)
    queue.done()
    queue.put(spans(1, "c"), 1.0)
    ending = queue.next(1.0, is_ending=True)
    assert ending is not None
    assert ending.body == b"c"
    assert not queue.is_empty
    queue.done()
    assert queue.is_empty


def test_a_full_parcel_goes_at_once_and_stays_until_it_is_done_with() -> None:
    queue = ExportQueue(names, Drops())
    queue.put(spans(2 * PARCEL_SPANS + 1), 0.0)
    first = queue.next(0.0)
    assert first is not None
    assert first.span_count == PARCEL_SPANS
    assert queue.next(0.0) is first
    queue.done()
    assert queue.queued_bytes == PARCEL_SPANS
    queue.done()
    assert queue.queued_bytes == PARCEL_SPANS


def test_when_there_is_no_room_the_oldest_go_counted_and_what_is_being_sent_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queue_module, "QUEUE_BYTES", 3 * PARCEL_SPANS)
    drops = Drops()
    queue = ExportQueue(names, drops)
    queue.put(spans(PARCEL_SPANS, "a"), 0.0)
    sent = queue.next(0.0)
    for name in "bcde":
        queue.put(spans(PARCEL_SPANS, name), 0.0)
    assert queue.queued_bytes == 3 * PARCEL_SPANS
    assert lost(drops) == {("spans", "queue_full"): 2.0 * PARCEL_SPANS}
    assert queue.next(0.0) is sent
    queue.done()
    after = queue.next(0.0)
    assert after is not None
    assert after.body[:1] == b"d"


@given(st.lists(st.integers(0, 700), max_size=12))
def test_every_span_goes_once_and_in_its_order(counts: list[int]) -> None:
    queue = ExportQueue(names, Drops())
    put = "".join(chr(97 + number) * count for number, count in enumerate(counts)).encode()
    for number, count in enumerate(counts):
        queue.put(spans(count, chr(97 + number)), 0.0)
    went = b""
    while parcel := queue.next(0.0, is_ending=True):
        assert parcel.span_count == len(parcel.body) <= PARCEL_SPANS
        went += parcel.body
        queue.done()
    assert went == put
    assert queue.queued_bytes == 0


@pytest.mark.parametrize(
    ("status", "fate"),
    [(200, Fate.TAKEN), (202, Fate.TAKEN), (400, Fate.REFUSED), (413, Fate.REFUSED), (500, Fate.REFUSED)]
    + [(status, Fate.AGAIN) for status in (429, 502, 503, 504)]
    + [(status, Fate.REFUSED) for status in (301, 404, 501)],
)
def test_a_status_means_taken_refused_or_again(status: int, fate: Fate) -> None:
    assert fate_of(status) is fate


@given(st.integers(1, 10_000), st.floats(0.0, 1.0))
def test_delays_grow_to_a_bound_and_are_spread(failures: int, draw: float) -> None:
    waited_s = delay_s(failures, "", draw)
    assert FIRST_DELAY_S / 2 <= waited_s <= LONGEST_DELAY_S
    assert delay_s(failures + 1, "", draw) >= waited_s


@pytest.mark.parametrize(
    ("retry_after", "waited_s"),
    [
        ("7", 7.0),
        ("0", FIRST_DELAY_S),
        ("3600", LONGEST_RETRY_AFTER_S),
        ("Wed, 21 Oct 2026 07:28:00 GMT", FIRST_DELAY_S),
        ("-7", FIRST_DELAY_S),
        ("٧", FIRST_DELAY_S),
        ("9" * 400, FIRST_DELAY_S),
    ],
)
def test_a_receiver_that_names_seconds_gets_them_within_a_bound(retry_after: str, waited_s: float) -> None:
    assert delay_s(1, retry_after, draw=1.0) == waited_s
