"""What waits to be exported is bounded, goes in its order, and each answer has its meaning."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.otlp.decode import decode_protobuf
from telemetry.otlp.encode import encode_spans
from telemetry.sidecar import export_queue as queue_module
from telemetry.sidecar.drops import Drops
from telemetry.sidecar.export_queue import (
    FIRST_DELAY_S,
    LONGEST_DELAY_S,
    LONGEST_RETRY_AFTER_S,
    PARCEL_AFTER_S,
    PARCEL_BYTES,
    PARCEL_SPANS,
    ExportQueue,
    Fate,
    delay_s,
    fate_of,
    halves,
)
from telemetry.span import Kind, Link, Span


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
    queue.done()
    assert queue.next(1.0, is_ending=True) is None


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


def test_a_parcel_is_closed_by_its_weight_too() -> None:
    queue = ExportQueue(names, Drops())
    large = "x" * (PARCEL_BYTES // 4)
    queue.put(spans(5, large), 0.0)
    first = queue.next(0.0)
    assert first is not None
    assert first.span_count == 3
    assert len(first.body) <= PARCEL_BYTES
    queue.done()
    second = queue.next(0.0, is_ending=True)
    assert second is not None
    assert second.span_count == 2


def test_resources_weigh_too() -> None:
    queue = ExportQueue(names, Drops())
    each = [Span("t", "s", "", "x", Kind.INTERNAL, 0, 1, resource={"a": "y" * (PARCEL_BYTES // 4)}) for _ in range(4)]
    queue.put(each, 0.0)
    first = queue.next(0.0)
    assert first is not None
    assert first.span_count == 3
    shared = ExportQueue(names, Drops())
    shared.put([each[0]] * 4, 0.0)
    assert shared.next(0.0) is None


def test_a_batch_of_many_links_does_not_weigh_a_parcel_down() -> None:
    links = tuple(
        Link(f"{n:032x}", f"{n:016x}", {"penstock.request_id": f"{n:032x}", "penstock.rows": 1}) for n in range(64)
    )
    queue = ExportQueue(encode_spans, Drops())
    queue.put(
        [Span(f"{n + 1:032x}", "a" * 16, "", "pod.batch", Kind.INTERNAL, 1, 2, links=links) for n in range(512)], 0.0
    )
    sent = 0
    while parcel := queue.next(0.0, is_ending=True):
        assert len(parcel.body) <= PARCEL_BYTES
        sent += len(decode_protobuf(parcel.body).spans)  # which takes no more messages than a receiver does
        queue.done()
    assert sent == 512


def test_one_that_is_larger_than_all_room_goes_itself_and_drives_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "QUEUE_BYTES", 100)
    drops = Drops()
    queue = ExportQueue(names, drops)
    queue.put(spans(1, "a"), 0.0)
    assert queue.next(PARCEL_AFTER_S) is not None
    queue.put(spans(1, "b"), 1.0)
    queue.next(1.0 + PARCEL_AFTER_S)
    queue.put(spans(1, "c" * 101), 2.0)
    queue.next(2.0 + PARCEL_AFTER_S)
    assert lost(drops) == {("spans", "too_large"): 1.0}
    assert queue.queued_bytes == 2
    queue.done()
    after = queue.next(3.0)
    assert after is not None
    assert after.body == b"b"


@given(st.integers(2, 40))
def test_a_parcel_that_is_too_large_goes_on_as_two_of_about_the_same_size_in_its_order(count: int) -> None:
    each = [Span("t", "s", "", chr(97 + number % 26), Kind.INTERNAL, 0, 1) for number in range(count)]
    first, second = halves(each, names)
    assert first.body + second.body == names(each)
    assert (first.span_count, second.span_count) == (len(first.body), len(second.body))
    assert 0 <= second.span_count - first.span_count <= 1


def test_what_waits_can_be_taken_to_another_place_and_given_back_in_its_order() -> None:
    queue = ExportQueue(names, Drops())
    queue.put(spans(PARCEL_SPANS, "a"), 0.0)
    sent = queue.next(0.0)
    queue.put([*spans(PARCEL_SPANS, "b"), *spans(2, "c")], 0.0)
    assert [parcel.body[:1] for parcel in queue.take(0.0)] == [b"b"]
    (parcel,) = queue.take(PARCEL_AFTER_S)
    assert (parcel.body, queue.queued_bytes, queue.waiting_spans) == (b"cc", PARCEL_SPANS, PARCEL_SPANS)
    queue.put(spans(1, "d"), 1.0)
    queue.give_back([parcel])
    assert queue.waiting_spans == PARCEL_SPANS + 3
    assert queue.next(1.0) is sent
    queue.done()
    assert queue.next(1.0) == parcel


def test_what_is_given_back_and_finds_no_room_is_the_oldest_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "QUEUE_BYTES", 2 * PARCEL_SPANS)
    drops = Drops()
    queue = ExportQueue(names, drops)
    queue.put(spans(2 * PARCEL_SPANS, "a"), 0.0)
    taken = queue.take(0.0)
    queue.put(spans(PARCEL_SPANS, "b"), 0.0)
    queue.give_back(taken)
    assert lost(drops) == {("spans", "queue_full"): float(PARCEL_SPANS)}
    assert queue.waiting_spans == 2 * PARCEL_SPANS


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
    [(200, Fate.TAKEN), (202, Fate.TAKEN), (400, Fate.REFUSED), (413, Fate.TOO_LARGE), (500, Fate.REFUSED)]
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
