"""A pod's server without a model: says its arguments, answers each connection with its status, leaves when asked.

The version says how it behaves: ``stubborn`` does not leave when asked; ``parent`` has a child that outlives it;
``doomed`` ends at its start.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress

import msgspec

from model_pod.wire.status import PodState, PodStatus


def serve(listener: socket.socket) -> None:
    """Answer connections one by one: whatever is asked, the pod is ready."""
    listener.setblocking(True)
    status = msgspec.json.encode(PodStatus("m", "1", PodState.READY, pid=os.getpid()))
    head = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(status)
    while True:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            if connection.recv(65536):
                connection.sendall(head + status)


def main() -> None:
    """Run until told to stop, or until whoever started it is gone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--version")
    parser.add_argument("--listen-fd", type=int)
    parser.add_argument("--lifeline-fd", type=int)
    options, others = parser.parse_known_args()
    if options.version == "doomed":
        sys.exit("no model here")
    otlp = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    told = [*others, *(("--otlp", otlp) if otlp else ())]
    print(f"runs as {os.getpid()} with {json.dumps(told)}", flush=True)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if options.version == "stubborn" else signal.SIG_DFL)
    if options.version == "parent":
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        print(f"pod child {child.pid}", flush=True)
    threading.Thread(target=serve, args=(socket.socket(fileno=options.listen_fd),), daemon=True).start()
    os.read(options.lifeline_fd, 1)


if __name__ == "__main__":
    main()
