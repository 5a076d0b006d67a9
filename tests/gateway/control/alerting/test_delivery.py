"""Receivers are told over true connections, and nothing that they do holds up or hurts the supervisor."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from gateway.control.alerting import post as posting
from gateway.control.alerting.delivery import AlertDelivery
from gateway.control.alerting.outbox import Outboxes, Result
from gateway.control.alerting.receivers import Receiver, receivers_of
from gateway.control.alerting.signature import signed
from gateway.control.alerting.webhook import message_id, webhook_body
from gateway.control.discovery.resolver import NotResolved
from gateway.control.slo_kept import Notice
from policies.snapshot.mesh import Alerting, Webhook
from tests.fakes.receiver import AlertReceiver
from tests.fakes.told import Told
from tests.gateway.control.alerting.notices import START_S, notice

KEY = "whsec_" + b64encode(bytes(32)).decode()
FIRES, OTHER = notice("page fast"), notice("ticket slow")
OVER = notice("page fast", ended_s=START_S + 600)


class Bench:
    """A delivery to the receivers of a policy, with what is to be told."""

    def __init__(self, alerting: Alerting, firing: tuple[Notice, ...] = ()) -> None:
        self.told = Told()
        self.receivers: tuple[Receiver, ...] = receivers_of(alerting)
        self.outboxes = Outboxes()
        self.outboxes.follow([receiver.name for receiver in self.receivers], [])
        self.firing = list(firing)
        self.now_s = 0.0
        self.delivery = AlertDelivery(
            self.outboxes, lambda _: self.firing, self.told, wall_s=lambda: START_S, steady_s=lambda: self.now_s
        )
        self.delivery.follow(alerting)

    async def tell(self) -> None:
        for receiver in self.receivers:
            await self.delivery.tell(receiver)

    @property
    def counts(self) -> dict[Result, int]:
        (box,) = self.outboxes.by_name.values()
        return {result: count for result, count in box.counts.items() if count}

    @property
    def waiting(self) -> tuple[Notice, ...]:
        (box,) = self.outboxes.by_name.values()
        return box.waiting


def webhook(receiver: AlertReceiver, authorization: str = "") -> Alerting:
    return Alerting((Webhook(f"{receiver.url}/hook", authorization),))


def test_a_webhook_is_told_each_alert_once(tmp_path: Path) -> None:
    secret = tmp_path / "hook"
    secret.write_text("Bearer abc\n")
    secret.chmod(0o600)

    async def story() -> None:
        async with AlertReceiver() as receiver:
            bench = Bench(webhook(receiver, f"file:{secret}"))
            bench.outboxes.put([FIRES, OTHER])
            await bench.tell()
            await bench.tell()
            assert [one.body["alerts"][0]["labels"]["alert"] for one in receiver.taken] == ["page fast", "ticket slow"]
            assert {one.path for one in receiver.taken} == {"/hook"}
            assert receiver.taken[0].headers["authorization"] == "Bearer abc"
            assert bench.counts == {Result.OK: 2}
            bench.outboxes.put([OVER])
            await bench.tell()
            assert receiver.taken[-1].body["status"] == "resolved"
            assert bench.told.lines == []

    asyncio.run(story())


def test_a_webhook_knows_by_a_signature_who_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_TEST_KEY", KEY)

    async def story() -> None:
        async with AlertReceiver() as receiver:
            bench = Bench(Alerting((Webhook(f"{receiver.url}/hook", signature="env:PENSTOCK_TEST_KEY"),)))
            bench.outboxes.put([FIRES])
            await bench.tell()
            (taken,) = receiver.taken
            body = webhook_body(FIRES, f"webhook/127.0.0.1:{receiver.port}")
            assert taken.headers.items() >= signed(KEY, message_id(FIRES), START_S, body).items()
            assert KEY not in str(taken)

    asyncio.run(story())


def test_what_is_no_key_is_said_without_it_and_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_TEST_KEY", "hunter2")

    async def story() -> None:
        async with AlertReceiver() as receiver:
            bench = Bench(Alerting((Webhook(f"{receiver.url}/hook", signature="env:PENSTOCK_TEST_KEY"),)))
            bench.outboxes.put([FIRES])
            await bench.tell()
            assert (receiver.taken, bench.waiting, bench.counts) == ([], (FIRES,), {Result.FAILED: 1})
            (line,) = bench.told.lines
            assert "env:PENSTOCK_TEST_KEY: it holds no key" in line
            assert "hunter2" not in line

    asyncio.run(story())


def test_an_alertmanager_hears_who_we_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_TEST_AM", "Basic bWVzaDpzZWNyZXQ=")

    async def story() -> None:
        async with AlertReceiver() as receiver:
            asked = Alerting(alertmanager=receiver.url, alertmanager_authorization="env:PENSTOCK_TEST_AM")
            bench = Bench(asked, firing=(FIRES,))
            await bench.tell()
            assert receiver.taken[0].headers["authorization"] == "Basic bWVzaDpzZWNyZXQ="

    asyncio.run(story())


def test_an_alertmanager_is_told_all_that_fires_and_what_has_ended() -> None:
    async def story() -> None:
        async with AlertReceiver() as receiver:
            bench = Bench(Alerting(alertmanager=receiver.url), firing=(OTHER,))
            bench.outboxes.put([OVER, OTHER])
            await bench.tell()
            (taken,) = receiver.taken
            assert taken.path == "/api/v2/alerts"
            assert sorted((one["labels"]["alert"], one["endsAt"]) for one in taken.body) == [
                ("page fast", "2027-01-15T08:10:00.000Z"),
                ("ticket slow", "2027-01-15T08:04:00.000Z"),
            ]
            assert bench.waiting == ()
            await bench.tell()  # it is told again what fires, and no more what has ended
            assert [one["labels"]["alert"] for one in receiver.taken[1].body] == ["ticket slow"]

    asyncio.run(story())


@pytest.mark.parametrize(
    ("turn", "why"),
    [
        ("broken", "it answers 503: no."),
        ("busy", "it answers 429"),
        ("unknown", "it answers 404"),
        ("elsewhere", "it answers 302"),
        ("endless", "it answers 503: xxxx"),
        ("hang", "no answer within 0.2 s"),
    ],
)
def test_a_receiver_that_fails_is_told_later_and_that_is_said_once(
    turn: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if turn == "hang":
        monkeypatch.setattr(posting, "WITHIN_S", 0.2)

    async def story() -> None:
        async with AlertReceiver(turn) as receiver:
            bench = Bench(webhook(receiver))
            bench.outboxes.put([FIRES])
            await bench.tell()
            await bench.tell()
            assert bench.waiting == (FIRES,)
            assert bench.counts == {Result.FAILED: 2}
            assert len(bench.told.lines) == 1
            assert f"webhook/127.0.0.1:{receiver.port} cannot be told of alerts: {why}" in bench.told.lines[0]
            assert len(bench.told.lines[0]) < 1000
            monkeypatch.setattr(posting, "WITHIN_S", 10.0)
            receiver.turn = ""
            await bench.tell()
            assert not bench.waiting
            assert bench.told.lines[1:] == [f"webhook/127.0.0.1:{receiver.port} is told of alerts again"]

    asyncio.run(story())


def test_what_a_receiver_will_never_take_is_given_up_and_the_next_is_told() -> None:
    async def story() -> None:
        async with AlertReceiver("refuse") as receiver:
            bench = Bench(webhook(receiver))
            bench.outboxes.put([FIRES, OTHER])
            await bench.tell()
            assert (len(receiver.taken), bench.waiting, bench.counts) == (2, (), {Result.REFUSED: 2})
            name = f"webhook/127.0.0.1:{receiver.port}"
            for line, alert in zip(bench.told.lines, ("page fast", "ticket slow"), strict=True):
                assert f"{name} refuses to be told of {alert} of digits-availability of digits: it answers 400" in line
                assert "it is not told of that again" in line
                assert "alerts.webhooks of mesh.yaml" in line

    asyncio.run(story())


def test_an_alertmanager_that_refuses_is_told_again_of_what_fires_and_that_is_said_once() -> None:
    async def story() -> None:
        async with AlertReceiver("refuse") as receiver:
            bench = Bench(Alerting(alertmanager=receiver.url), firing=(OTHER,))
            (outbox,) = bench.outboxes.by_name.values()
            for _ in range(2):
                await bench.tell()
                assert outbox.is_due(outbox.due_s, is_firing=True)
            (line,) = bench.told.lines
            assert "refuses to be told of ticket slow of digits-availability of digits: it answers 400" in line
            assert "it is told again within a minute of what fires, and no more of what is over" in line
            assert "alerts.alertmanager of mesh.yaml" in line
            bench.outboxes.put([OVER])
            await bench.tell()
            assert len(bench.told.lines) == 2  # that one is lost

    asyncio.run(story())


def test_a_receiver_that_is_not_there_or_of_which_a_secret_is_missing_costs_a_line() -> None:
    async def story() -> None:
        for hook in (Webhook("http://127.0.0.1:1/x"), Webhook("env:PENSTOCK_NO_SUCH_HOOK")):
            bench = Bench(Alerting((hook,)))
            bench.outboxes.put([FIRES])
            await bench.tell()
            assert bench.waiting == (FIRES,)
            assert len(bench.told.lines) == 1

    asyncio.run(story())


def test_one_that_hangs_delays_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.control.alerting.delivery._LOOK_EVERY_S", 0.01)

    async def story() -> None:
        async with AlertReceiver("hang") as hanging, AlertReceiver() as taking:
            bench = Bench(Alerting((Webhook(f"{hanging.url}/a"), Webhook(f"{taking.url}/b"))))
            bench.outboxes.put([FIRES])
            running = asyncio.create_task(bench.delivery.run())
            async with asyncio.timeout(30):
                await hanging.until(1)
                await taking.until(1)
                bench.outboxes.put([OTHER])
                await taking.until(2)
            assert len(hanging.taken) == 1
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(story())


def test_names_are_looked_up_in_threads_of_their_own_so_that_a_mute_name_server_takes_none_that_others_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> tuple[list[str], Result | None]:
        bench = Bench(Alerting((Webhook("https://hooks.example/T0/s3cret"), Webhook("http://127.0.0.1:1/hook"))))
        asked: list[str] = []

        async def mute(name: str) -> tuple[str, ...]:
            asked.append(name)
            raise NotResolved("no answer within 5 s")

        def shared(*_: object, **__: object) -> None:
            raise AssertionError("a name was looked up in a thread that others use")

        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "getaddrinfo", shared)
        delivery = AlertDelivery(bench.outboxes, lambda _: [], bench.told, resolve=mute, wall_s=lambda: START_S)
        bench.outboxes.put([FIRES])
        for receiver in bench.receivers:
            await delivery.tell(receiver)
        why = "webhook/hooks.example cannot be told of alerts: its name cannot be looked up: no answer within 5 s"
        assert why in bench.told.lines
        box = bench.outboxes.by_name["webhook/hooks.example"]
        return asked, next((result for result, count in box.counts.items() if count), None)

    for variable in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    assert asyncio.run(run()) == (["hooks.example"], Result.FAILED)


def test_no_authorization_goes_over_plain_http_to_where_a_secret_says(monkeypatch: pytest.MonkeyPatch) -> None:
    posted: list[str] = []

    async def post(url: str, _body: bytes, _more: Mapping[str, str]) -> None:
        posted.append(url)

    async def tell(url: str) -> list[str]:
        monkeypatch.setenv("PENSTOCK_TEST_HOOK", url)
        monkeypatch.setenv("PENSTOCK_TEST_TOKEN", "Bearer s3cret")
        bench = Bench(Alerting((Webhook("env:PENSTOCK_TEST_HOOK", "env:PENSTOCK_TEST_TOKEN"),)))
        delivery = AlertDelivery(bench.outboxes, lambda _: [], bench.told, post=post, wall_s=lambda: START_S)
        bench.outboxes.put([FIRES])
        await delivery.tell(bench.receivers[0])
        return bench.told.lines

    (said,) = asyncio.run(tell("HTTP://192.0.2.1/hook"))
    assert "over plain HTTP anybody on the way reads the authorization" in said
    assert "192.0.2.1" not in said
    assert asyncio.run(tell("https://192.0.2.1/hook")) == asyncio.run(tell("http://127.0.0.1/hook")) == []
    assert posted == ["https://192.0.2.1/hook", "http://127.0.0.1/hook"]


def test_what_became_of_each_is_noted() -> None:
    noted: list[tuple[str, list[str], str, str]] = []

    async def story() -> None:
        async with AlertReceiver("broken") as receiver:
            bench = Bench(webhook(receiver))
            (name,) = bench.outboxes.by_name

            def note(to: str, notices: Sequence[Notice], result: str, at_s: float, why: str) -> None:
                assert (to, at_s) == (name, START_S)
                noted.append((to, [one.alert.name for one in notices], result, why))

            bench.delivery = AlertDelivery(bench.outboxes, lambda _: [], bench.told, note, wall_s=lambda: START_S)
            bench.outboxes.put([FIRES])
            for turn in ("broken", "", "refuse"):
                receiver.turn = turn
                if turn == "refuse":
                    bench.outboxes.put([OVER])
                await bench.tell()

    asyncio.run(story())
    assert [(names, result) for _, names, result, _ in noted] == [
        (["page fast"], "failed"),
        (["page fast"], "ok"),
        (["page fast"], "refused"),
    ]
    assert "503" in noted[0][3]
    assert noted[1][3] == ""
