"""The life of a request: both ends real, pods scripted."""

from __future__ import annotations

import asyncio
import json
import math
import re
import socket
import struct
import tracemalloc

import pytest
from msgspec.structs import replace

from gateway.dataplane.server import ClientConnection
from model_pod.wire.status import PodState
from policies.snapshot.mesh import Bounds
from tests.fakes.pod import Answering, Seen, babble, chunks, cut_short, die, echo, never
from tests.gateway.dataplane.mesh import Caller, Mesh, in_mesh, post, view
from tests.gateway.policy import STRANGER_KEY, policy


def test_a_request_reaches_the_pod_and_its_answer_the_caller() -> None:
    async def body(mesh: Mesh) -> None:
        answer = await mesh.ask(post(body=b'{"data": [1]}'))
        assert (answer.status, answer.body) == (200, b'{"data": [1]}')
        assert re.fullmatch(
            r"gen=1;model=digits;version=1;why=stable;pod=digits/1/0;attempts=1", answer.fields["penstock-decision"]
        )
        assert answer.fields["penstock-usage"] == "device_us=7;batch=1;queue_us=3"
        timing = re.fullmatch(
            r"gateway;dur=(\d+\.\d{3}), queue;dur=0.1, inference;dur=2.0", answer.fields["server-timing"]
        )
        assert timing is not None
        assert 0 < float(timing[1]) < 10_000
        assert re.fullmatch(r"[0-9a-f]{32}", answer.fields["x-request-id"])
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", answer.fields["traceresponse"])  # nobody records it
        assert mesh.gateway.in_flight == 0

    in_mesh(body, echo)


def test_the_pod_sees_no_key_no_claimed_identity_and_the_clients_spelling() -> None:
    async def body(mesh: Mesh) -> None:
        trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        fields = ("X-Test: a", "X-Tenant: evil", "penstock-tenant: evil", "a_b: c", "ts_request_sequence_id: 7")
        hop = ("Connection: keep-alive, x-hop", "X-Hop: 1", f"traceparent: {trace}", "penstock-timeout-ms: 20000")
        answer = await mesh.ask(post("/predictions/digits", b"x", *fields, *hop))
        seen = mesh.pods[0].seen[0]
        assert "authorization" not in seen.fields
        assert "x-tenant" not in seen.fields
        assert "x-hop" not in seen.fields
        assert "a_b" not in seen.fields
        assert "X-Test: a" in seen.raw_fields
        assert seen.fields["ts_request_sequence_id"] == "7"
        assert seen.fields["penstock-tenant"] == "ads"
        assert seen.fields["x-request-id"] == answer.fields["x-request-id"]
        assert seen.fields["traceparent"].split("-")[1] == "4bf92f3577b34da6a3ce929d0e0e4736"
        assert 10_000 <= int(seen.fields["penstock-timeout-ms"]) <= 20_000

    in_mesh(body, echo)


def test_chunked_bodies_pass_both_ways() -> None:
    async def body(mesh: Mesh) -> None:
        head = post(body=b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        answer = await mesh.ask(head + b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n")
        assert answer.body == b"abcde"
        assert answer.fields["transfer-encoding"] == "chunked"
        assert mesh.pods[0].seen[0].body == b"abcd"

    in_mesh(body, chunks)


def test_an_http_1_0_caller_gets_an_answer_that_ends_with_the_connection() -> None:
    async def body(mesh: Mesh) -> None:
        answer = await mesh.ask(post().replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert answer.body == b"abcde"
        assert "transfer-encoding" not in answer.fields
        assert answer.fields["connection"] == "close"

    in_mesh(body, chunks)


def test_pipelined_requests_are_answered_in_order_on_one_connection() -> None:
    async def body(mesh: Mesh) -> None:
        caller = await mesh.connect()
        caller.writer.write(b"".join(post(body=b"%d" % i) for i in range(50)))
        assert [(await caller.answer()).body for _ in range(50)] == [b"%d" % i for i in range(50)]
        assert len(mesh.pods[0].connections) == 1

    in_mesh(body, echo)


def test_what_follows_a_malformed_request_is_never_run() -> None:
    async def body(mesh: Mesh) -> None:
        caller = await mesh.connect()
        caller.writer.write(post(body=b"1") + b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n" + post(body=b"2"))
        assert (await caller.answer()).body == b"1"
        refused = await caller.answer()
        assert (refused.status, json.loads(refused.body)["reason"]) == (400, "malformed_http")
        assert await caller.reader.read() == b""
        assert len(mesh.pods[0].seen) == 1

    in_mesh(body, echo)


def test_a_refusal_says_everything_its_caller_needs() -> None:
    async def body(mesh: Mesh) -> None:
        answer = await mesh.ask(post("/predictions/nope"))
        told = json.loads(answer.body)
        assert told == {
            "error": "no model is called 'nope' here; GET /me says which there are for you",
            "code": 404,
            "type": "ModelNotFoundException",
            "message": "no model is called 'nope' here; GET /me says which there are for you",
            "reason": "model_not_found",
            "retryable": False,
            "request_id": answer.fields["x-request-id"],
        }
        assert answer.fields["penstock-reason"] == "model_not_found"
        assert answer.fields["penstock-decision"] == "gen=1;refused=model_not_found"

    in_mesh(body, echo)


def test_a_refused_body_is_read_to_its_end_so_that_the_refusal_is_seen() -> None:
    async def body(mesh: Mesh) -> None:
        large = post(body=b"x" * 2_000_000, key=STRANGER_KEY)
        answer = await mesh.ask(large)
        assert (answer.status, answer.fields["connection"]) == (401, "close")
        assert answer.fields["www-authenticate"] == "Bearer"
        assert mesh.pods[0].seen == []

    in_mesh(body, echo)


def test_a_body_over_the_routes_limit_is_refused_before_it_comes() -> None:
    async def body(mesh: Mesh) -> None:
        caller = await mesh.connect()
        caller.writer.write(post(body=b"").replace(b"Content-Length: 0", b"Content-Length: 1001"))
        answer = await caller.answer()
        assert (answer.status, json.loads(answer.body)["reason"]) == (413, "body_too_large")

    in_mesh(body, echo, snapshot=policy(body_bytes=1000))


def test_a_caller_that_expects_it_is_told_to_continue() -> None:
    async def body(mesh: Mesh) -> None:
        caller = await mesh.connect()
        request = post("/predictions/digits", b"abc", "Expect: 100-continue")
        caller.writer.write(request[:-3])
        assert await caller.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        caller.writer.write(request[-3:])
        assert (await caller.answer()).body == b"abc"

    in_mesh(body, echo)


def test_a_rate_limit_refuses_with_the_time_to_wait() -> None:
    async def body(mesh: Mesh) -> None:
        caller = await mesh.connect()
        caller.writer.write(post() * 3)
        answers = [await caller.answer() for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert 900 <= int(answers[2].fields["retry-after"]) <= 1000
        assert json.loads(answers[2].body)["retryable"] is True

    in_mesh(body, echo, snapshot=policy(rate_per_s=0.001, burst=2))


def test_a_pod_that_dies_with_the_request_is_told_as_lost_and_not_tried_again() -> None:
    async def body(mesh: Mesh) -> None:
        answer = await mesh.ask(post())
        told = json.loads(answer.body)
        assert (answer.status, told["reason"], told["retryable"]) == (502, "pod_lost", False)
        assert sum(len(pod.seen) for pod in mesh.pods) == 1
        assert mesh.gateway.in_flight == 0
        assert all(pod.outstanding == 0 for pod in mesh.gateway.pods.of_version("digits", "1"))

    in_mesh(body, die, die)


def test_a_pod_that_cannot_be_reached_costs_nothing_while_another_can() -> None:
    async def body(mesh: Mesh) -> None:
        mesh.pods[0].path.unlink()
        answers = [await mesh.ask(post(body=b"whole")) for _ in range(8)]
        assert [(answer.status, answer.body) for answer in answers] == [(200, b"whole")] * 8
        assert all(pod.outstanding == 0 for pod in mesh.gateway.pods.of_version("digits", "1"))

    in_mesh(body, echo, echo)


def test_when_no_pod_can_be_reached_the_caller_may_try_again() -> None:
    async def body(mesh: Mesh) -> None:
        mesh.pods[0].path.unlink()
        answer = await mesh.ask(post())
        told = json.loads(answer.body)
        assert (answer.status, told["reason"], told["retryable"]) == (503, "no_pod_ready", True)
        assert answer.fields["retry-after"] == "1"

    in_mesh(body, echo)


def test_a_retry_that_finds_no_pod_leaves_the_counts_right() -> None:
    async def body(mesh: Mesh) -> None:
        held = await mesh.connect()
        held.writer.write(post())
        await mesh.pods[0].asked.wait()
        mesh.pods[0].path.unlink()
        assert (await mesh.ask(post())).status == 503
        assert [pod.outstanding for pod in mesh.gateway.pods.of_version("digits", "1")] == [1]

    in_mesh(body, never)


def test_a_chunked_body_that_grows_too_large_is_refused_while_it_comes() -> None:
    async def body(mesh: Mesh) -> None:
        caller = await mesh.connect()
        head = post(body=b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        caller.writer.write(head + b"400\r\n" + bytes(1024) + b"\r\n")
        answer = await caller.answer()
        assert (answer.status, json.loads(answer.body)["reason"]) == (413, "body_too_large")
        caller.writer.write(bytes(100_000))  # nobody resets a client that is still sending
        assert await caller.reader.read() == b""
        assert mesh.pods[0].seen == []

    in_mesh(body, echo, snapshot=policy(body_bytes=1000))


def test_an_upload_goes_on_after_its_first_pod_was_not_there() -> None:
    async def body(mesh: Mesh) -> None:
        assert (await mesh.ask(post())).status == 200  # leaves a connection to a pod that is there
        size = 600_000
        for absent in (pod for pod in mesh.pods if not pod.seen):
            absent.path.unlink()
        for _ in range(6):  # some of them try the absent pod first
            answer = await mesh.ask(post(body=bytes(size)))
            assert (answer.status, len(answer.body)) == (200, size)

    in_mesh(body, echo, echo)


def test_a_slow_callers_pod_connection_is_read_again_by_the_next_caller() -> None:
    async def sized(seen: Seen, answering: Answering) -> None:
        size = int(seen.body)
        answering.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size))

    def stalled(mesh: Mesh) -> list[object]:
        return [one for one in mesh.gateway.connections if one._pace.stalled_since_s < math.inf]  # type: ignore[attr-defined]

    async def body(mesh: Mesh) -> None:
        # The answer has to end in the very read that stops the reading; which size does that is the kernel's affair.
        for number, size in enumerate(range(100_000, 600_000, 20_000)):
            slow = await mesh.connect()
            slow.writer.write(post(body=b"%d" % size))
            while mesh.gateway.settlement.requests == number and not stalled(mesh):
                await asyncio.to_thread(int)
            if stalled(mesh) and mesh.gateway.settlement.requests > number:
                assert len((await mesh.ask(post(body=b"600000"))).body) == 600_000
                assert len((await slow.answer()).body) == size
                return
            slow.writer.transport.abort()
            while mesh.gateway.settlement.requests == number:
                await asyncio.to_thread(int)
        pytest.fail("no answer ended while its caller was held up")

    in_mesh(body, sized)


def test_a_caller_that_pipelines_and_does_not_read_gets_no_further() -> None:
    async def large(seen: Seen, answering: Answering) -> None:
        answering.write(b"HTTP/1.1 200 OK\r\ncontent-length: 600000\r\n\r\n" + bytes(600_000))

    async def body(mesh: Mesh) -> None:
        caller = await mesh.connect()
        caller.writer.write(post() * 50)
        before = -1
        while before != len(mesh.pods[0].seen):  # until the pod hears no more
            before = len(mesh.pods[0].seen)
            await asyncio.gather(*[asyncio.to_thread(int) for _ in range(50)])
        assert before < 10
        for _ in range(50):
            assert len((await caller.answer()).body) == 600_000

    in_mesh(body, large)


def test_an_announced_body_over_the_limit_is_not_asked_for() -> None:
    async def body(mesh: Mesh) -> None:
        caller = await mesh.connect()
        head = post("/predictions/digits", b"", "Expect: 100-continue")
        caller.writer.write(head.replace(b"Content-Length: 0", b"Content-Length: 99999999999"))
        assert (await caller.answer()).status == 413
        assert caller.interim == []
        assert mesh.pods[0].connections == []

    in_mesh(body, echo)


def test_an_http_1_0_caller_is_told_that_its_connection_lives_on() -> None:
    async def body(mesh: Mesh) -> None:
        request = post("/predictions/digits", b"{}", "Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0")
        assert (await mesh.ask(request)).fields["connection"] == "keep-alive"

    in_mesh(body, echo)


def test_an_answer_without_content_never_announces_a_length() -> None:
    async def nothing(seen: Seen, answering: Answering) -> None:
        answering.write(b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n")

    async def body(mesh: Mesh) -> None:
        caller = await mesh.connect()
        caller.writer.write(post() * 2)
        for _ in range(2):
            head = await caller.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 204 ")
            assert b"content-length" not in head

    in_mesh(body, nothing)


def test_a_version_that_cannot_be_loaded_says_why() -> None:
    async def body(mesh: Mesh) -> None:
        failed = replace(
            view(mesh.pods[0], 0, PodState.FAILED, was_ready=False), message="The handler failed: no weights."
        )
        mesh.gateway.pods.replace((failed,))
        answer = await mesh.ask(post())
        told = json.loads(answer.body)
        assert told["reason"] == "no_pod_ready"
        assert told["message"] == (
            "no pod of digits/1 is ready (failed: The handler failed: no weights.); it is loaded again now and then, "
            "and its owner has to mend it"
        )
        assert answer.fields["retry-after"] == "30"

    in_mesh(body, echo)


def test_a_pod_that_does_not_speak_http_is_a_bad_gateway() -> None:
    async def body(mesh: Mesh) -> None:
        answer = await mesh.ask(post())
        assert (answer.status, json.loads(answer.body)["reason"]) == (502, "pod_bad_answer")

    in_mesh(body, babble)


def test_an_answer_that_breaks_off_is_not_made_to_look_whole() -> None:
    async def body(mesh: Mesh) -> None:
        caller = await mesh.connect()
        caller.writer.write(post())
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await caller.answer()

    in_mesh(body, cut_short)


def test_a_deadline_ends_the_request_at_the_pod_too() -> None:
    async def body(mesh: Mesh) -> None:
        answer = await mesh.ask(post("/predictions/digits", b"", "penstock-timeout-ms: 500"))
        told = json.loads(answer.body)
        assert (answer.status, told["reason"], told["retryable"]) == (504, "deadline_exceeded_running", False)
        await mesh.pods[0].hung_up.wait()

    in_mesh(body, never)


def test_a_caller_that_leaves_takes_its_request_along() -> None:
    async def body(mesh: Mesh) -> None:
        caller = await mesh.connect()
        caller.writer.write(post())
        await mesh.pods[0].asked.wait()
        caller.writer.close()
        await mesh.pods[0].hung_up.wait()
        assert mesh.gateway.in_flight == 0

    in_mesh(body, never)


def test_a_slow_body_is_refused_and_the_pod_let_go() -> None:
    async def body(mesh: Mesh) -> None:
        caller = await mesh.connect()
        caller.writer.write(post(body=b"abc")[:-1])
        answer = await caller.answer()
        assert (answer.status, json.loads(answer.body)["reason"]) == (408, "body_too_slow")
        await mesh.pods[0].hung_up.wait()

    in_mesh(body, echo, snapshot=policy(bounds=Bounds(body_timeout_s=0.5)))


def test_a_slow_head_is_refused() -> None:
    async def body(mesh: Mesh) -> None:
        answer = await mesh.ask(b"GET / HT")
        assert (answer.status, json.loads(answer.body)["reason"]) == (408, "head_too_slow")

    in_mesh(body, echo, snapshot=policy(bounds=Bounds(header_timeout_s=0.1)))


def test_an_idle_connection_is_closed_in_time() -> None:
    async def body(mesh: Mesh) -> None:
        caller = await mesh.connect()
        caller.writer.write(post())
        await caller.answer()
        assert await caller.reader.read() == b""

    in_mesh(body, echo, snapshot=policy(bounds=Bounds(idle_timeout_s=0.3)))


def test_a_large_body_goes_to_a_slow_pod_without_being_kept_here() -> None:
    async def body(mesh: Mesh) -> None:
        size = 8 * 2**20
        caller = await mesh.connect()
        caller.writer.write(post(body=bytes(size)))
        await asyncio.sleep(0)
        answer = await caller.answer()
        assert len(answer.body) == size

    in_mesh(body, echo)


def test_a_caller_that_stops_reading_stops_the_pod() -> None:
    written: list[int] = []
    finished = asyncio.Event()

    async def flood(seen: Seen, answering: Answering) -> None:
        answering.write(b"HTTP/1.1 200 OK\r\ncontent-length: 67108864\r\n\r\n")
        for _ in range(1024):
            answering.write(bytes(65536))
            await answering.drain()
            written.append(65536)
        finished.set()

    async def body(mesh: Mesh) -> None:
        caller = await mesh.connect()
        caller.writer.write(post())
        await caller.reader.readuntil(b"\r\n\r\n")
        before = -1
        while before != len(written):  # until the pod stands still
            before = len(written)
            await asyncio.gather(*[asyncio.to_thread(int) for _ in range(50)])
        assert sum(written) < 8 * 2**20
        await caller.reader.readexactly(67108864)
        await finished.wait()

    in_mesh(body, flood)


def without_the_secret(mesh: Mesh) -> None:
    """Serve ``digits`` alone from now on, of which there are pods."""
    served = policy()
    mesh.gateway.use(replace(served, routes={"digits": served.routes["digits"]}))


def test_a_gateway_whose_only_models_pods_are_gone_for_good_is_not_ready() -> None:
    async def body(mesh: Mesh) -> None:
        async def readyz() -> tuple[int, object]:
            answer = await mesh.ask(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")
            return answer.status, json.loads(answer.body)

        without_the_secret(mesh)
        assert await readyz() == (200, {"ready": True})
        mesh.gateway.pods.replace((view(mesh.pods[0], 0, PodState.RESTARTING),))
        assert await readyz() == (200, {"ready": True})  # requests wait in its queue
        mesh.gateway.pods.replace((view(mesh.pods[0], 0, PodState.STARTING),))
        assert await readyz() == (200, {"ready": True})  # its successor may be on its way
        pod = mesh.gateway.pods.of_version("digits", "1")[0]
        pod.away_since_s -= 10.0
        assert await readyz() == (503, {"ready": False, "away": ["digits/1: starting"]})
        mesh.gateway.pods.replace((view(mesh.pods[0], 0),))
        assert await readyz() == (200, {"ready": True})
        mesh.gateway.pods.replace((view(mesh.pods[0], 0, PodState.FAILED),))
        assert await readyz() == (503, {"ready": False, "away": ["digits/1: failed"]})

    in_mesh(body, echo)


def test_a_gateway_that_serves_one_model_stays_ready_without_the_other() -> None:
    async def body(mesh: Mesh) -> None:
        pod = mesh.pods[0]
        others = replace(view(pod, 0), name="secret/1/0", model="secret")
        mesh.gateway.pods.replace((view(pod, 0, PodState.FAILED), others))
        assert (await mesh.ask(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")).status == 200
        mesh.gateway.pods.replace((view(pod, 0, PodState.FAILED), replace(others, state=PodState.FAILED)))
        assert (await mesh.ask(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")).status == 503

    in_mesh(body, echo)


def test_a_version_that_was_ready_once_is_not_waited_for_when_its_pods_are_others() -> None:
    async def body(mesh: Mesh) -> None:
        mesh.gateway.ready_once = frozenset({("secret", "1")})
        assert (await mesh.ask(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")).status == 200

    in_mesh(body, echo)


def test_health_needs_no_key_and_tells_the_truth() -> None:
    async def body(mesh: Mesh) -> None:
        async def get(path: str) -> tuple[int, object]:
            answer = await mesh.ask(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            return answer.status, json.loads(answer.body)

        assert await get("/livez") == (200, {"live": True})
        assert await get("/readyz/digits") == (200, {"name": "digits", "ready": True})
        assert await get("/readyz") == (503, {"ready": False, "waiting_for": ["secret/1: no pod"]})
        assert await get("/ping") == (500, {"status": "Unhealthy"})
        mesh.gateway.pods.replace((view(mesh.pods[0], 0, PodState.RESTARTING),))
        assert await get("/readyz/digits") == (503, {"name": "digits", "ready": False})
        assert (await get("/readyz/nope"))[0] == 404

    in_mesh(body, echo)


def test_the_server_describes_itself_to_whoever_has_a_key() -> None:
    async def body(mesh: Mesh) -> None:
        answer = await mesh.ask(post("/v2", b"").replace(b"POST", b"GET"))
        assert json.loads(answer.body)["name"] == "penstock"
        anonymous = await mesh.ask(b"GET /v2 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert anonymous.status == 401

    in_mesh(body, echo)


def test_a_drain_that_begins_during_an_answer_spares_the_connection_it_was_promised_to() -> None:
    async def body(mesh: Mesh) -> None:
        async def begin_drain(seen: Seen, answering: Answering) -> None:
            answering.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n")
            answering.write(b"o")
            await asyncio.to_thread(int)
            mesh.gateway.draining = True
            answering.write(b"k")

        mesh.pods[0].script = begin_drain
        caller = await mesh.connect()
        caller.writer.write(post())
        assert "connection" not in (await caller.answer()).fields
        mesh.pods[0].script = echo
        caller.writer.write(post())
        answer = await caller.answer()
        assert (answer.status, answer.fields["connection"]) == (200, "close")

    in_mesh(body, echo)


def test_what_is_still_running_when_a_worker_leaves_is_refused_and_not_just_cut() -> None:
    async def body(mesh: Mesh) -> None:
        caller = await mesh.connect()
        caller.writer.write(post())
        await mesh.pods[0].asked.wait()
        for connection in list(mesh.gateway.connections):
            assert isinstance(connection, ClientConnection)
            connection.give_up()
        answer = await caller.answer()
        assert (answer.status, json.loads(answer.body)["reason"]) == (503, "gateway_stopped")
        assert "retry-after" not in answer.fields

    in_mesh(body, never)


def test_a_draining_worker_says_so_and_closes_after_each_answer() -> None:
    async def body(mesh: Mesh) -> None:
        mesh.gateway.draining = True
        answer = await mesh.ask(post())
        assert (answer.status, answer.fields["connection"]) == (200, "close")
        health = await mesh.ask(b"GET /v2/health/ready HTTP/1.1\r\nHost: a\r\n\r\n")
        assert health.status == 503

    in_mesh(body, echo)


PIPELINED = b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n"


async def settled(mesh: Mesh) -> None:
    while mesh.gateway.in_flight:
        await asyncio.to_thread(int)


@pytest.mark.parametrize("is_tcp", [False, True])
@pytest.mark.parametrize("resets", [False, True])
def test_a_caller_that_leaves_is_noticed_while_its_next_request_waits_in_the_socket(is_tcp: bool, resets: bool) -> None:
    async def body(mesh: Mesh) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: ClientConnection(mesh.gateway), "127.0.0.1", 0)
        if is_tcp:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        else:
            writer = (await mesh.connect()).writer
        writer.write(post())
        await mesh.pods[0].asked.wait()
        writer.write(PIPELINED)
        (connection,) = mesh.gateway.connections
        assert isinstance(connection, ClientConnection)
        while not connection._is_paused:
            await asyncio.to_thread(int)
        if resets and is_tcp:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        await settled(mesh)
        server.close()

    in_mesh(body, never)


def test_a_caller_that_pipelines_and_sends_no_more_is_answered_all_the_same() -> None:
    go_on = asyncio.Event()

    async def late(seen: Seen, answering: Answering) -> None:
        await go_on.wait()
        await echo(seen, answering)

    async def body(mesh: Mesh) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: ClientConnection(mesh.gateway), "127.0.0.1", 0)
        caller = Caller(*await asyncio.open_connection(*server.sockets[0].getsockname()))
        caller.writer.write(post() + PIPELINED)
        await mesh.pods[0].asked.wait()
        caller.writer.write_eof()
        (connection,) = mesh.gateway.connections
        assert isinstance(connection, ClientConnection)
        while not connection._was_asked:
            await asyncio.to_thread(int)
        go_on.set()
        assert (await caller.answer()).body == b"{}"
        assert caller.interim == ["100"]
        assert (await caller.answer()).status == 200
        caller.writer.close()
        server.close()

    in_mesh(body, late)


def test_a_tick_that_fails_is_followed_by_the_next() -> None:
    class Late:
        look_at_s, bucket = math.inf, -1
        looked = 0

        def look(self, now_s: float) -> float:
            self.looked += 1
            return now_s

    async def body(mesh: Mesh) -> None:
        failed: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context["exception"]))
        queues, mesh.gateway.waiting._queues = mesh.gateway.waiting._queues, None  # type: ignore[assignment]
        late = Late()
        mesh.gateway.wheel.watch(late, mesh.gateway.now_s())
        while late.looked < 3:
            await asyncio.to_thread(int)
        mesh.gateway.waiting._queues = queues
        assert len(failed) >= 2

    in_mesh(body, echo)


def test_what_came_of_a_refused_body_is_not_kept_while_its_caller_takes_its_time() -> None:
    begun = post(body=bytes(2**20), key="msk_unknown")[: 128 * 1024]

    async def body(mesh: Mesh) -> None:
        assert (await mesh.ask(begun)).status == 401  # what is kept for the next is there
        tracemalloc.start()
        try:
            for _ in range(20):
                caller = await mesh.connect()
                caller.writer.write(begun)
                assert (await caller.answer()).status == 401
            kept_bytes, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert len(mesh.gateway.connections) >= 20
        assert kept_bytes < 20 * len(begun) / 4

    in_mesh(body, never)
