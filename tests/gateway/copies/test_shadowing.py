"""What becomes of copies: shadows that answer, hang, crash or are away, and what they may use."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from gateway.control.messages import Pods
from gateway.copies.copied import Why
from gateway.copies.kept import KeptShadow
from gateway.copies.messages import MAX_COPIED_BYTES
from gateway.copies.queue import MOST_WAITING, Memory
from gateway.copies.shadowing import COMPARED, FAILED, NOT_REPEATED, REPEATED
from model_pod.wire.link import CREDIT_BYTES, WINDOW_BYTES
from model_pod.wire.status import PodState
from policies.snapshot.release import LeftOut, Privacy, Shadow, ShadowLimits
from policies.snapshot.tenant import Tenant
from tests.fakes.link_pod import Script, Stream
from tests.gateway.copies.shadowed import ANSWER, BODY, Shadowed, crash, hang, policy, say, shadowed, until, views

OTHER = b'{"label":8}'


def run(test: Callable[[Shadowed], Awaitable[None]], shadow: Script, **how: Any) -> None:
    async def body() -> None:
        async with shadowed(shadow, **how) as it:
            await test(it)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(body())


def dark(**changed: Any) -> Shadow:
    return Shadow("dark", "2", 1.0, **changed)


def test_a_copy_is_what_was_asked_and_says_that_it_is_one() -> None:
    async def test(it: Shadowed) -> None:
        it.take(target="/predictions/digits/1?a=1")
        await it.counted(COMPARED)
        (stream,) = it.shadow.seen
        request = stream.request
        assert (request.method, request.target, stream.body) == ("POST", "/predictions/digits/2?a=1", BODY)
        assert (b"penstock-shadow", b"dark") in request.fields
        assert (request.request_id, request.tenant, request.idempotency_key) == ("5" * 32, "ads", "")
        version, trace_id, span_id, flags = request.traceparent.split("-")
        assert (version, trace_id, flags) == ("00", "a" * 32, "01")
        assert span_id != "b" * 16
        assert not it.stable.seen

    run(test, say(ANSWER))


def test_the_same_answer_is_compared_and_is_the_same() -> None:
    async def test(it: Shadowed) -> None:
        it.take()
        await until(lambda: it.report.compared == 1)
        assert (it.report.differ, it.count(COMPARED)) == (0, 1)
        assert [(name, answer.body) for name, answer in it.copied] == [("dark", ANSWER)]

    run(test, say(ANSWER))


def test_where_answers_differ_the_version_that_answered_is_asked_once_more() -> None:
    async def test(it: Shadowed) -> None:
        it.take()
        await it.counted(REPEATED)
        await until(lambda: it.report.repeats == 1)
        assert (it.report.differ, it.report.repeats_differ) == (1, 0)
        (again,) = it.stable.seen
        assert (b"penstock-shadow", b"dark") in again.request.fields
        assert again.body == BODY

    run(test, say(OTHER), stable=say(ANSWER))


def test_of_answers_that_differ_the_copy_is_told_as_the_shadow_got_it_and_of_others_nothing() -> None:
    privacy = Privacy(drop_fields=("/user",))

    async def differs(it: Shadowed) -> None:
        it.take(b'{"data":[1],"user":"ada"}')
        await until(lambda: it.report.differ == 1)
        ((copied, stable),) = it.differed
        assert (copied.body, stable.body) == (b'{"data":[1]}', ANSWER)

    run(differs, say(OTHER), snapshot=policy(dark(privacy=privacy)))

    async def same(it: Shadowed) -> None:
        it.take()
        await until(lambda: it.report.compared == 1)
        assert it.differed == []

    run(same, say(ANSWER))


def test_a_repeat_that_cannot_be_sent_is_counted_and_no_copy() -> None:
    async def test(it: Shadowed) -> None:
        it.sending.show(views(("2", it.shadow)))
        it.take()
        await it.counted(NOT_REPEATED)
        assert it.report.compared == 1
        assert it.report.not_copied == {}

    run(test, say(OTHER))


def test_a_shadow_that_hangs_has_failed_when_its_time_is_over() -> None:
    async def test(it: Shadowed) -> None:
        it.take()
        await it.counted(FAILED)
        await until(lambda: it.report.answers.only_shadow_failed == 1)
        await until(lambda: it.shadow.seen[0].reset is not None)
        await until(lambda: it.memory.held_bytes == 0)

    run(test, hang, snapshot=policy(dark(deadline_s=0.5)))


def test_a_shadow_that_crashes_has_failed_and_is_not_asked_again() -> None:
    async def test(it: Shadowed) -> None:
        it.take()
        await it.counted(FAILED)
        await until(lambda: it.report.answers.only_shadow_failed == 1)
        assert len(it.shadow.seen) == 1

    run(test, crash)


@pytest.mark.parametrize("state", [PodState.RESTARTING, PodState.STARTING, PodState.FAILED, PodState.DRAINING])
def test_a_shadow_without_a_ready_pod_gets_nothing(state: PodState) -> None:
    async def test(it: Shadowed) -> None:
        it.sending.show(views(("1", it.stable), ("2", it.shadow), state=state))
        it.take()
        assert it.report.not_copied == {Why.NO_POD: 1}
        assert not it.shadow.seen

    run(test, say(ANSWER))


def test_a_shadow_that_is_gone_is_no_pod() -> None:
    async def test(it: Shadowed) -> None:
        await it.shadow.__aexit__()
        it.shadow.path.unlink(missing_ok=True)
        it.take()
        await it.counted(Why.NO_POD)
        assert it.report.compared == 0
        it.sending.show(Pods(()))
        it.take()
        assert it.count(Why.NO_POD) == 2

    run(test, say(ANSWER))


def test_a_pod_that_has_no_room_says_nothing_of_its_version() -> None:
    async def test(it: Shadowed) -> None:
        it.take()
        await it.counted(Why.REFUSED)
        assert it.report.compared == 0

    run(test, say(b"{}", status=503, reason="queue_full"))


def test_a_failure_of_the_handler_is_one_of_the_shadow() -> None:
    async def test(it: Shadowed) -> None:
        it.take()
        await until(lambda: it.report.answers.only_shadow_failed == 1)

    run(test, say(b"{}", status=500))


def test_no_more_copies_run_at_once_than_the_shadow_may_have_and_the_newest_goes() -> None:
    async def test(it: Shadowed) -> None:
        for _ in range(2 + MOST_WAITING + 3):
            it.take()
        await until(lambda: len(it.shadow.seen) == 2)
        assert it.report.not_copied == {Why.QUEUE_FULL: 3}
        it.shadow.script = say(ANSWER)
        for stream in it.shadow.seen[:2]:
            stream.answer(ANSWER)
        await until(lambda: it.report.compared == 2 + MOST_WAITING)
        assert it.memory.held_bytes == 0

    run(test, hang, snapshot=policy(dark(limits=ShadowLimits(in_flight=2))))


def test_all_copies_together_hold_no_more_than_there_is_room_for() -> None:
    async def test(it: Shadowed) -> None:
        it.take(body=b"x" * 6000)
        it.take(body=b"x" * 6000)
        assert it.report.not_copied == {Why.QUEUE_FULL: 1}
        assert it.memory.held_bytes <= 10_000

    run(test, hang, memory=Memory(10_000))


def test_a_shadow_whose_pods_have_enough_to_do_gets_nothing() -> None:
    async def test(it: Shadowed) -> None:
        it.take()
        it.take()
        await until(lambda: len(it.shadow.seen) == 2)
        it.take()
        assert it.report.not_copied == {Why.BUSY: 1}

    limits = ShadowLimits(in_flight=16, busy_share=2 / 1024)
    run(test, hang, snapshot=policy(dark(limits=limits)))


def test_what_a_shadow_has_used_of_devices_is_bounded() -> None:
    async def test(it: Shadowed) -> None:
        it.take()
        await it.counted(COMPARED)
        it.take()
        assert it.report.not_copied == {Why.BUDGET: 1}
        assert it.shadowing.kept()[0].used_us > 0

    # What the fake pod does not tell is the time that it took.
    limits = ShadowLimits(device_s=1e-6, device_per_s=1e6)
    run(test, lambda stream: begin_and_end(stream), snapshot=policy(dark(limits=limits)))


def begin_and_end(stream: Stream) -> None:
    """Answer in pieces, and tell no cost."""
    stream.begin()
    stream.data(ANSWER, is_last=True)


@pytest.mark.parametrize(
    ("asked", "shadow"),
    [
        ({"tenant": "bank"}, dark()),
        ({"tenant": "nobody"}, dark()),
        ({}, dark(never=LeftOut(tenants=("ads",)))),
        ({"tier": "silver"}, dark(never=LeftOut(tiers=("gold",)))),
    ],
)
def test_who_does_not_allow_copies_has_none_whatever_a_worker_tells(asked: dict[str, Any], shadow: Shadow) -> None:
    async def test(it: Shadowed) -> None:
        it.take(**asked)
        assert it.report.not_copied == {Why.NO_CONSENT: 1}
        assert not it.shadow.seen

    run(test, say(ANSWER), snapshot=policy(shadow))


def test_consent_that_is_taken_back_counts_for_what_waits() -> None:
    async def test(it: Shadowed) -> None:
        it.take()
        it.take()
        await until(lambda: len(it.shadow.seen) == 1)
        it.use(policy(shadow, tenants={"ads": Tenant("ads", "ads", "gold", (), ("*",))}))
        it.shadow.seen[0].answer(ANSWER)
        await it.counted(Why.NO_CONSENT)
        assert len(it.shadow.seen) == 1

    shadow = dark(limits=ShadowLimits(in_flight=1))
    run(test, hang, snapshot=policy(shadow))


def test_consent_that_is_taken_back_takes_what_was_kept_of_its_answers() -> None:
    async def test(it: Shadowed) -> None:
        it.take()
        await until(lambda: len(it.shadow.seen) == 1)
        it.shadow.seen[0].answer(b'{"label":"planted"}')
        await until(lambda: it.report.compared == 1)
        assert "planted" in it.report.worst[0].shadow
        it.take()
        await until(lambda: len(it.shadow.seen) == 2)
        kept = {(one.model, one.name): one for one in it.shadowing.kept()}
        denied = policy(shadow, tenants={"ads": Tenant("ads", "ads", "gold", (), ("*",))})
        it.use(denied)
        it.shadow.seen[1].answer(b'{"label":"planted"}')
        await it.counted("compared", 2)
        await asyncio.sleep(0)
        assert it.report.worst == ()
        assert b"planted" not in it.shadowing.kept()[0].comparison
        async with shadowed(hang, snapshot=policy(Shadow("other", "2", 1.0))) as after:
            after.shadowing.use(denied, kept)
            assert (after.report.compared, after.report.worst) == (1, ())

    shadow = dark(privacy=Privacy(keep="bodies"))
    run(test, hang, snapshot=policy(shadow))


def test_other_privacy_drops_what_waits_and_keeps_what_was_compared() -> None:
    async def test(it: Shadowed) -> None:
        it.take()
        await until(lambda: len(it.shadow.seen) == 1)
        it.shadow.seen[0].answer(ANSWER)
        await until(lambda: it.report.compared == 1)
        it.take()
        it.take()
        it.use(policy(dark(limits=ShadowLimits(in_flight=1), privacy=Privacy(drop_fields=("/x",)))))
        assert it.report.compared == 1
        assert it.count(Why.GONE) == 1
        it.shadow.script = say(ANSWER)
        it.take()
        await until(lambda: it.report.compared == 2)
        assert it.shadow.seen[-1].body == b"{}"

    run(test, hang, snapshot=policy(dark(limits=ShadowLimits(in_flight=1))))


def test_another_version_begins_anew_and_what_is_forgotten_too() -> None:
    async def test(it: Shadowed) -> None:
        it.take()
        await until(lambda: it.report.compared == 1)
        it.shadowing.forget("digits", "dark")
        assert it.report.compared == 0
        it.take()
        await until(lambda: it.report.compared == 1)
        it.use(policy(Shadow("dark", "1", 1.0)))
        assert (it.report.compared, it.report.version) == (0, "1")

    run(test, say(ANSWER))


def test_what_was_compared_and_used_is_there_again_after_a_restart() -> None:
    async def test(it: Shadowed) -> None:
        it.take()
        await until(lambda: it.report.compared == 1)
        kept = {(one.model, one.name): one for one in it.shadowing.kept()}
        async with shadowed(say(ANSWER)) as after:
            after.shadowing.use(policy(Shadow("dark", "2", 0.5)), {})
            after.shadowing.use(policy(Shadow("other", "2", 1.0)), kept)
            after.shadowing.use(policy(), kept)
            assert after.report.compared == 1

    run(test, say(ANSWER))


def test_kept_bytes_that_nobody_can_read_begin_anew() -> None:
    async def test(it: Shadowed) -> None:
        it.shadowing.use(policy(Shadow("other", "2", 1.0)), {})
        it.shadowing.use(policy(), {("digits", "dark"): KeptShadow("digits", "dark", 0, 0, b"junk")})
        assert it.report.compared == 0

    run(test, say(ANSWER))


def test_an_answer_without_end_is_told_by_its_beginning() -> None:
    floods: list[asyncio.Task[None]] = []

    async def flood(stream: Stream) -> None:
        stream.begin()
        sent_bytes = 0
        while stream.reset is None:
            while sent_bytes - stream.credited_bytes <= WINDOW_BYTES - CREDIT_BYTES:
                stream.data(b"x" * CREDIT_BYTES)
                sent_bytes += CREDIT_BYTES
            await asyncio.sleep(0.001)

    async def test(it: Shadowed) -> None:
        it.take()
        await until(lambda: it.report.differ == 1)
        assert [(answer.status, len(answer.body)) for _, answer in it.copied] == [(200, MAX_COPIED_BYTES)]
        await asyncio.gather(*floods)

    run(test, lambda stream: floods.append(asyncio.ensure_future(flood(stream))))


def test_a_request_for_a_shadow_that_is_no_more_is_nothing() -> None:
    async def test(it: Shadowed) -> None:
        it.take(shadows=("other",))
        it.take(model="letters")
        assert it.shadowing.counts() == {"digits": {"dark": {}}}
        assert it.memory.held_bytes == 0

    run(test, say(ANSWER))
