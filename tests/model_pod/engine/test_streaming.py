"""A true inference process whose handler streams: pieces, credit, callers who leave, and rows that run once."""

from __future__ import annotations

from pathlib import Path

from model_pod.engine.archive import open_archive
from model_pod.wire.inference import PIECE_BYTES, STREAM_WINDOW_BYTES, Gone, Loaded, Partial, Ran, Run, Taken
from model_pod.wire.rows import Part, PartKind, Row, RowAnswer, RowRefused, Tensor
from tests.fakes.archives.layout import archive_files, write_directory
from tests.fakes.streams import HANDLER, Asked
from tests.model_pod.engine.process import Engine, engine

RECORDED = Path(__file__).parents[2] / "conformance" / "torchserve" / "archives" / "stream"


def order(*asked: Asked, batch_id: int = 7) -> tuple[Run, list[bytes]]:
    """Return a batch of these requests."""
    rows = tuple(Row(one.name, parts=(Part("body", PartKind.BYTES, index),)) for index, one in enumerate(asked))
    return Run(batch_id, rows), [one.body() for one in asked]


def read_batch(inference: Engine) -> tuple[dict[int, bytes], Ran]:
    """Read a batch to its end, and give credit for every piece; return what each row got before the outcome."""
    got: dict[int, bytes] = {}
    while True:
        message, blobs = inference.receive()
        if isinstance(message, Ran):
            return got, message
        assert isinstance(message, Partial)
        for piece in message.pieces:
            content = bytes(blobs[piece.blob])
            got[piece.row] = got.get(piece.row, b"") + content
            inference.send(Taken(message.batch_id, piece.row, len(content)))


def load(inference: Engine, tmp_path: Path) -> Path:
    """Load the handler; return its ledger."""
    ledger = tmp_path / "ledger.txt"
    handler = HANDLER.format(ledger=str(ledger))
    assert isinstance(inference.load(write_directory(tmp_path / "a", archive_files(handler))), Loaded)
    return ledger


def runs(ledger: Path) -> list[tuple[str, int]]:
    """Return who was run, and with how many rows."""
    words = [line.split() for line in ledger.read_text().splitlines()]
    return [(name, int(rows)) for _, word, name, *rest in words if word == "runs" for rows in rest]


def test_rows_of_a_batch_get_their_own_pieces_and_only_as_far_as_they_have_credit(tmp_path: Path) -> None:
    slow, quick = Asked("s", steps=6, repeat=PIECE_BYTES - 2), Asked("q", steps=6)
    with engine(tmp_path) as inference:
        load(inference, tmp_path)
        inference.send(*order(slow, quick))
        got = {0: b"", 1: b""}
        while len(got[0]) + PIECE_BYTES <= STREAM_WINDOW_BYTES or got[1].count(b" ") < 5:
            message, blobs = inference.receive()
            assert isinstance(message, Partial)
            for piece in message.pieces:
                got[piece.row] += blobs[piece.blob]
        # The fifth piece of the slow row waits; that of its mate has come.
        assert got == {0: slow.answer()[: 4 * PIECE_BYTES], 1: b"q0 q1 q2 q3 q4 "}
        inference.send(Taken(7, 0, len(got[0])))
        rest, ran = read_batch(inference)
        assert [got[row] + rest[row] for row in (0, 1)] == [slow.answer(), quick.answer()]
        assert all(isinstance(outcome, RowAnswer) for outcome in ran.outcomes)
        assert sum(ran.charged_us) == round(ran.device_s * 1e6) > 0


def test_rows_that_sent_a_piece_are_not_run_again_and_the_others_are(tmp_path: Path) -> None:
    with engine(tmp_path) as inference:
        ledger = load(inference, tmp_path)
        # The second step fails; by then only one of the rows has sent a piece.
        begun, one, other = Asked("begun"), Asked("one", steps=0, fails_at=1), Asked("other", steps=0)
        inference.send(*order(begun, one, other))
        got, ran = read_batch(inference)
    assert got == {0: b"begun0 "}
    assert [type(outcome) for outcome in ran.outcomes] == [RowRefused, RowAnswer, RowAnswer]
    assert runs(ledger) == [("begun", 3), ("one", 3), ("other", 3), ("one", 1), ("other", 1)]


def test_a_batch_that_nobody_waits_for_ends_early_and_is_charged_what_it_ran(tmp_path: Path) -> None:
    endless = Asked("endless", steps=1_000_000, pause_s=0.001)
    with engine(tmp_path) as inference:
        ledger = load(inference, tmp_path)
        inference.send(*order(endless, endless))
        inference.receive()
        inference.send(Gone(7, (0, 1)))
        _, ran = read_batch(inference)
        assert 0 < sum(ran.charged_us) < 10_000_000
        assert (ran.runs, "Traceback" in (tmp_path / "stderr.log").read_text()) == (1, False)
        assert "nobody" in ledger.read_text()
        inference.send(*order(Asked("next"), batch_id=8))
        assert read_batch(inference)[0] == {0: Asked("next").answer()}


def test_a_row_whose_caller_left_before_its_batch_began_is_not_run(tmp_path: Path) -> None:
    with engine(tmp_path) as inference:
        ledger = load(inference, tmp_path)
        inference.send(*order(Asked("first", pause_s=0.1)))
        inference.send(*order(Asked("left"), Asked("stays"), batch_id=8))
        inference.send(*order(Asked("all-left"), batch_id=9))
        inference.send(Gone(8, (0,)))
        inference.send(Gone(9, (0,)))
        read_batch(inference)
        got, ran = read_batch(inference)
        assert got == {1: Asked("stays").answer()}
        assert ran.charged_us[0] == 0 < ran.charged_us[1]
        assert read_batch(inference)[1].runs == 0
    assert [name for name, _ in runs(ledger)] == ["first", "stays"]


def test_the_recorded_archive_sends_what_torchserve_s_clients_saw(tmp_path: Path) -> None:
    with engine(tmp_path) as inference:
        assert isinstance(inference.load(open_archive(RECORDED, tmp_path / "extracted").directory), Loaded)
        inference.send(*order(Asked("x")))
        message, blobs = inference.receive()
        assert isinstance(message, Partial)
        (piece,) = message.pieces
        assert piece.head is not None
        assert (piece.head.status, piece.head.headers, bytes(blobs[0])) == (200, (("x-chunk", "0"),), b"c0 ")
        got, ran = read_batch(inference)
        assert got == {0: b"c1 c2 last"}
        inference.send(*order(Asked("boom")))
        got, ran = read_batch(inference)
    assert got == {0: b"c0 c1 c2 "}
    assert ran.outcomes == (RowRefused("handler_failed", "RuntimeError: mid-stream"),)


TENSORS = """
from ts.handler_utils.utils import send_intermediate_predict_response

def handle(data, context):
    if data is None:
        return None
    send_intermediate_predict_response(["early"] * len(data), context.request_ids, "", 200, context)
    return [row["x"] for row in data]
"""


def test_rows_of_tensors_are_answered_whole(tmp_path: Path) -> None:
    with engine(tmp_path) as inference:
        assert isinstance(inference.load(write_directory(tmp_path / "a", archive_files(TENSORS))), Loaded)
        inference.send(Run(7, (Row("r", tensors=(Tensor("x", "UINT8", (2,), 0),)),)), [b"12"])
        got, ran = read_batch(inference)
    (outcome,) = ran.outcomes
    assert isinstance(outcome, RowAnswer)
    assert (got, [tensor.shape for tensor in outcome.tensors]) == ({}, [(2,)])


BAD_PIECES = """
import json
from ts.handler_utils.utils import send_intermediate_predict_response

def handle(data, context):
    if data is None:
        return None
    asked = [json.loads(bytes(row["body"]))["name"] for row in data]
    if "code" in asked:
        send_intermediate_predict_response([""], context.request_ids, "no such thing", 404, context)
    if "bodyless" in asked:
        context.set_response_status(204)
    if "unsendable" in asked:
        send_intermediate_predict_response([{1, 2}] * len(data), context.request_ids, "", 200, context)
    send_intermediate_predict_response(["x"] * len(data), context.request_ids, "", 200, context)
    return [{1, 2} if "last" in asked else "y" for _ in data]
"""


def test_what_cannot_be_sent_refuses_its_row_or_cuts_it(tmp_path: Path) -> None:
    seen = {}
    with engine(tmp_path) as inference:
        assert isinstance(inference.load(write_directory(tmp_path / "a", archive_files(BAD_PIECES))), Loaded)
        for name in ("code", "bodyless", "unsendable", "last", "good"):
            inference.send(*order(Asked(name)))
            got, ran = read_batch(inference)
            (outcome,) = ran.outcomes
            seen[name] = got.get(0), outcome.reason if isinstance(outcome, RowRefused) else "", outcome.status
    assert seen == {
        "code": (None, "row_refused", 404),
        "bodyless": (None, "handler_failed", 0),
        "unsendable": (None, "handler_failed", 0),
        "last": (b"x", "bad_output", 0),
        "good": (b"xy", "", 200),
    }
