"""The inference process at the far end of a real socketpair."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from model_pod.wire import frames
from model_pod.wire.inference import FromInference, Load, Loaded, LoadFailed, Ran, Run, ToInference
from model_pod.wire.rows import Part, PartKind, Row, RowAnswer

TIMEOUT_S = 60.0


class Engine:
    """Speaks to one inference process as a pod's server does."""

    def __init__(self, stderr: Path) -> None:
        self.channel, far_end = socket.socketpair()
        self.channel.settimeout(TIMEOUT_S)
        self._decoder: frames.FrameDecoder[FromInference] = frames.FrameDecoder(FromInference)  # type: ignore[arg-type]
        self._arrived: deque[tuple[FromInference, list[memoryview]]] = deque()
        with far_end, stderr.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "model_pod.engine", "--fd", str(far_end.fileno())],
                pass_fds=[far_end.fileno()],
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def load(self, model_dir: Path, max_rows: int = 8) -> Loaded | LoadFailed:
        self.send(Load("echo", "1", str(model_dir), "cpu", max_rows))
        answer, _ = self.receive()
        assert isinstance(answer, Loaded | LoadFailed)
        return answer

    def run(self, rows: Sequence[Row], blobs: Sequence[bytes]) -> tuple[Ran, list[bytes]]:
        return self.ask(Run(7, tuple(rows)), blobs)

    def ask(self, run: Run, blobs: Sequence[bytes]) -> tuple[Ran, list[bytes]]:
        self.send(run, blobs)
        answer, answered = self.receive()
        assert isinstance(answer, Ran)
        return answer, [bytes(blob) for blob in answered]

    def run_bodies(self, *bodies: bytes) -> list[object]:
        """Run one row per body and return each answer's bytes or the refusal's reason."""
        rows = [Row(f"id-{index}", parts=(Part("body", PartKind.BYTES, index),)) for index in range(len(bodies))]
        ran, blobs = self.run(rows, bodies)
        return [blobs[o.blob] if isinstance(o, RowAnswer) else o.reason for o in ran.outcomes]

    def end(self) -> int:
        self.channel.close()
        return self.process.wait(TIMEOUT_S)

    def send(self, message: ToInference, blobs: Sequence[bytes] = ()) -> None:
        """Say one thing."""
        for piece in frames.encode(message, blobs):
            self.channel.sendall(piece)

    def receive(self) -> tuple[FromInference, list[memoryview]]:
        """Wait for the next thing that it says."""
        while not self._arrived:
            data = self.channel.recv(2**20)
            if not data:
                raise EOFError("the inference process closed the stream")
            self._arrived += self._decoder.feed(data)
        return self._arrived.popleft()


@contextmanager
def engine(tmp_path: Path) -> Iterator[Engine]:
    """Start an inference process and end it whatever the test does."""
    started = Engine(tmp_path / "stderr.log")
    try:
        yield started
    finally:
        started.channel.close()
        started.process.kill()
        started.process.communicate()
