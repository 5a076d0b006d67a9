from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import msgspec

from model_pod.engine.row_watch import MOST_PER_S, ROW_BYTES, TELL_EVERY_S, RowWatch
from model_pod.wire.inference import Summarised, Watch, WatchedPart
from model_pod.wire.rows import Part, PartKind, Row, RowAnswer, RowOutcome, RowRefused, Tensor
from telemetry.drift.fields import Field, is_field

AGE, LABEL = WatchedPart("/age"), WatchedPart("/label")
BODY = Row("r", parts=(Part("body", PartKind.JSON, 0),))


class Now:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


def watch_of(share: float = 1.0, draw: Callable[[], float] = lambda: 0.0) -> tuple[RowWatch, Now]:
    now = Now()
    watch = RowWatch(now, draw)
    assert watch.heed(Watch(share, (AGE,), (LABEL,))) is None
    return watch, now


def see(watch: RowWatch, body: bytes, answer: bytes, row: Row = BODY, outcome: RowOutcome | None = None) -> None:
    watch.see([row], [body], [outcome or RowAnswer(blob=0)], [answer], lambda place: True)


def fields(summarised: Summarised | None) -> dict[str, Field]:
    assert summarised is not None
    # As it travels: to the server, and from there on to the sidecar.
    told = msgspec.msgpack.decode(msgspec.msgpack.encode(summarised), type=Summarised)
    read = {f"{side} {path}": msgspec.convert(packed, Field, strict=False) for side, path, packed in told.parts}
    assert all(is_field(field) for field in read.values())
    return read


def test_rows_are_summarised_part_by_part() -> None:
    watch, _ = watch_of()
    see(watch, b'{"age": 41}', b'{"label": 3}')
    see(watch, b'{"age": 43}', b'{"label": 3}')
    told = fields(watch.take())
    assert told["input /age"].measures["value"].count == 2
    assert told["output /label"].classes == {"3": 2}
    assert watch.take() is None


def test_tensors_are_found_by_their_name() -> None:
    watch = RowWatch(Now(), lambda: 0.0)
    watch.heed(Watch(1.0, (WatchedPart("/pixels"),), (LABEL,)))
    row = Row("r", tensors=(Tensor("pixels", "FP32", (2,), 0),))
    answer = RowAnswer(tensors=(Tensor("label", "INT64", (), 0),))
    see(watch, struct.pack("<2f", 0.5, 1.5), struct.pack("<q", 7), row, answer)
    told = fields(watch.take())
    assert told["input /pixels"].kinds == {"fp32": 1}
    assert told["output /label"].classes == {"7": 1}


def test_a_forms_fields_are_found_by_their_name() -> None:
    watch = RowWatch(Now(), lambda: 0.0)
    watch.heed(Watch(1.0, (WatchedPart("/image"),), ()))
    see(watch, b"\x89PNG", b"x", Row("r", parts=(Part("image", PartKind.BYTES, 0),)))
    assert fields(watch.take())["input /image"].kinds == {"bytes": 1}


def test_only_the_share_is_summarised() -> None:
    draws = iter([0.05, 0.2, 0.0999, 0.1])
    watch, _ = watch_of(0.1, lambda: next(draws))
    for _ in range(4):
        see(watch, b'{"age": 41}', b'{"label": 3}')
    assert fields(watch.take())["input /age"].rows == 2


def test_refused_rows_and_errors_of_a_handler_are_left_out() -> None:
    watch, _ = watch_of()
    see(watch, b"{}", b"{}", outcome=RowRefused("bad_input", "no"))
    see(watch, b"{}", b"{}", outcome=RowAnswer(status=422, blob=0))
    assert watch.take() is None


def test_of_a_streamed_answer_and_of_an_explanation_only_the_input_counts() -> None:
    watch, _ = watch_of()
    watch.see([BODY], [b'{"age": 41}'], [RowAnswer(blob=0)], [b'{"label": 3}'], lambda place: False)
    see(watch, b'{"age": 41}', b'{"label": 3}', Row("r", parts=BODY.parts, explain=True))
    told = fields(watch.take())
    assert (told["input /age"].rows, told["output /label"].rows) == (2, 0)


def test_large_rows_and_too_many_are_counted_and_not_read() -> None:
    watch, now = watch_of()
    see(watch, b" " * (ROW_BYTES + 1), b'{"label": 3}')
    assert fields(watch.take())["input /age"] == Field(unread=1)
    for _ in range(int(MOST_PER_S) + 10):
        see(watch, b'{"age": 41}', b'{"label": 3}')
    told = fields(watch.take())["input /age"]
    assert (told.rows, told.unread) == (int(MOST_PER_S), 10)
    now.s += 0.0312
    for _ in range(10):
        see(watch, b'{"age": 41}', b'{"label": 3}')
    told = fields(watch.take())["input /age"]
    assert (told.rows, told.unread) == (6, 4)


def test_what_there_is_is_told_after_a_while() -> None:
    watch, now = watch_of()
    assert watch.due_in_s is None
    see(watch, b'{"age": 41}', b'{"label": 3}')
    assert watch.due_in_s == TELL_EVERY_S
    now.s += 10.0
    assert watch.due_in_s == 0.0


def test_another_policy_begins_anew_and_tells_what_was_there() -> None:
    watch, _ = watch_of()
    see(watch, b'{"age": 41}', b'{"label": 3}')
    assert fields(watch.heed(Watch()))["input /age"].rows == 1
    see(watch, b'{"age": 41}', b'{"label": 3}')
    assert watch.take() is None


def test_no_row_can_break_it() -> None:
    watch, _ = watch_of()
    bad: list[tuple[bytes, Any]] = [(b"\xff", b"\xff"), (b"[" * 50_000, b"]"), (b'{"age": 1e999}', b'{"label": NaN}')]
    for body, answer in bad:
        see(watch, body, answer)
    short = Row("r", tensors=(Tensor("x", "FP32", (9,), 0),))
    see(watch, b"\x00", b"{}", short)
    assert fields(watch.take())["input /age"].rows == 4


def test_fewer_large_rows_are_read() -> None:
    watch, now = watch_of()
    large = b'{"age": 41}' + b" " * (ROW_BYTES // 2)
    for _ in range(4):
        see(watch, large, b'{"label": 3}')
    assert fields(watch.take())["input /age"].unread == 0
    see(watch, large, b'{"label": 3}')
    assert fields(watch.take())["input /age"].unread == 1
    now.s += 1.0
    see(watch, large, b'{"label": 3}')
    assert fields(watch.take())["input /age"].rows == 1
