"""Gateways that spend, crash, lose answers and send calls again: no window ever sees more than its cap."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gateway.control.ledger.protocol import REFUND_WITHIN_S, Claim, Lease
from gateway.decide.quota_windows import window_at
from tests.gateway.control.ledger.conftest import KINDS, Bench

START_S = datetime(2026, 10, 24, 21, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()  # clocks change in the night
ACCOUNT = "tenant/ads/quota/q"
HOLDERS = st.sampled_from(("east", "west"))
LENGTHS_S = {"rolling-1h": 3600.0, "rolling-24h": 86400.0}


class Gateway:
    """A holder as it is in truth: what it may spend, and what it spent when.

    Attributes:
        reserved: of running requests: when each began, and how much it may still give back.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.number = self.used = self.held = 0
        self.reserved: list[tuple[float, int]] = []


class Spending(RuleBasedStateMachine):
    """Two gateways, one ledger, one account."""

    bench_of: Callable[[], Bench]

    @initialize(per=st.sampled_from(("calendar-day", "calendar-hour", *LENGTHS_S)), cap=st.integers(5, 20))
    def begin(self, per: str, cap: int) -> None:
        self.bench = type(self).bench_of()
        self.ledger = self.bench.open()
        self.per, self.cap, self.highest_cap = per, cap, cap
        self.now_s = START_S
        self.begun = 0
        self.gateways = {name: self._gateway(name) for name in ("east", "west")}
        self.spent: list[tuple[float, int]] = []
        self.late: list[tuple[str, int, list[Claim]]] = []

    def _gateway(self, name: str) -> Gateway:
        self.begun += 1
        return Gateway(f"{name}/{self.begun}")

    def teardown(self) -> None:
        self.bench.destroy()

    @rule(name=HOLDERS, want=st.integers(0, 20), keep=st.integers(0, 20), is_lost=st.booleans())
    def renew(self, name: str, want: int, keep: int, is_lost: bool) -> None:
        """Return what is more than ``keep``, ask for more, and perhaps never hear the answer."""
        gateway = self.gateways[name]
        gateway.held = min(gateway.held, gateway.used + keep)
        gateway.number += 1
        said = [Claim(ACCOUNT, self.per, "Europe/Berlin", self.cap, gateway.used, gateway.held, want)]
        lease = self.ledger.renew(gateway.name, gateway.number, said, self.now_s)[0]
        self._check(lease, gateway)
        self.late.append((gateway.name, gateway.number, said))
        if not is_lost:
            gateway.held = lease.granted_total

    def _check(self, lease: Lease, gateway: Gateway) -> None:
        assert lease.granted_total >= gateway.held
        let = lease.granted_total - gateway.used
        if lease.granted_total > gateway.held:
            assert lease.window_used + lease.outstanding_others + let <= self.cap

    @rule(name=HOLDERS, amount=st.integers(1, 20))
    def spend(self, name: str, amount: int) -> None:
        """A request takes what there is, up to an amount."""
        gateway = self.gateways[name]
        taken = min(amount, gateway.held - gateway.used)
        if taken > 0:
            gateway.used += taken
            self.spent.append((self.now_s, taken))
            gateway.reserved.append((self.now_s, taken))

    @rule(name=HOLDERS, back=st.integers(1, 20))
    def settle(self, name: str, back: int) -> None:
        """A request of this window gives back what it did not need, and the ledger hears of it."""
        gateway = self.gateways[name]
        if not gateway.reserved:
            return
        at_s, taken = gateway.reserved.pop(0)
        same_window = self.per in LENGTHS_S or self._window(at_s) == self._window(self.now_s)
        if not same_window or self.now_s - at_s > REFUND_WITHIN_S:
            return
        back = min(back, taken)
        gateway.used -= back
        self.spent[self.spent.index((at_s, taken))] = (at_s, taken - back)
        self.renew(name, 0, gateway.held, is_lost=False)

    def _window(self, at_s: float) -> float:
        return window_at(self.per, "Europe/Berlin", at_s).start_s

    @rule(name=HOLDERS)
    def fetch_and_spend_all(self, name: str) -> None:
        """Spend all that there is to be had; the ledger hears of it later."""
        self.renew(name, 40, 40, is_lost=False)
        self.spend(name, 40)

    @rule(
        step=st.sampled_from(
            ("a moment", "a part of a slot", "almost the length", "the length", "to just before the end", "to the end")
        )
    )
    def wait(self, step: str) -> None:
        """Let time pass, mostly to where a window changes."""
        window = window_at(self.per, "Europe/Berlin", self.now_s)
        length_s = LENGTHS_S.get(self.per, window.end_s - window.start_s)
        self.now_s += {
            "a moment": 0.1,
            "a part of a slot": window.slot_s / 3,
            "almost the length": length_s - window.slot_s / 3,
            "the length": length_s,
            "to just before the end": max(0.0, window.end_s - self.now_s - 0.1),
            "to the end": window.end_s - self.now_s,
        }[step]

    @rule(name=HOLDERS)
    def lose_a_gateway(self, name: str) -> None:
        """Its table is gone; what it had unused is wasted, and no more."""
        gateway = self.gateways[name]
        self.ledger.abandon(gateway.name, self.now_s)
        self.late = [late for late in self.late if late[0] != gateway.name]
        self.gateways[name] = self._gateway(name)

    @precondition(lambda self: self.bench.keeps)
    @rule()
    def kill_the_ledger(self) -> None:
        self.bench.crash(self.ledger)
        self.ledger = self.bench.open()

    @precondition(lambda self: self.late)
    @rule(data=st.data())
    def send_an_old_call_again(self, data: st.DataObject) -> None:
        before = self.ledger.use(ACCOUNT)
        self.ledger.renew(*data.draw(st.sampled_from(self.late)), self.now_s)
        assert self.ledger.use(ACCOUNT) == before

    @rule(cap=st.integers(0, 20))
    def edit_the_cap(self, cap: int) -> None:
        self.cap = cap
        self.highest_cap = max(self.highest_cap, cap)

    @invariant()
    def nothing_is_overspent(self) -> None:
        """In any calendar window, and in any interval of a rolling window's length."""
        if not self.spent:
            return
        for end_s, _ in self.spent:
            if self.per in LENGTHS_S:
                first_s, last_s = end_s - LENGTHS_S[self.per], end_s
                inside = sum(amount for at_s, amount in self.spent if first_s < at_s <= last_s)
            else:
                inside = sum(amount for at_s, amount in self.spent if self._window(at_s) == self._window(end_s))
            assert inside <= self.highest_cap


@pytest.mark.parametrize("kind", KINDS)
def test_no_window_sees_more_than_its_cap(kind: str) -> None:
    examples = 150 if kind == "memory" else 40
    bounds = settings(max_examples=examples, stateful_step_count=40, deadline=None)
    run_state_machine_as_test(_spending_in(kind), settings=bounds)


def _spending_in(kind: str) -> type[Spending]:
    return type(f"Spending_{kind}", (Spending,), {"bench_of": staticmethod(KINDS[kind])})


STEPS = ("spend", "spend a little", "give back", "a moment", "a part of a slot", "almost the length", "the last moment")


@given(
    per=st.sampled_from(("calendar-hour", "rolling-1h")),
    steps=st.lists(st.sampled_from(STEPS), min_size=6, max_size=60),
)
@settings(max_examples=500, deadline=None)
def test_one_greedy_gateway_never_overspends_at_the_edges_of_windows(per: str, steps: list[str]) -> None:
    """Few kinds of step, so that those that matter meet."""
    run = _spending_in("memory")()
    run.begin(per, 10)
    for step in steps:
        match step:
            case "spend":
                run.fetch_and_spend_all("east")
            case "spend a little":
                run.renew("east", 3, 40, is_lost=False)
                run.spend("east", 3)
                run.renew("east", 3, 40, is_lost=False)
            case "give back":
                run.settle("east", 2)
            case "the last moment":
                run.wait("to just before the end")
            case _:
                run.wait(step)
        run.nothing_is_overspent()
