"""Streamed answers in tests: a handler that sends what each request asks for, and what a client reads of it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

# A request names its pieces and what becomes of them; what the handler sees goes to a ledger, a line each.
HANDLER = """
import json
import os
import time

from ts.handler_utils.utils import StreamCancelled, send_intermediate_predict_response

LEDGER = os.open({ledger!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def note(*words):
    os.write(LEDGER, (" ".join(map(str, (time.monotonic(), *words))) + "\\n").encode())


def piece(asked, step):
    return asked["name"] * asked.get("repeat", 1) + f"{{step}} "


def handle(data, context):
    if data is None:
        return None
    asked = [json.loads(bytes(row["body"])) for row in data]
    for index, one in enumerate(asked):
        context.set_response_content_type(index, "text/event-stream")
        note("runs", one["name"], len(data))
    try:
        steps(asked, context)
    except StreamCancelled:
        note("nobody", asked[0]["name"])
        raise
    return [one["name"] + "last" for one in asked]


def steps(asked, context):
    gone = set()
    for step in range(max(one["steps"] for one in asked)):
        for index, one in enumerate(asked):
            if one.get("fails_at") == step:
                raise ValueError("in the middle of a stream")
            if one.get("dies_at") == step:
                os._exit(9)
        rows = {{index: context.request_ids[index] for index, one in enumerate(asked) if step < one["steps"]}}
        pieces = [piece(one, step) for one in asked]
        send_intermediate_predict_response(pieces, rows, "Intermediate Prediction success", 200, context)
        time.sleep(max(one.get("pause_s", 0) for one in asked))
        for index, one in enumerate(asked):
            if index not in gone and context.is_cancelled(index):
                gone.add(index)
                note("gone", one["name"])
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks of ``HANDLER``.

    Attributes:
        name: what each of its pieces repeats.
        fails_at, dies_at: before which step the handler raises, or its process ends; -1 for never.
    """

    name: str
    steps: int = 3
    pause_s: float = 0.0
    repeat: int = 1
    fails_at: int = -1
    dies_at: int = -1

    def body(self) -> bytes:
        """Return the request's body."""
        names = ("name", "steps", "pause_s", "repeat", "fails_at", "dies_at")
        return json.dumps({name: getattr(self, name) for name in names}).encode()

    def request(self, target: str, fields: str = "") -> bytes:
        """Return the whole request."""
        body = self.body()
        return (
            f"POST {target} HTTP/1.1\r\nhost: pod\r\ncontent-type: application/octet-stream\r\n"
            f"content-length: {len(body)}\r\n{fields}\r\n"
        ).encode() + body

    def answer(self) -> bytes:
        """Return the whole answer."""
        steps = b"".join(f"{self.name * self.repeat}{step} ".encode() for step in range(self.steps))
        return steps + f"{self.name}last".encode()


@dataclass
class Streamed:
    """An answer as it was read.

    Attributes:
        is_whole: the chunk that ends a body came.
    """

    status: int
    headers: dict[str, str]
    chunks: list[bytes] = field(default_factory=list)
    is_whole: bool = False

    @property
    def body(self) -> bytes:
        """What came of it."""
        return b"".join(self.chunks)


async def read_head(reader: asyncio.StreamReader) -> Streamed:
    """Read the head of an answer."""
    status_line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip("\r\n").split("\r\n")
    return Streamed(int(status_line.split(" ")[1]), dict(line.split(": ", 1) for line in lines))


async def read_chunk(reader: asyncio.StreamReader, answer: Streamed) -> bool:
    """Read a chunk; return whether one more may come."""
    try:
        size = int(await reader.readuntil(b"\r\n"), 16)
        chunk = (await reader.readexactly(size + 2))[:-2]
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return False
    if size:
        answer.chunks.append(chunk)
    else:
        answer.is_whole = True
    return size > 0


async def read_answer(reader: asyncio.StreamReader) -> Streamed:
    """Read an answer to its end, whichever that is."""
    answer = await read_head(reader)
    if "content-length" in answer.headers:
        answer.chunks.append(await reader.readexactly(int(answer.headers["content-length"])))
        answer.is_whole = True
        return answer
    while await read_chunk(reader, answer):
        pass
    return answer
