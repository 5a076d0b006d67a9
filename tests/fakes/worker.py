"""A scripted gateway worker: speaks the control protocol, and answers any connection with its generation.

Its script is the policy's mesh name, which it finds in the snapshot of each generation: ``refuse`` vetoes, ``hang``
goes silent, ``die`` exits, ``aloof`` never accepts, ``linger`` closes its channel long before it has ended when it is
to leave, ``stuck`` then never ends; with any other name it behaves. It tallies each connection as one
request that the stable version of every model answered, with 503 under the name ``broken``. Under ``thirsty`` it is
done when it is to drain only after it was let have, and has used, all that it then wants of the first quota.
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
    SLOT_S,
    Accepting,
    Commit,
    Committed,
    Counts,
    Drain,
    FromWorker,
    Pods,
    Prepare,
    Prepared,
    QuotaWanted,
    RequestCounts,
    Revoked,
    SloEvents,
    Tally,
    ToWorker,
)
from gateway.control.quota_book import quotas_of
from gateway.limits.table import LimitTable, RowKind
from model_pod.wire.frames import FrameDecoder, encode
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh
from policies.snapshot.route import Route

_DIED = 7
_LINGERS_S = {"linger": 0.3, "stuck": 60.0}
# More than any gateway holds of the demo's quota of requests.
THIRST = 1_000_000_000
_EDGES_S = (0.1, 1.0)
_TRACE = "a" * 32


class FakeWorker:
    """One worker with blocking sockets; a single loop is enough for a script."""

    def __init__(self, control: socket.socket, listening: list[socket.socket], limits_fd: int) -> None:
        self._control = control
        self._limits_fd = limits_fd
        self._listening = listening
        self._decoder: FrameDecoder[ToWorker] = FrameDecoder(ToWorker)  # type: ignore[arg-type]  # a union of Structs
        self._generation = 0
        self._requests = 0
        self._pods = Pods(())
        self._revoked: tuple[str, ...] = ()
        self._snapshot = Snapshot(0, "", Mesh(""))

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
                case Revoked(key_ids=key_ids):
                    self._revoked = key_ids
                case Drain():
                    if self._generation and self._snapshot.mesh.name == "thirsty":
                        self._drink()
                    self._say(Counts(requests=self._requests, by_reason={}, in_flight=0, connections=0))
                    self._control.close()
                    time.sleep(_LINGERS_S.get(self._snapshot.mesh.name, 0.0))
                    sys.exit(0)

    def _drink(self) -> None:
        limits = LimitTable(self._limits_fd)
        limits.take_column()
        account = next(name for name, of in quotas_of(self._snapshot).items() if of.quota.meter == "requests")
        row = limits.find(account, RowKind.QUOTA)
        self._say(QuotaWanted({account: THIRST}))
        while limits.quota(row).granted < THIRST:
            time.sleep(0.01)
        limits.add(row, THIRST)

    def _prepare(self, generation: int, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
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
        if not self._generation and self._snapshot.mesh.name != "aloof":
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
            known = f"generation={self._generation} pods={states} revoked={','.join(self._revoked)}"
            connection.sendall(f"pid={os.getpid()} {known}\n".encode())
        self._requests += 1
        self._tally()

    def _tally(self) -> None:
        routes = self._snapshot.routes.values()
        self._say(
            Tally(
                slot_s=int(time.time() // SLOT_S) * SLOT_S,
                edges_s={route.model: _EDGES_S for route in routes},
                requests=tuple(self._one_request(route) for route in routes),
                events=tuple(self._one_event(route, slo) for route in routes for slo in route.slo),
                dropped={"ring_full": 3},
            )
        )

    def _one_request(self, route: Route) -> RequestCounts:
        status, reason = (503, "no_pod_ready") if self._is_broken else (200, "")
        return RequestCounts(route.model, route.stable, "demo", "", status, reason, (0, 1, 0), 0.25, 0.25, _TRACE)

    def _one_event(self, route: Route, slo: str) -> SloEvents:
        is_bad = int(self._is_broken)
        return SloEvents(slo, route.model, route.stable, "", 1 - is_bad, is_bad, 0)

    @property
    def _is_broken(self) -> bool:
        return self._snapshot.mesh.name == "broken"


def main() -> None:
    """Read the options that a real worker has."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--listen-fd", type=int, action="append", default=[])
    parser.add_argument("--tls-fd", type=int, action="append", default=[])
    parser.add_argument("--grpc-fd", type=int, action="append", default=[])
    parser.add_argument("--decisions")
    parser.add_argument("--limits-fd", type=int, required=True)
    for option in ("--index", "--worker-count"):
        parser.add_argument(option, required=True)
    options = parser.parse_args()
    listening = [socket.socket(fileno=descriptor) for descriptor in options.listen_fd]
    FakeWorker(socket.socket(fileno=options.control_fd), listening, options.limits_fd).run()


if __name__ == "__main__":
    main()
