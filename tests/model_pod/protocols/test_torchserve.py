"""TorchServe's table of bodies, row by row, and what its answers may carry."""

from __future__ import annotations

import pytest

from model_pod.protocols.exchange import RowInput, RowOutput
from model_pod.protocols.torchserve import MAX_FORM_FIELDS, NO_CACHE, RequestFacts, decode, encode
from model_pod.wire.refusals import Refused
from model_pod.wire.rows import PartKind, RowAnswer, RowRefused

FORM = "multipart/form-data; boundary=XbX"
_Seen = list[tuple[str, PartKind, bytes]]


def _seen(row: RowInput) -> _Seen:
    return [(part.name, part.kind, bytes(row.blobs[part.blob])) for part in row.row.parts]


@pytest.mark.parametrize(
    ("content_type", "body", "seen"),
    [
        ("", b"hello", [("body", PartKind.BYTES, b"hello")]),
        ("text/plain", b"hello", [("body", PartKind.TEXT, b"hello")]),
        ("Text/Plain; charset=utf-8", b"hello", [("body", PartKind.TEXT, b"hello")]),
        ("text/csv", b"1,2", [("body", PartKind.TEXT, b"1,2")]),
        ("application/json", b'{"a":[1,2]}', [("body", PartKind.JSON, b'{"a":[1,2]}')]),
        ("application/json; charset=utf-8", b"[1", [("body", PartKind.JSON, b"[1")]),
        ("application/octet-stream", b"\x00", [("body", PartKind.BYTES, b"\x00")]),
        ("image/png", b"\x89PNG", [("body", PartKind.BYTES, b"\x89PNG")]),
        ("application/json", b"", [("body", PartKind.BYTES, b"")]),
        (
            "application/x-www-form-urlencoded",
            b"data=x+y%21&b=2",
            [("data", PartKind.BYTES, b"x y!"), ("b", PartKind.BYTES, b"2")],
        ),
        ("application/x-www-form-urlencoded", b"x", []),
        ("application/x-www-form-urlencoded", b"a=1&a=2", [("a", PartKind.BYTES, b"2")]),
    ],
)
def test_a_body_becomes_what_its_content_type_says(content_type: str, body: bytes, seen: _Seen) -> None:
    assert _seen(decode(RequestFacts("r", (), content_type), body)) == seen


def test_a_form_has_its_files_by_their_types_and_its_fields_as_bytes() -> None:
    body = (
        b'--XbX\r\nContent-Disposition: form-data; name="data"; filename="a.txt"\r\n'
        b"Content-Type: text/plain\r\n\r\nT\r\n"
        b'--XbX\r\nContent-Disposition: form-data; name="js"; filename="a.json"\r\n'
        b'Content-Type: application/json\r\n\r\n{"q":1}\r\n'
        b'--XbX\r\nContent-Disposition: form-data; name="img"; filename="a.png"\r\n\r\nJ\r\n'
        b'--XbX\r\nContent-Disposition: form-data; name="field"\r\nContent-Type: text/plain\r\n\r\nF\r\n--XbX--\r\n'
    )
    assert _seen(decode(RequestFacts("r", (), FORM), body)) == [
        ("data", PartKind.TEXT, b"T"),
        ("js", PartKind.JSON, b'{"q":1}'),
        ("img", PartKind.BYTES, b"J"),
        ("field", PartKind.BYTES, b"F"),
    ]


def test_a_repeated_form_field_has_its_last_value() -> None:
    part = b'--XbX\r\nContent-Disposition: form-data; name="a"\r\n\r\n%b\r\n'
    body = part % b"first" + part % b"last" + b"--XbX--"
    assert _seen(decode(RequestFacts("r", (), FORM), body)) == [("a", PartKind.BYTES, b"last")]


def test_the_handler_sees_the_clients_own_spelling_of_headers() -> None:
    headers = (("X-Test", "v"), ("x-other", "w"))
    row = decode(RequestFacts("r", headers, "", "a/b", True), b"x").row
    assert (row.request_id, row.headers, row.url_path, row.explain) == ("r", headers, "a/b", True)


def test_a_form_with_too_many_fields_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        decode(RequestFacts("r", (), "application/x-www-form-urlencoded"), b"a=1&" * (MAX_FORM_FIELDS + 1))
    assert refused.value.reason == "malformed_body"


def test_an_answer_goes_back_as_the_handler_made_it() -> None:
    outcome = RowAnswer(418, "teapot", "text/plain", (("dummy", "1"),), 1)
    answer = encode(RowOutput(outcome, [b"", b"hi"]))
    assert (answer.status, answer.phrase, answer.body) == (418, "teapot", b"hi")
    assert answer.headers == (("dummy", "1"), ("content-type", "text/plain"), *NO_CACHE)


def test_an_answer_has_a_content_type_only_when_the_handler_set_one() -> None:
    assert encode(RowOutput(RowAnswer(blob=0), [b""])).headers == NO_CACHE


def test_a_handler_cannot_set_what_frames_the_answer() -> None:
    outcome = RowAnswer(headers=(("Content-Length", "9"), ("transfer-encoding", "chunked"), ("x", "y")), blob=0)
    assert encode(RowOutput(outcome, [b""])).headers == (("x", "y"), *NO_CACHE)


@pytest.mark.parametrize(
    "outcome",
    [
        RowAnswer(headers=(("a b", "x"),), blob=0),
        RowAnswer(headers=(("a", "x\r\nSet-Cookie: y"),), blob=0),
        RowAnswer(content_type="text/plain\n", blob=0),
        RowAnswer(headers=(("a", "x" * 20_000),), blob=0),
        RowAnswer(status=100, blob=0),
        RowAnswer(status=600, blob=0),
        RowAnswer(),
    ],
)
def test_what_http_cannot_carry_is_the_handlers_failure(outcome: RowAnswer) -> None:
    with pytest.raises(Refused) as refused:
        encode(RowOutput(outcome, [b""]))
    assert refused.value.reason == "bad_output"


def test_a_phrase_that_would_break_the_status_line_is_dropped() -> None:
    assert encode(RowOutput(RowAnswer(phrase="a\r\nb", blob=0), [b""])).phrase == ""


def test_a_refused_row_keeps_its_reason_and_the_handlers_status() -> None:
    with pytest.raises(Refused) as refused:
        encode(RowOutput(RowRefused("row_refused", "Some Prediction Error", 599), []))
    assert (refused.value.reason, refused.value.message, refused.value.status) == (
        "row_refused",
        "Some Prediction Error",
        599,
    )


@pytest.mark.parametrize(
    "body",
    [
        b"\xff" * 86 + b"=1",  # 258 bytes as UTF-8, in which it travels
        b"n" * 257 + b"=1",
        b"&".join(b"%0200d=1" % number for number in range(400)),
    ],
    ids=["longer as text", "long", "many"],
)
def test_names_in_a_form_are_bounded(body: bytes) -> None:
    with pytest.raises(Refused, match="bytes") as refused:
        decode(RequestFacts("r", (), "application/x-www-form-urlencoded"), body)
    assert refused.value.reason == "malformed_body"
    assert len(refused.value.message) < 200


def test_names_and_content_types_in_a_multipart_form_are_bounded() -> None:
    def part(name: str, content_type: str) -> bytes:
        head = f'Content-Disposition: form-data; name="{name}"; filename="f"\r\nContent-Type: {content_type}'
        return f"--XbX\r\n{head}\r\n\r\nV\r\n".encode()

    for parts in ([part("n" * 257, "a/b")], [part(f"n{number}", "a" * 1000) for number in range(100)]):
        with pytest.raises(Refused, match="bytes") as refused:
            decode(RequestFacts("r", (), FORM), b"".join(parts) + b"--XbX--\r\n")
        assert refused.value.reason == "malformed_body"
    assert len(decode(RequestFacts("r", (), FORM), part("n" * 256, "a/b") + b"--XbX--\r\n").row.parts) == 1
