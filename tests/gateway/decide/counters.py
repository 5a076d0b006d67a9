"""Counters that stand where a test puts them."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.decide.limits import Standing


@dataclass
class FakeCounters:
    tats_s: dict[str, float] = field(default_factory=dict)
    holders: dict[str, int] = field(default_factory=dict)
    standings: dict[str, Standing] = field(default_factory=dict)
    costs: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def tat_ns(self, key: str) -> int:
        return round(self.tats_s.get(key, 0.0) * 1e9)

    def in_flight(self, key: str) -> int:
        return self.holders.get(key, 0)

    def standing(self, account: str) -> Standing | None:
        return self.standings.get(account)

    def estimate(self, model: str, version: str, meter: str) -> int:
        return self.costs.get((model, version, meter), 0)
