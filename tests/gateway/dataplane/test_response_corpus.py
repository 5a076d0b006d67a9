"""A hostile pod's answers through a worker's data plane: no client gets what looks whole and is not."""

from __future__ import annotations

import asyncio

import h11
import pytest

from tests.fakes.pod import Answering, Script, Seen
from tests.gateway.dataplane.mesh import Mesh, in_mesh, post
from tests.http_corpus.cases import HostileAnswer, LegalAnswer, hostile_answers, legal_answers
from tests.http_corpus.witness import Answered, answers_in

HOSTILE = list(hostile_answers())
LEGAL = list(legal_answers())
_NOT_AN_ANSWER = ("pod_bad_answer", "pod_lost")
_CLOSES = "Connection: close"


def says(data: bytes, *, then_ends: bool) -> Script:
    async def script(seen: Seen, answering: Answering) -> None:
        answering.write(data)
        if then_ends:
            answering.close()

    return script


async def ask(mesh: Mesh, *fields: str) -> Answered:
    """Ask once, on a connection that ends with its answer; raises ValueError when it ends before the answer's head."""
    reader, writer = await asyncio.open_unix_connection(mesh.path)
    writer.write(post("/predictions/digits", b"{}", *fields, _CLOSES))
    data = await reader.read()
    writer.transport.abort()
    try:
        (answer,) = answers_in(data, ["POST"])
    except h11.RemoteProtocolError as error:
        raise ValueError(str(error)) from error
    return answer


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.name)
def test_a_client_never_gets_what_looks_whole_and_is_not(case: HostileAnswer) -> None:
    async def body(mesh: Mesh) -> None:
        answer = await ask(mesh)
        if case.found == "extra":
            assert (answer.status in (200, 204, 304), answer.body) == (True, b"ok" if b"ok" in case.data else b"")
        elif answer.is_whole:
            assert (answer.status, answer.reason in _NOT_AN_ANSWER) == (502, True), answer
        assert b"poison" not in answer.body
        assert "set-cookie" not in answer.fields

    in_mesh(body, says(case.data, then_ends=True))


@pytest.mark.parametrize("case", [case for case in HOSTILE if case.found != "cut"], ids=lambda case: case.name)
def test_a_connection_to_a_pod_that_lost_its_place_is_not_used_again(case: HostileAnswer) -> None:
    async def body(mesh: Mesh) -> None:
        (pod,) = mesh.pods
        await ask(mesh)
        async with asyncio.timeout(20):
            await ask(mesh)
        assert len(pod.connections) >= len(pod.seen)

    in_mesh(body, says(case.data, then_ends=False))


@pytest.mark.parametrize("case", LEGAL, ids=lambda case: case.name)
def test_what_a_pod_may_say_is_passed_on(case: LegalAnswer) -> None:
    async def body(mesh: Mesh) -> None:
        answer = await ask(mesh)
        assert (answer.status, answer.body, answer.is_whole) == (case.status, case.body, True)
        assert answer.fields.keys().isdisjoint({"keep-alive", "x-hop", "upgrade", "trailer"})
        assert answer.fields["connection"] == "close"
        assert "date" in answer.fields

    in_mesh(body, says(case.data, then_ends=True))
