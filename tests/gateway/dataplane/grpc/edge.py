"""A worker's gRPC edge in this process, between clients of ``grpcio`` or raw frames and scripted pods."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import uvloop

from gateway.control.messages import PodView
from gateway.dataplane.gateway import Gateway, Share
from gateway.dataplane.grpc.connection import GrpcConnection
from gateway.dataplane.shared_limits import SharedLimits
from model_pod.protocols.grpc_messages import framed, message_class
from model_pod.wire.status import PodState
from policies.snapshot.generation import Snapshot
from telemetry.record import Recorder
from tests.fakes.pod import Answering, FakePod, Script, Seen
from tests.gateway.dataplane.mesh import view
from tests.gateway.policy import KEY, limits_memory, policy

INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM_INFER = "/inference.GRPCInferenceService/ModelStreamInfer"
PREDICT = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions"
STREAM_PREDICT = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/StreamPredictions"
WITHIN_S = 60.0


@dataclass
class Edge:
    gateway: Gateway
    pods: list[FakePod]
    path: Path
    connections: list[GrpcConnection]
    accepted: asyncio.Event

    @property
    def target(self) -> str:
        return f"unix:{self.path}"

    async def call(self, path: str, message: bytes, **options: Any) -> Told:
        """Call a unary method from a thread, where grpcio may wait as it likes."""
        return await asyncio.to_thread(call, self.target, path, message, **options)


@dataclass
class Told:
    """What a client of grpcio made of an answer."""

    code: grpc.StatusCode
    details: str
    messages: list[bytes]
    initial: dict[str, str]
    trailing: dict[str, str]


def call(
    target: str,
    path: str,
    message: bytes,
    *,
    key: str = KEY,
    timeout_s: float = WITHIN_S,
    metadata: tuple[tuple[str, str], ...] = (),
    compression: grpc.Compression | None = None,
    options: tuple[tuple[str, Any], ...] = (),
) -> Told:
    """Make one unary call on a connection of its own."""
    fields = ((("authorization", f"Bearer {key}"),) if key else ()) + metadata
    with grpc.insecure_channel(target, options) as channel:
        method = channel.unary_unary(path)
        try:
            answer, done = method.with_call(message, timeout=timeout_s, metadata=fields, compression=compression)
        except grpc.RpcError as error:
            return told(error, [])
        return told(done, [answer])


def told(done: Any, messages: list[bytes]) -> Told:
    initial = dict(done.initial_metadata() or ())
    trailing = dict(done.trailing_metadata() or ())
    return Told(done.code(), done.details(), messages, initial, trailing)


def infer_request(model: str = "digits", **fields: Any) -> bytes:
    message: bytes = message_class("inference.ModelInferRequest")(model_name=model, **fields).SerializeToString()
    return message


def predictions_request(model: str = "digits", **fields: Any) -> bytes:
    made = message_class("org.pytorch.serve.grpc.inference.PredictionsRequest")(model_name=model, **fields)
    message: bytes = made.SerializeToString()
    return message


def answering(*messages: bytes, status: int = 200) -> Script:
    """A pod that answers each request by these messages."""

    async def script(seen: Seen, connection: Answering) -> None:
        body = b"".join(framed(message) for message in messages)
        head = f"HTTP/1.1 {status} OK\r\ncontent-type: application/grpc\r\ncontent-length: {len(body)}\r\n\r\n"
        connection.write(head.encode() + body)

    return script


@asynccontextmanager
async def running_edge(
    scripts: list[Script], snapshot: Snapshot | None = None, recorder: Recorder | None = None
) -> AsyncIterator[Edge]:
    """Serve ``digits`` version 1 from one scripted pod per script."""
    loop = asyncio.get_running_loop()
    descriptor = limits_memory()
    with TemporaryDirectory() as directory:
        gateway = Gateway(loop, snapshot or policy(), SharedLimits(descriptor), Share(), recorder)
        gateway.tick()
        pods = [FakePod(Path(directory) / f"pod-{i}.sock", script) for i, script in enumerate(scripts)]
        edge = Edge(gateway, pods, Path(directory) / "edge.sock", [], asyncio.Event())

        def accepted() -> GrpcConnection:
            edge.connections.append(GrpcConnection(gateway))
            edge.accepted.set()
            return edge.connections[-1]

        server = await loop.create_unix_server(accepted, str(edge.path))
        for pod in pods:
            await pod.__aenter__()
        other = PodView("secret/1/0", "secret", "1", "unix:/none", PodState.READY, True)  # so that the server is ready
        gateway.pods.replace((*(view(pod, i) for i, pod in enumerate(pods)), other))
        try:
            yield edge
        finally:
            server.close()
            for connection in edge.connections:
                connection.give_up()
            gateway.pods.replace(())
            for pod in pods:
                await pod.__aexit__()
            await asyncio.sleep(0)  # lets the closed connections be told
            os.close(descriptor)


def at_edge(
    test: Callable[[Edge], Awaitable[None]],
    *scripts: Script,
    snapshot: Snapshot | None = None,
    recorder: Recorder | None = None,
) -> None:
    """Run one test body beside an edge, within a bound."""

    async def body() -> None:
        async with asyncio.timeout(90), running_edge(list(scripts), snapshot, recorder) as edge:
            await test(edge)

    uvloop.run(body())
