from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.copies.messages import Answered
from gateway.dataplane.express import Passage
from gateway.dataplane.pod_link import LinkExchange, LinkUpstream
from gateway.decide.stage import Stage
from gateway.limits.table import Busy
from model_pod.wire import link
from policies.snapshot.generation import Snapshot
from policies.snapshot.limits import Limit
from policies.snapshot.mesh import Tracing
from policies.snapshot.release import Canary, CanaryStep, ChooseRule, Feedback, Judge, LeftOut, Shadow, When
from policies.snapshot.slos import Objective
from policies.snapshot.tenant import Quota
from tests.gateway.dataplane.two_ways import FakeTransport, World
from tests.gateway.policy import KEY, PLAIN_KEY, STRANGER_KEY, policy

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
FIELDS = b"content-type: application/json\r\npenstock-usage: device_us=120;batch=1;queue_us=10\r\n"
Make = Callable[..., World]


def head(
    *,
    path: str = "/predictions/digits",
    key: str = KEY,
    length: int = 4,
    parent: str = PARENT,
    extra: str = "",
    scheme: str = "Bearer",
    line: str = "HTTP/1.1",
    user: str = "user-7",
) -> str:
    return (
        f"POST {path} {line}\r\nHost: penstock.test\r\nUser-Agent: test/1\r\nAccept: */*\r\n"
        f"Content-Type: application/json\r\nTracestate: a=1\r\nAuthorization: {scheme} {key}\r\n"
        f"Traceparent: {parent}\r\nX-User-Id: {user}\r\n{extra}Content-Length: {length}\r\n\r\n"
    )


def request(body: bytes = b"[12]", **changes: object) -> bytes:
    return head(length=len(body), **changes).encode() + body  # type: ignore[arg-type]


def answer(number: int, body: bytes = b"{}", status: int = 200, reason: str = "", **changes: object) -> bytes:
    told = link.PodAnswer(status, "", reason, FIELDS, b"queue;dur=0.1", len(body), 120, 3, 1, 50)
    for name, value in changes.items():
        told = msgspec.structs.replace(told, **{name: value})
    return b"".join(link.frame(link.ANSWER | link.LAST, number, link.encode_head(told), body))


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[World] = []

    def world(
        snapshot: Snapshot | None = None,
        *,
        is_express: bool = True,
        pods: int = 1,
        versions: tuple[str, ...] = ("1",),
    ) -> World:
        made.append(
            World(snapshot or limited(), tmp_path / str(len(made)), pods, is_express=is_express, versions=versions)
        )
        return made[-1]

    yield world
    for one in made:
        one.close()


def limited(**changes: object) -> Snapshot:
    limit = Limit("tier/gold", 50.0, 60, in_flight=20)
    return policy(**{"limit": limit, **changes})  # type: ignore[arg-type]


def learnt(world: World, clients: int = 1) -> World:
    """A gateway that has answered each client once, so that it knows what they send."""
    for number in range(clients):
        world.connect()
        ask(world, number)
    return world


def ask(world: World, number: int = 0, data: bytes = b"", body: bytes = b"{}") -> bytes:
    client, transport = world.clients[number]
    client.data_received(data or request())
    world.turn()
    world.answer_latest(lambda number: answer(number, body))
    return transport.take()


def is_taken(world: World, number: int = 0) -> bool:
    return isinstance(world.clients[number][0]._forward, Passage)


def test_a_taken_request_shows_nothing_of_its_bytes(make: Make) -> None:
    world = learnt(make())
    world.clients[0][0].data_received(request())
    assert is_taken(world)
    assert KEY not in repr(world.clients[0][0]._forward)


def counted_now(world: World) -> int:
    """Take what was settled since the last time, and return of how many requests that tells."""
    tallies = world.gateway.settlement.take_tallies()
    return sum(sum(counts.buckets) for tally in tallies for counts in tally.requests)


def test_what_comes_after_a_tally_was_taken_is_counted_in_the_next(make: Make) -> None:
    world = learnt(make())
    ask(world)
    assert counted_now(world) == 2
    ask(world)
    ask(world)
    assert counted_now(world) == 2
    world.use(limited(generation=2))
    ask(world)
    ask(world)
    assert counted_now(world) == 2


def test_the_second_request_of_a_client_is_taken_at_once(make: Make) -> None:
    world = learnt(make())
    world.clients[0][0].data_received(request(user="somebody-else", body=b"[1,2,3]"))
    assert is_taken(world)


def test_a_new_connection_of_a_like_client_is_taken_at_once(make: Make) -> None:
    world = learnt(make())
    world.connect()
    world.clients[1][0].data_received(request())
    assert is_taken(world, 1)


@pytest.mark.parametrize(
    "unusual",
    [
        request(extra="Idempotency-Key: abc\r\n"),
        request(extra="Penstock-Timeout-Ms: 250\r\n"),
        request(extra="Connection: close\r\n"),
        request(extra="X-User-Id: twice\r\n"),
        request(user="gr\u00fcn".encode().decode("latin-1")),
        request(user="tab\there"),
        request(user=" two spaces"),
        request(line="HTTP/1.0"),
        request(scheme="Basic"),
        request(key=STRANGER_KEY),
        request(path="/predictions/%64igits"),
        request(path="/predictions/digits#part"),
        request(path="/predictions/none"),
        request(path="http://penstock.test/predictions/digits"),
        request(b"x" * (link.WINDOW_BYTES + 1)),
        request() + b"POST ",
        request()[:-1],
        request(extra="Host: other\r\n"),
        request().replace(b"Host: penstock.test", b"Host: penstock test"),
        request().replace(b"Host: penstock.test", b"Host:penstock.test"),
        request().replace(b"Length: 4", b"Length: +4"),
        request().replace(b"Length: 4", b"Length: " + b"0" * 16 + b"4"),
        request().replace(b"Length: 4", b"Length: " + b"0" * 5000 + b"4"),
        request(user="x" * 17_000),
        request(path="/predictions/digits?" + "x" * 9000),
        request().replace(b"Length: 4", b"Length: 4, 4"),
        request().replace(b"\r\nX-User", b"\nX-User"),
        request().replace(b"POST ", b"POST  "),
        request().replace(b"POST ", b"post "),
        b"\r\n" + request(),
    ],
)
def test_what_is_unusual_is_left_to_the_gate(make: Make, unusual: bytes) -> None:
    world = learnt(make())
    world.clients[0][0].data_received(unusual)
    assert not is_taken(world)


def test_a_limit_without_room_is_left_to_who_can_say_so(make: Make) -> None:
    world = learnt(make(limited(limit=Limit("tier/gold", 1.0, 2))))
    assert b"200 OK" in ask(world)
    client, transport = world.clients[0]
    client.data_received(request())
    world.turn()
    assert b"429" in transport.take()


def test_a_tenant_with_a_quota_is_left_to_those_who_count_it(make: Make) -> None:
    quota = Quota("tokens", "tokens", 1000, "calendar-day")
    world = make(limited(quotas=(quota,)))
    world.connect()
    for _ in range(2):
        world.clients[0][0].data_received(request())
        assert not is_taken(world)


def test_a_revoked_key_is_refused_from_the_next_request_on(make: Make) -> None:
    world = learnt(make())
    world.gateway.revoke(frozenset({f"id-{KEY}"}))
    client, transport = world.clients[0]
    client.data_received(request())
    assert b"401" in transport.take()


def test_a_new_generation_decides_from_the_next_request_on(make: Make) -> None:
    world = learnt(make())
    world.use(limited(generation=2))
    assert b"gen=2;" in ask(world)
    assert b"gen=2;" in ask(world)


def test_a_request_under_way_keeps_its_generation(make: Make) -> None:
    world = learnt(make())
    client, transport = world.clients[0]
    client.data_received(request())
    assert is_taken(world)
    world.turn()
    world.use(limited(generation=2))
    world.pod_says(0, answer(2, status=404))
    assert b"gen=1;" in transport.take()


def test_a_request_that_starts_over_is_sent_once(make: Make) -> None:
    world = learnt(make(limited(limit=Limit("tier/gold", 50.0, 1))))
    world.wait(1.0)
    ask(world)
    client, transport = world.clients[0]
    client.data_received(request())
    readings = iter([world.clock_s, world.clock_s + 0.03])
    world.gateway.turn.now_s = lambda: next(readings)
    world.clock_s += 0.03  # the loop was late between the charge, which found no room, and the decision, which does
    world.turn()
    kind, _, head, body = world.told["digits/1/0"][-1]
    assert (kind, body) == (link.REQUEST | link.LAST, b"[12]")
    assert link.decode_request(head).content_length == 4
    world.answer_latest(answer)
    assert b"200 OK" in transport.take()


def test_limits_that_are_busy_refuse_the_turn_and_take_nobody_off_the_way(make: Make) -> None:
    world = learnt(make())
    client, transport = world.clients[0]

    def busy(domain: int) -> None:
        raise Busy

    world.limits._table.lock_one, lock_one = busy, world.limits._table.lock_one  # type: ignore[method-assign]
    client.data_received(request())
    world.turn()
    assert b"limits_busy" in transport.take()
    assert world.gateway.in_flight == 0
    world.limits._table.lock_one = lock_one  # type: ignore[method-assign]
    client.data_received(request())
    assert is_taken(world)


def test_a_defect_in_sending_costs_one_request_its_connection_and_nothing_else(make: Make) -> None:
    world = learnt(make(), clients=2)
    pod = world.gateway.pods.of_version("digits", "1")[0]
    assert isinstance(pod.upstream, LinkUpstream)

    def broken(head: bytes, body: bytes, receiver: object) -> LinkExchange:
        raise KeyError("a defect of ours")

    pod.upstream.send_whole, send_whole = broken, pod.upstream.send_whole  # type: ignore[method-assign]
    world.clients[0][0].data_received(request(b"y" * 30_000))
    world.turn()
    assert world.clients[0][1].closed
    assert (pod.outstanding, world.gateway.in_flight, world.gateway.bodies.held_bytes) == (0, 0, 0)
    assert world.limits.in_flight("tenant/ads/tier/in_flight") == 0
    pod.upstream.send_whole = send_whole  # type: ignore[method-assign]
    assert b"200 OK" in ask(world, 1)


def test_a_defect_in_ending_a_defective_request_keeps_nothing_from_going_out(make: Make) -> None:
    world = learnt(make(), clients=2)
    passages = []
    for client, _ in world.clients:
        client.data_received(request())
        passages.append(client._forward)
    first = passages[0]
    assert isinstance(first, Passage)
    first._fields = [object()]  # type: ignore[list-item]  # which cannot be encoded
    world.clients[0][0].cut = lambda: 1 / 0  # type: ignore[method-assign, assignment]
    sent = frames(world)
    world.turn()
    assert frames(world) == sent + 1
    assert world.gateway.defects.count == 2


def test_nobody_who_is_not_known_has_a_form_learnt(make: Make) -> None:
    world = make()
    world.connect()
    world.clients[0][0].data_received(request(key=STRANGER_KEY))
    assert world.gateway.forms.latest is None


def test_callers_who_ask_with_ever_other_queries_have_one_way(make: Make) -> None:
    world = learnt(make())
    for number in range(5):
        ask(world, data=request(path=f"/predictions/digits?u={number}"))
    assert len(world.gateway.ways._ways) == 1
    assert link.decode_request(world.told["digits/1/0"][-1][2]).target == "/predictions/digits?u=4"


# --- within one turn of the loop, before anything is sent


def frames(world: World) -> int:
    return sum(map(len, world.told.values()))


def test_one_who_leaves_in_the_turn_in_which_it_asked_is_not_sent_and_costs_nothing(make: Make) -> None:
    world = learnt(make())
    sent, tat_ns = frames(world), world.limits.tat_ns("tenant/ads/tier/rate")
    world.clients[0][0].data_received(request())
    world.clients[0][0].connection_lost(None)
    world.turn()
    assert frames(world) == sent
    assert world.limits.tat_ns("tenant/ads/tier/rate") == tat_ns
    assert world.limits.in_flight("tenant/ads/tier/in_flight") == 0
    assert world.gateway.settlement.refusals == {"client_gone": 1}


def test_a_worker_that_leaves_in_that_turn_refuses_what_it_did_not_send(make: Make) -> None:
    world = learnt(make())
    sent = frames(world)
    client, transport = world.clients[0]
    client.data_received(request())
    client.give_up()
    world.turn()
    assert b"was not run" in transport.take()
    assert frames(world) == sent
    assert world.gateway.in_flight == 0


def test_of_two_in_one_turn_the_last_place_is_one_of_theirs(make: Make) -> None:
    world = learnt(make(limited(limit=Limit("tier/gold", 1e6, 10_000, in_flight=1))), clients=2)
    for client, _ in world.clients:
        client.data_received(request())
    world.turn()
    assert is_taken(world, 0)
    assert b"429" in world.clients[1][1].take()


def test_tenants_of_one_turn_are_each_charged_their_own(make: Make) -> None:
    world = learnt(make(), clients=3)
    for client, _ in world.clients:
        client.data_received(request())
    world.turn()
    assert world.limits.in_flight("tenant/ads/tier/in_flight") == 3


def counted(world: World) -> dict[str, tuple[int, int, int]]:
    """What requests meant to each objective: good, bad and ignored."""
    found: dict[str, tuple[int, int, int]] = {}
    for tally in world.gateway.settlement.take_tallies():
        for one in tally.events:
            good, bad, ignored = found.get(one.slo, (0, 0, 0))
            found[one.slo] = (good + one.good, bad + one.bad, ignored + one.ignored)
    return found


def test_an_answer_that_met_a_cold_start_is_counted_as_such_and_answered_all_the_same(make: Make) -> None:
    world = learnt(make(limited(objectives=OBJECTIVES)))
    client, transport = world.clients[0]
    client.data_received(request())
    assert is_taken(world)
    world.turn()
    world.answer_latest(lambda number: answer(number, b"late", cold=True))
    assert transport.take().endswith(b"late")
    assert counted(world) == {"digits-latency": (2, 0, 0), "digits-begun": (2, 0, 0), "digits-warm": (1, 1, 0)}


@pytest.mark.parametrize(("begins_s", "begun"), [(0.1, (2, 0, 0)), (0.3, (1, 1, 0))])
def test_an_answer_that_comes_as_it_is_made_is_counted_by_its_first_byte(
    make: Make, begins_s: float, begun: tuple[int, int, int]
) -> None:
    world = learnt(make(limited(objectives=OBJECTIVES)))
    client, _ = world.clients[0]
    client.data_received(request())
    world.turn()
    ((pod, number),) = world.open_streams()
    head = link.encode_head(link.PodAnswer(200, "", "", FIELDS, b"", link.NOT_TOLD, cold=False))
    world.pod_says(pod, b"".join(link.frame(link.ANSWER, number, head)))
    world.wait(begins_s)
    world.pod_says(pod, b"".join(link.frame(link.DATA, number, b"", b"first")))
    world.wait(5.0)
    world.pod_says(pod, b"".join(link.frame(link.DATA | link.LAST, number, b"", b"last")))
    assert counted(world) == {"digits-latency": (1, 1, 0), "digits-begun": begun, "digits-warm": (2, 0, 0)}


# --- the same either way

Action = tuple[object, ...]
sent = st.sampled_from(
    [
        request(),
        request(),
        request(b"[1]", user="x" * 40),
        request(parent=PARENT.replace("-01", "-00")),
        request(parent="00-00000000000000000000000000000000-b7ad6b7169203331-01"),
        request(parent="nonsense"),
        request(key=PLAIN_KEY),
        request(key=STRANGER_KEY),
        request(path="/v2/models/digits/infer"),
        request(path="/predictions/digits?a=1"),
        request(path="/predictions/none"),
        request(extra="Connection: keep-alive\r\n"),
        request(extra="Connection: close\r\n"),
        request(extra="Idempotency-Key: abc\r\n"),
        request(b""),
        request(b"y" * 70_000),
        request(b"y" * 30_000),
        request(b"y" * 60_000),
        request()[:200],
        request() + request(),
        b"GET /ping HTTP/1.1\r\nhost: a\r\n\r\n",
        b"nonsense\r\n\r\n",
    ]
)
said = st.sampled_from(
    [
        answer(0),
        answer(0),
        answer(0, b"z" * 20_000),
        answer(0, status=500),
        answer(0, status=404),
        answer(0, phrase="Fine"),
        answer(0, status=503, reason="queue_full", device_us=-1),
        answer(0, status=204, body=b""),
        answer(0, content_length=7),
        answer(0, fields=b"date: now\r\n"),
        answer(0, timing=b""),
        answer(0, cold=True),
        answer(0, cold=False),
        answer(0, status=503, reason="model_not_ready", device_us=-1, cold=True),
        b"".join(link.frame(link.ANSWER, 0, link.encode_head(link.PodAnswer(200, "", "", b"", b"", -1)), b"part")),
        b"".join(link.frame(link.DATA | link.LAST, 0, b"", b"rest")),
        b"".join(link.frame(link.RESET, 0, link.encode_head(link.Reset("pod_draining", has_run=False)))),
        b"".join(link.frame(link.RESET, 0, link.encode_head(link.Reset("inference_lost")))),
        link.credit(0, 10),
        b"".join(link.frame(link.LEAVING, 0)),
    ]
)
clients = st.integers(0, 2)
usually = st.tuples(st.just("send"), clients, st.just(request()))
actions = st.lists(
    st.one_of(
        usually,
        usually,
        usually,
        st.tuples(st.just("send"), clients, sent),
        st.tuples(st.just("say"), st.just(0), st.just(answer(0))),
        st.tuples(st.just("say"), st.integers(0, 2), said),
        st.tuples(st.just("say"), st.just(0), said),
        st.tuples(st.just("leave"), clients),
        st.tuples(st.just("lose"), st.integers(0, 1)),
        st.tuples(st.just("wait"), st.sampled_from([0.001, 0.02, 0.5, 3.0, 31.0])),
        st.tuples(st.sampled_from(["stall", "read"]), clients),
        st.tuples(st.sampled_from(["drain", "reload", "leave now"])),
    ),
    max_size=16,
)


def play(world: World, told: list[Action]) -> dict[str, object]:
    for _ in range(2):
        world.connect()
        ask(world, len(world.clients) - 1)
    world.connect()
    for action in told:
        act(world, action)
        world.turn()
    world.wait(200.0)
    world.turn()
    return world.came_to()


def act(world: World, action: Action) -> None:
    match action:
        case ("send", int(number), bytes(data)):
            client, transport = world.clients[number]
            if not transport.closed and not transport.paused:
                client.data_received(data)
        case ("say", int(back), bytes(data)):
            streams = world.open_streams()
            if len(streams) > back:
                pod, number = streams[-1 - back]
                world.pod_says(pod, renumbered(data, number))
        case ("leave", int(number)):
            client, transport = world.clients[number]
            client.connection_lost(None)
            transport.closed = True
        case ("lose", int(pod)):
            world.lose_pod(pod)
        case ("wait", float(seconds)):
            world.wait(seconds)
        case ("stall", int(number)):
            world.clients[number][0].pause_writing()
        case ("read", int(number)):
            world.clients[number][0].resume_writing()
        case ("drain",):
            world.gateway.draining = True
        case ("leave now",):
            for client, _ in world.clients:
                if client in world.gateway.connections:
                    client.give_up()
        case ("reload",):
            snapshot = limited(generation=world.gateway.tables.generation + 1, objectives=OBJECTIVES)
            route = world.gateway.tables.routes["digits"]
            world.use(released(snapshot, {"canary": route.canary, "choose": route.choose, "shadows": route.shadows}))


def renumbered(data: bytes, number: int) -> bytes:
    """The frame, of another stream."""
    return data[:4] + (number if data[:1] and data[12] & 0x7F != link.LEAVING else 0).to_bytes(4, "little") + data[8:]


OBJECTIVES = (
    Objective("digits-latency", "vision", 3600.0, 0.99, status_below=500, within_s=0.3),
    Objective("digits-begun", "vision", 3600.0, 0.99, status_below=500, first_byte_within_s=0.2),
    Objective("digits-warm", "vision", 3600.0, 0.99, pod="ready"),
)


CANARY = Canary(
    "second", "2", (CanaryStep(1.0),), Judge("1"), sticky_by=("header:x-user-id", "tenant"), never=LeftOut(("nobody",))
)
RULE = ChooseRule("by-language", When(headers=(("accept", "*/*"),), scope="pin"), "2")
SHADOW = Shadow("dark", "2", 0.6, ("header:x-user-id",), repeat_stable=1.0)
RELEASES: list[tuple[dict[str, object], Stage | None]] = [
    ({}, None),
    ({"canary": CANARY}, Stage("digits", "second", "2", 1, 0, 0.5)),
    ({"canary": CANARY}, Stage("digits", "second", "2", 2, 1, 1.0)),
    ({"canary": CANARY}, Stage("digits", "second", "2", 3, 1, 1.0, is_over=True)),
    ({"canary": CANARY, "choose": (RULE,)}, Stage("digits", "second", "2", 1, 0, 0.0)),
    ({"shadows": (SHADOW,), "feedback": Feedback("")}, None),
    ({"shadows": (SHADOW,), "canary": CANARY}, Stage("digits", "second", "2", 1, 0, 0.3)),
]


def released(snapshot: Snapshot, changes: dict[str, object]) -> Snapshot:
    route = replace(snapshot.routes["digits"], **changes)
    tenant = replace(snapshot.tenants["ads"], is_copied=True)
    return replace(snapshot, routes=snapshot.routes | {"digits": route}, tenants={"ads": tenant})


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    release=st.sampled_from(RELEASES),
    told=actions,
    limit=st.sampled_from([(50.0, 60, 20), (2.0, 4, 3), (1000.0, 1000, 1)]),
    tracing=st.builds(
        Tracing, callers=st.sampled_from(["resample", "trust", "restart"]), kept_per_s=st.sampled_from([0.0, 1e4])
    ),
)
def test_whatever_happens_both_ways_come_to_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    release: tuple[dict[str, object], Stage | None],
    told: list[Action],
    limit: tuple[float, int, int],
    tracing: Tracing,
) -> None:
    rate_per_s, burst, in_flight = limit
    snapshot = limited(
        limit=Limit("tier/gold", rate_per_s, burst, in_flight=in_flight),
        objectives=OBJECTIVES,
        tracing=tracing,
    )
    changes, stage = release
    snapshot = released(snapshot, changes)
    folder = tmp_path_factory.mktemp("worlds")
    express, plain = (
        World(snapshot, folder / str(way), 2, is_express=way, versions=("1", "2")) for way in (True, False)
    )
    for world in (express, plain):
        world.gateway.stand(() if stage is None else (stage,))
    try:
        ours, theirs = play(express, told), play(plain, told)
        for what, came in theirs.items():
            assert ours[what] == came, what
    finally:
        express.close()
        plain.close()


def test_the_transport_of_the_worlds_takes_nothing_when_closed() -> None:
    transport = FakeTransport()
    transport.close()
    with pytest.raises(AssertionError):
        transport.write(b"x")


# --- versions that are chosen for each request


def releasing(make: Make, stage: Stage | None = None, **changes: object) -> World:
    world = make(released(limited(), changes), versions=("1", "2"))
    world.gateway.stand(() if stage is None else (stage,))
    return learnt(world)


def test_a_request_of_a_canary_is_taken_at_once_and_each_user_keeps_its_version(make: Make) -> None:
    world = releasing(make, Stage("digits", "second", "2", 1, 0, 0.5), canary=CANARY)
    versions: dict[str, set[bytes]] = {}
    for user in [f"user-{number}" for number in range(20)] * 2:
        client, _ = world.clients[0]
        client.data_received(request(user=user))
        assert is_taken(world)
        world.turn()
        world.answer_latest(answer)
        told = world.clients[0][1].take()
        versions.setdefault(user, set()).add(told[told.index(b";version=") :][:30].split(b";")[1])
    assert all(len(seen) == 1 for seen in versions.values())
    assert len({next(iter(seen)) for seen in versions.values()}) == 2


def test_a_share_that_rises_counts_from_the_next_request_on(make: Make) -> None:
    world = releasing(make, Stage("digits", "second", "2", 1, 0, 0.0), canary=CANARY)
    assert b"version=1;why=stable" in ask(world)
    world.gateway.stand([Stage("digits", "second", "2", 2, 1, 1.0)])
    assert b"version=2;why=canary" in ask(world)


def test_a_header_that_goes_to_no_pod_leaves_the_choice_to_the_gate(make: Make) -> None:
    canary = replace(CANARY, sticky_by=("header:x-forwarded-user",))
    world = releasing(make, Stage("digits", "second", "2", 1, 0, 1.0), canary=canary)
    world.clients[0][0].data_received(request())
    assert not is_taken(world)


def test_a_copy_is_handed_over_after_its_answer_with_both_bodies(make: Make) -> None:
    world = releasing(make, shadows=(replace(SHADOW, sample=1.0),))
    world.copied_messages()
    client, transport = world.clients[0]
    client.data_received(request(b"[1,2,3]"))
    assert is_taken(world)
    world.turn()
    assert world.copied_messages() == []
    world.answer_latest(lambda number: answer(number, b'{"label":2}'))
    assert b"200 OK" in transport.take()
    (copied,) = world.copied_messages()
    told, blobs = cast(tuple[Answered, list[bytes]], copied)
    assert blobs == [b"[1,2,3]", b'{"label":2}']
    assert (told.shadows, told.version, told.status, told.tenant) == (("dark",), "1", 200, "ads")
    assert KEY.encode() not in msgspec.msgpack.encode(told)
