"""A receiver of spans for tests: a tiny HTTP server around ``answer``."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from telemetry.otlp.receive import Answer, answer
from telemetry.span import Span

WITHIN_S = 60.0


class Receiver:
    """What has come so far.

    Attributes:
        rooms: how many spans each of the next requests finds room for; afterwards all do.
        heads: the head of each request, with lower-case names.
    """

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.heads: list[dict[str, str]] = []
        self.answers: list[Answer] = []
        self.rooms: list[int] = []
        self.url = ""
        self._changed = threading.Condition()

    def receive(self, head: dict[str, str], body: bytes) -> Answer:
        with self._changed:
            self.heads.append(head)
            answered = answer(head, body, self._take)
            self.answers.append(answered)
            self._changed.notify_all()
        return answered

    def wait_for(self, count: int) -> list[Span]:
        """Return what has come once there are this many spans."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.spans) >= count, WITHIN_S), self.answers
            return list(self.spans)

    def _take(self, spans: list[Span]) -> int:
        room = self.rooms.pop(0) if self.rooms else len(spans)
        self.spans += spans[:room]
        return max(0, len(spans) - room)


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Listen on loopback while the test runs."""
    received = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:  # http.server's name
            body = self.rfile.read(int(self.headers["content-length"]))
            answered = received.receive({name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(answered.status)
            self.send_header("content-type", answered.content_type)
            self.send_header("content-length", str(len(answered.body)))
            for name, value in answered.headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answered.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's name
            """Tests print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    received.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
