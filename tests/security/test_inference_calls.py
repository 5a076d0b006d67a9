"""Every method of the gRPC services by every credential, against a table that is checked in."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path

import grpc
import pytest
from msgspec import Struct, convert

from gateway.dataplane.grpc.methods import METHODS
from gateway.dataplane.grpc.protobuf import counted
from model_pod.protocols.grpc_messages import framed
from tests.fakes.pod import Answering, Seen
from tests.gateway.dataplane.grpc.edge import WITHIN_S, Edge, at_edge
from tests.gateway.policy import EXPIRED_KEY, KEY, PLAIN_KEY, STRANGER_KEY


class Row(Struct, frozen=True):
    """One method of the table."""

    method: str
    right: str
    lower: str
    model: str = ""
    version: str = ""
    open: bool = False

    @property
    def message(self) -> bytes:
        """The two names, which have the same numbers in every message of a model."""
        named = counted(1, self.model) if self.model else b""
        return named + (counted(2, self.version) if self.version else b"")


TABLE = tomllib.loads(Path(__file__).with_name("inference_routes.toml").read_text())
ROWS = convert(TABLE["call"], list[Row])


async def pod(seen: Seen, connection: Answering) -> None:
    """Answer messages by one, and what is asked in HTTP's way in JSON."""
    if seen.fields.get("content-type") == "application/grpc":
        kind, body = "application/grpc", framed(b"an answer")
    else:
        kind, body = "application/json", b'{"name": "digits", "ready": true}'
    connection.write(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)


# A message of ModelStreamInfer that tells an error has it in its first field.
_ERROR_MESSAGE = b"\x0a"
UNKNOWN_CALLER = {"key_missing", "key_unknown", "key_not_valid_now"}


def code(target: str, path: str, message: bytes, key: str) -> str:
    """Return the code of a call that sends one message; of one that is answered OK, or ERROR if by an error message."""
    metadata = (("authorization", f"Bearer {key}"),) if key else ()
    with grpc.insecure_channel(target) as channel:
        call = channel.stream_stream(path)(iter([message]), metadata=metadata, timeout=WITHIN_S)
        try:
            answer: bytes = next(call)
        except grpc.RpcError as error:
            name: str = error.code().name
            return name
        call.cancel()
        return "ERROR" if "ModelStreamInfer" in path and answer.startswith(_ERROR_MESSAGE) else "OK"


def test_every_method_has_a_row_and_every_row_a_method() -> None:
    assert {f"/{row.method}".encode() for row in ROWS} == set(METHODS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.method}:{row.model}/{row.version}")
def test_each_method_answers_each_credential_as_the_table_says(row: Row) -> None:
    async def story(edge: Edge) -> None:
        refusals = edge.gateway.settlement.refusals

        async def told(key: str) -> str:
            before = refusals.copy()
            answer = await asyncio.to_thread(code, edge.target, f"/{row.method}", row.message, key)
            return answer if answer != "ERROR" else "".join(refusals - before)

        for key in ("", STRANGER_KEY, EXPIRED_KEY):
            answer = await told(key)
            assert answer == row.right if row.open else answer in {"UNAUTHENTICATED", *UNKNOWN_CALLER}, key
        assert not edge.pods[0].seen
        assert set(refusals) == (set() if row.open else UNKNOWN_CALLER)
        assert [await told(key) for key in (KEY, PLAIN_KEY)] == [row.right, row.lower]

    at_edge(story, pod)


def test_no_method_beside_the_table_s_is_there() -> None:
    async def story(edge: Edge) -> None:
        for path in ("/inference.GRPCInferenceService/RepositoryModelLoad", "/a.B/C", "/predictions/digits"):
            assert await asyncio.to_thread(code, edge.target, path, b"", KEY) == "UNIMPLEMENTED", path
        assert not edge.pods[0].seen

    at_edge(story, pod)
