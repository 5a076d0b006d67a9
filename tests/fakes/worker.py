"""A scripted gateway worker: speaks the control protocol, and answers any connection with its generation.

Its script is the policy's mesh name, which it finds in the snapshot of each generation: ``refuse`` vetoes, ``hang``
goes silent, ``die`` exits; with any other name it behaves.
"""

from __future__ import annotations

import argparse
import os
import selectors
import socket
import sys
import time

import msgspec

from gateway.control.messages import (
    Accepting,
    Commit,
    Committed,
    Counts,
    Drain,
    FromWorker,
    Pods,
    Prepare,
    Prepared,
    ToWorker,
)
from model_pod.wire.frames import FrameDecoder, encode
from policies.snapshot import Snapshot

_DIED = 7


class FakeWorker:
    """One worker with blocking sockets; a single loop is enough for a script."""

    def __init__(self, control: socket.socket, listening: list[socket.socket]) -> None:
        self._control = control
        self._listening = listening
        self._decoder: FrameDecoder[ToWorker] = FrameDecoder(ToWorker)  # type: ignore[arg-type]  # a union of Structs
        self._generation = 0
        self._requests = 0
        self._pods = Pods(())

    def run(self) -> None:
        """Serve until drained, or until the supervisor is gone."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select(timeout=1.0):
                    if key.fileobj is self._control:
                        self._read_control(selector)
                    else:
                        self._answer(key.fd)
                self._say(Counts(requests=self._requests, by_reason={}, in_flight=0, connections=0))

    def _say(self, message: FromWorker) -> None:
        self._control.sendall(b"".join(encode(message)))

    def _read_control(self, selector: selectors.BaseSelector) -> None:
        data = self._control.recv(65536)
        if not data:
            sys.exit(0)
        for message, blobs in self._decoder.feed(data):
            match message:
                case Prepare(generation=generation):
                    self._prepare(generation, msgspec.msgpack.decode(blobs[0], type=Snapshot))
                case Commit(generation=generation):
                    self._commit(generation, selector)
                case Pods():
                    self._pods = message
                case Drain():
                    self._say(Counts(requests=self._requests, by_reason={}, in_flight=0, connections=0))
                    sys.exit(0)

    def _prepare(self, generation: int, snapshot: Snapshot) -> None:
        match snapshot.mesh.name:
            case "refuse":
                self._say(Prepared(generation, error="this one is not to my taste"))
            case "hang":
                time.sleep(60)
            case "die":
                os._exit(_DIED)
            case _:
                self._say(Prepared(generation))

    def _commit(self, generation: int, selector: selectors.BaseSelector) -> None:
        if not self._generation:
            for listening in self._listening:
                selector.register(listening, selectors.EVENT_READ)
            self._say(Accepting())
        self._generation = generation
        self._say(Committed(generation))

    def _answer(self, descriptor: int) -> None:
        listening = next(known for known in self._listening if known.fileno() == descriptor)
        try:
            connection, _ = listening.accept()
        except BlockingIOError:
            return
        with connection:
            states = ",".join(pod.state.value for pod in self._pods.pods)
            connection.sendall(f"pid={os.getpid()} generation={self._generation} pods={states}\n".encode())
        self._requests += 1


def main() -> None:
    """Read the options that a real worker has."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--listen-fd", type=int, action="append", default=[])
    for option in ("--index", "--limits-fd", "--worker-count"):
        parser.add_argument(option, required=True)
    options = parser.parse_args()
    listening = [socket.socket(fileno=descriptor) for descriptor in options.listen_fd]
    FakeWorker(socket.socket(fileno=options.control_fd), listening).run()


if __name__ == "__main__":
    main()
