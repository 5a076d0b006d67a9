"""What takes a recorder's packets and throws them away, so that reading them costs nothing; says how many at its end.

Run by its path, not as a module, with a Unix socket's path: it imports nothing of this repository.
"""

from __future__ import annotations

import signal
import socket
import sys
import threading
from selectors import EVENT_READ, DefaultSelector

PACKET_BYTES = 2**18
LOOK_EVERY_S = 0.1


def serve(path: str, stop: threading.Event) -> int:
    """Take packets until the process is asked to stop and none is left; return how many they were."""
    packet_count = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener, DefaultSelector() as selector:
        listener.bind(path)
        listener.listen()
        selector.register(listener, EVENT_READ)
        while (ready := selector.select(LOOK_EVERY_S)) or not stop.is_set():
            for key, _ in ready:
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                if connection is listener:
                    selector.register(listener.accept()[0], EVENT_READ)
                elif connection.recv(PACKET_BYTES):
                    packet_count += 1
                else:
                    selector.unregister(connection)
                    connection.close()
    return packet_count


if __name__ == "__main__":
    asked_to_stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked_to_stop.set())
    print(f"packets {serve(sys.argv[1], asked_to_stop)}", flush=True)
