"""The corpus against the pod's own edge: speaking to a pod directly gets nobody further than the gateway does."""

from __future__ import annotations

import asyncio

import pytest

from model_pod.server.http import EdgeLimits
from model_pod.wire.inference import Run
from model_pod.wire.refusals import REASONS
from tests.fakes.inference_process import FakeInference, echo
from tests.http_corpus.cases import GATE_REASONS, LIMIT_BYTES, Hostile, Legal, hostile, legal
from tests.http_corpus.notation import PATH
from tests.http_corpus.witness import Answered, answers_in
from tests.model_pod.server.harness import Answer, Served, run, served

HOSTILE = list(hostile())
KINDS = sorted({case.kind for case in HOSTILE})
LEGAL = [case for case in legal() if case.method != "HEAD"]
LIMITS = EdgeLimits(body_bytes=LIMIT_BYTES)
_OTHER_MEANING = "method_not_allowed"  # a route's refusal as well as the gate's


async def exchange(pods: Served, data: bytes, method: str) -> Answered:
    """Send bytes on a connection of their own and read its only answer; our side ends it if the pod does not."""
    client = await pods.client()
    client.send(data)
    (answer,) = answers_in(await client.rest(), [method])
    return answer


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_a_hostile_request_is_run(kind: str) -> None:
    async def scenario() -> list[str]:
        faults = []
        async with served(limits=LIMITS) as pods:
            fake = await pods.loaded()
            for case in HOSTILE:
                if case.kind == kind:
                    faults += hostile_faults(case, await exchange(pods, case.data, "POST"))
            assert await is_idle(fake)
            assert pods.pod.dispatcher.queue.byte_count == 0
        return faults

    assert run(scenario()) == []


def hostile_faults(case: Hostile, answer: Answered) -> list[str]:
    is_right = case.is_refused_with(answer.reason) and answer.status == REASONS[answer.reason].status
    if is_right and answer.is_whole and answer.fields["connection"] == "close":
        return []
    return [f"{case.name}: {answer.status} {answer.reason}, not {case.reason}"]


async def is_idle(fake: FakeInference) -> bool:
    """Whether nothing is on its way to the inference process."""
    try:
        async with asyncio.timeout(0.05):
            return not isinstance((await fake.received())[0], Run)
    except TimeoutError:
        return True


async def answer_all(fake: FakeInference) -> None:
    while True:
        message, blobs = await fake.received()
        if isinstance(message, Run):
            await fake.answer(message, blobs, echo)


def test_every_legal_request_is_taken_and_its_body_is_what_the_model_gets() -> None:
    async def scenario() -> list[str]:
        faults = []
        async with served(limits=LIMITS) as pods:
            answering = asyncio.create_task(answer_all(await pods.loaded()))
            for case in LEGAL:
                client = await pods.client()
                client.send(case.data)
                answer = await client.answer()
                while answer.status < 200:
                    answer = await client.answer()
                faults += legal_faults(case, answer)
            answering.cancel()
        return faults

    assert run(scenario()) == []


def legal_faults(case: Legal, answer: Answer) -> list[str]:
    reason = answer.headers.get("penstock-reason", "")
    if reason in GATE_REASONS - {_OTHER_MEANING}:
        return [f"{case.name}: {reason}"]
    is_for_the_model = case.method == "POST" and case.target.partition("?")[0] == PATH and b"{}" not in case.body
    if is_for_the_model and (answer.status, answer.body) != (200, case.body):
        return [f"{case.name}: {answer.status} {reason} {answer.body[:100]!r}"]
    return []
