"""Requests that are no HTTP, no JSON or no tensors: each is told what is wrong with it, and nobody else notices."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httptools
import pytest
import uvloop

from tests.fakes.load import open_loop
from tests.fakes.records import Record, summarize
from tests.system.digits import known_digits, request_bytes, traffic
from tests.system.mesh import MeshUnderTest, running_mesh

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

_PATIENCE_S = 120.0
_KEY = "$KEY"  # stands for the mesh's key in the requests below
_HEAD = f"host: mesh\r\nauthorization: Bearer {_KEY}\r\n"
_INFER = "/v2/models/digits/infer"


@dataclass(frozen=True, slots=True)
class Malformed:
    """One request as its client writes it, and what it must be answered with."""

    name: str
    request: str
    status: int
    reason: str


def _http(first_line: str, fields: str = "", body: str = "") -> str:
    return f"{first_line}\r\n{_HEAD}{fields}\r\n{body}"


def _post(path: str, body: str, content_type: str = "application/json") -> str:
    return _http(f"POST {path} HTTP/1.1", f"content-type: {content_type}\r\ncontent-length: {len(body)}\r\n", body)


def _tensor(**changes: object) -> str:
    tensor = {"name": "pixels", "datatype": "FP32", "shape": [1, 64], "data": [0.0] * 64, **changes}
    return json.dumps({"inputs": [tensor]})


_PREDICT = "POST /predictions/digits HTTP/1.1"
MALFORMED = [
    # HTTP
    Malformed("no HTTP at all", "\x16\x03\x01 hello\r\n\r\n", 400, "malformed_http"),
    Malformed("a space before the colon", _http(_PREDICT, "x-a : b\r\n"), 400, "malformed_http"),
    Malformed(
        "two lengths", _http(_PREDICT, "content-length: 1\r\ncontent-length: 2\r\n", "{}"), 400, "malformed_http"
    ),
    Malformed(
        "a length and chunks",
        _http(_PREDICT, "content-length: 4\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"),
        400,
        "malformed_http",
    ),
    Malformed("no host", f"{_PREDICT}\r\nauthorization: Bearer {_KEY}\r\n\r\n", 400, "malformed_http"),
    Malformed("a folded field", _http(_PREDICT, "x-a: b\r\n c\r\n"), 400, "malformed_http"),
    Malformed(
        "a chunk size that is no number",
        _http(_PREDICT, "transfer-encoding: chunked\r\n", "zz\r\n{}\r\n0\r\n\r\n"),
        400,
        "malformed_http",
    ),
    Malformed("HTTP/3.0", _http("GET /predictions/digits HTTP/3.0"), 505, "http_version_not_supported"),
    Malformed(
        "gzip as a transfer coding",
        _http(_PREDICT, "transfer-encoding: gzip, chunked\r\n", "0\r\n\r\n"),
        501,
        "transfer_coding_not_supported",
    ),
    Malformed("a head of 64 KiB", _http(_PREDICT, f"x-a: {'a' * 65536}\r\n"), 431, "head_too_large"),
    Malformed("a target of 9 KiB", _http(f"GET /{'a' * 9216} HTTP/1.1"), 414, "target_too_long"),
    Malformed("an expectation of its own", _http(_PREDICT, "expect: cake\r\n"), 417, "expectation_not_supported"),
    Malformed("a body of a gigabyte", _http(_PREDICT, "content-length: 1073741824\r\n"), 413, "body_too_large"),
    # what is asked for
    Malformed("no key", "GET /predictions/digits HTTP/1.1\r\nhost: mesh\r\n\r\n", 401, "key_missing"),
    Malformed("an unknown path", _http("GET /nothing HTTP/1.1"), 404, "path_not_found"),
    Malformed("an unknown model", _http("GET /predictions/nobody HTTP/1.1"), 404, "model_not_found"),
    Malformed("a GET of infer", _http(f"GET {_INFER} HTTP/1.1"), 405, "method_not_allowed"),
    Malformed("a time-out in words", _http(_PREDICT, "penstock-timeout-ms: soon\r\n"), 400, "bad_header"),
    # bodies
    Malformed("JSON cut short", _post("/predictions/digits", '{"data": [1, 2'), 422, "row_refused"),
    Malformed("63 pixels", _post("/predictions/digits", json.dumps({"data": [0] * 63})), 422, "row_refused"),
    Malformed("pixels in words", _post("/predictions/digits", '{"data": ["dark"]}'), 422, "row_refused"),
    Malformed("an image that is none", _post("/predictions/digits", "\x89PNG...", "image/png"), 422, "row_refused"),
    Malformed(
        "a form without an end",
        _post("/predictions/digits", "--b\r\n", "multipart/form-data; boundary=b"),
        400,
        "malformed_body",
    ),
    # tensors
    Malformed("tensors cut short", _post(_INFER, '{"inputs": ['), 400, "malformed_body"),
    Malformed("tensors without inputs", _post(_INFER, "{}"), 400, "bad_input"),
    Malformed("an unknown input", _post(_INFER, _tensor(name="pixel")), 400, "bad_input"),
    Malformed("another datatype", _post(_INFER, _tensor(datatype="INT64", data=[0] * 64)), 400, "bad_input"),
    Malformed("another shape", _post(_INFER, _tensor(shape=[1, 8, 8])), 400, "bad_input"),
    Malformed("less data than the shape says", _post(_INFER, _tensor(data=[0.0])), 400, "bad_input"),
    Malformed("data in words", _post(_INFER, _tensor(data=["dark"] * 64)), 400, "bad_input"),
]


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, model_store: Path) -> Iterator[MeshUnderTest]:
    with running_mesh(tmp_path_factory.mktemp("malformed"), model_store) as running:
        yield running


class Answer:
    """Reads one answer as its bytes come."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self.body = b""
        self.is_whole = False
        self._parser = httptools.HttpResponseParser(self)

    @property
    def status(self) -> int:
        return int(self._parser.get_status_code())

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_whole = True


def ask(mesh: MeshUnderTest, request: bytes) -> Answer:
    """Send raw bytes on a connection of their own and return the whole answer."""
    address = urlsplit(mesh.inference)
    answer = Answer()
    with socket.create_connection((address.hostname, address.port), timeout=_PATIENCE_S) as connection:
        connection.sendall(request)
        while not answer.is_whole:
            data = connection.recv(65536)
            assert data, "the connection ended before the answer was whole"
            answer.feed(data)
    return answer


def ask_malformed(mesh: MeshUnderTest, malformed: Malformed) -> Answer:
    """Send a malformed request with the mesh's key in it."""
    return ask(mesh, malformed.request.replace(_KEY, mesh.key).encode("latin-1"))


@pytest.mark.parametrize("malformed", MALFORMED, ids=lambda malformed: malformed.name.replace(" ", "-"))
def test_it_is_refused_with_its_reason(malformed: Malformed, mesh: MeshUnderTest) -> None:
    answer = ask_malformed(mesh, malformed)
    told = json.loads(answer.body)
    assert (answer.status, told["reason"]) == (malformed.status, malformed.reason), told
    assert answer.fields["penstock-reason"] == malformed.reason
    assert told["request_id"] == answer.fields["x-request-id"]
    assert told["message"] == told["error"] != ""


def test_nobody_else_notices(mesh: MeshUnderTest) -> None:
    make_request, check = traffic(mesh, known_digits(mesh))
    load = open_loop(mesh.inference, rate_per_s=100.0, duration_s=3.0, make_request=make_request, check=check)

    def all_of_them() -> int:
        return len([ask_malformed(mesh, malformed) for _ in range(5) for malformed in MALFORMED])

    with ThreadPoolExecutor(1) as others:
        asking = others.submit(all_of_them)
        records: list[Record] = uvloop.run(load)
        assert asking.result(_PATIENCE_S) == 5 * len(MALFORMED)
    assert all(record.is_right for record in records), summarize(records)


def test_a_refused_body_does_not_cost_the_connection(mesh: MeshUnderTest) -> None:
    digit = known_digits(mesh)[0]
    bad = request_bytes(mesh, "/predictions/digits", b"{")
    good = request_bytes(mesh, "/predictions/digits", digit.body)
    address = urlsplit(mesh.inference)
    with socket.create_connection((address.hostname, address.port), timeout=_PATIENCE_S) as connection:
        for request, status in ((bad, 422), (good, 200), (bad, 422), (good, 200)):
            connection.sendall(request)
            answer = Answer()
            while not answer.is_whole:
                answer.feed(connection.recv(65536))
            assert answer.status == status
    assert json.loads(answer.body)["label"] == digit.label
