"""What the inference process and its handler print and log: taken line by line, bounded, tagged, and told as the pod's.

One pipe for every inference process that the pod ever has. It is always read, so a handler that prints never waits for
whoever reads the pod's log; what is beyond the rate is left out and counted.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

from model_pod.server.inference_process import Child, EngineChild
from telemetry.logs.libraries import HANDLER_LOGS
from telemetry.logs.line import Facts, Line, read_record
from telemetry.logs.log import LOG

READ_BYTES = 65536
MAX_LINE_BYTES = 4096
PRINTED = "handler.output"
LEFT_OUT = "handler.left_out"
# As the inference process names rows that failed: types and places, whatever else policy lets be written.
FAILED = "handler.failed"
_OURS = frozenset({FAILED, HANDLER_LOGS})
"""What lines of the inference process that are records tell of."""


class HandlerOutput:
    """The pipe and its reader.

    Args:
        model, version: whose handler it is.

    Attributes:
        left_out: lines that policy has not written.
    """

    def __init__(self, model: str, version: str) -> None:
        self.left_out = 0
        self._subject = f"pod {model}/{version}"
        self._own = Facts(process="pod", role="model", model=model, version=version)
        self._lines = Lines(self._tell)
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)

    def start(self, theirs: socket.socket) -> Child:
        """Start an inference process that writes here."""
        return EngineChild(theirs, self._write_fd)

    def open(self) -> None:
        """Read from now on."""
        asyncio.get_running_loop().add_reader(self._read_fd, self._read)

    def close(self) -> None:
        """Take what is there, and read no more."""
        asyncio.get_running_loop().remove_reader(self._read_fd)
        os.close(self._write_fd)
        self._read()
        self._lines.finish()
        if self.left_out:
            self._say_event(f"{self.left_out} lines of the handler were left out")
        os.close(self._read_fd)

    def _read(self) -> None:
        try:
            data = os.read(self._read_fd, READ_BYTES)
        except OSError:
            return
        self._lines.feed(data)

    def _tell(self, text: str) -> None:
        record = read_record(text)
        if record is not None and record.event not in _OURS:
            record = None  # the handler's own JSON: rates go by the event, and it may name as many as it likes
        if LOG.handlers == "nothing" and (record is None or record.event != FAILED):
            self._leave_out()
            return
        if record is not None:
            LOG.relay(record, self._subject, self._own, separator="| ")
        elif text.strip():
            before = f"{self._subject}| "
            LOG.say("", Line(f"{before}{text}", event=PRINTED, facts=self._own, prefix=len(before)))

    def _leave_out(self) -> None:
        self.left_out += 1
        if self.left_out == 1:
            self._say_event("what the handler prints and logs is left out: mesh.yaml says logs: {handlers: nothing}")

    def _say_event(self, text: str) -> None:
        LOG.say("", Line(f"{self._subject}: {text}", event=LEFT_OUT, facts=self._own, prefix=len(self._subject) + 2))


class Lines:
    """Cuts a stream into lines; one that is longer than the bound is told in pieces."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._pending = b""

    def feed(self, data: bytes) -> None:
        """Tell every line that is whole now."""
        *whole, self._pending = (self._pending + data).split(b"\n")
        for line in whole:
            self._tell_pieces(line)
        while len(self._pending) > MAX_LINE_BYTES:
            piece, self._pending = self._pending[:MAX_LINE_BYTES], self._pending[MAX_LINE_BYTES:]
            self._tell_pieces(piece)

    def finish(self) -> None:
        """Tell the last line, if the stream ended within it."""
        last, self._pending = self._pending, b""
        if last:
            self._tell_pieces(last)

    def _tell_pieces(self, line: bytes) -> None:
        for at in range(0, max(1, len(line)), MAX_LINE_BYTES):
            self._tell(line[at : at + MAX_LINE_BYTES].rstrip(b"\r").decode("utf-8", "backslashreplace"))
