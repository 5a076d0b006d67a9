"""A sidecar's socket that a test reads when it wants to: what is recorded, as typed frames."""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec

from telemetry.records import Frame, PodSummary, Record


class FakeSidecar:
    """The listening end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listening.bind(str(path))
        self.listening.listen(4)
        self.listening.settimeout(0)
        self._connections: list[socket.socket] = []

    def frames(self) -> list[Frame]:
        """Return every frame that has come so far."""
        frames: list[Frame] = []
        try:
            while True:
                self._connections.append(self.listening.accept()[0])
        except BlockingIOError:
            pass
        for connection in self._connections:
            connection.settimeout(0)
            try:
                while packet := connection.recv(2**20):
                    frames.append(msgspec.msgpack.decode(packet, type=Frame))
            except (BlockingIOError, ConnectionResetError):
                continue
        return frames

    def records(self) -> list[Record]:
        """Return every record that has come since the last time."""
        every = [record for frame in self.frames() for record in frame.records]
        return [record for record in every if not isinstance(record, PodSummary)]

    def close(self) -> None:
        for connection in [self.listening, *self._connections]:
            connection.close()
        self.path.unlink(missing_ok=True)
