"""Decides who has shown wrong tokens so often that no further one is looked at for a while."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict, deque
from math import ceil
from typing import Final

from msgspec import Struct

PERIOD_S: Final = 60.0
OF_A_SOURCE: Final = 10
OF_EVERYBODY: Final = 200
SOURCES: Final = 1024
# Whoever has one address of IPv6 has the whole network.
_V6_BITS: Final = 64


class Wait(Struct, frozen=True):
    """How long nothing is looked at; 0 where it is."""

    seconds: int = 0


class Guesses:
    """The wrong tokens of the last minute, by where they came from; at most ``SOURCES`` are told apart."""

    def __init__(self) -> None:
        self._of_source: OrderedDict[str, deque[float]] = OrderedDict()
        self._of_all: deque[float] = deque(maxlen=OF_EVERYBODY)

    def wait(self, address: str, now_s: float) -> Wait:
        """Return how long this address has to wait before a token of its is looked at."""
        own = self._of_source.get(source_of(address))
        waits = [
            wrong[0] + PERIOD_S - now_s
            for wrong, most in ((own, OF_A_SOURCE), (self._of_all, OF_EVERYBODY))
            if wrong is not None and len(wrong) == most
        ]
        return Wait(max(0, ceil(max(waits, default=0.0))))

    def wrong(self, address: str, now_s: float) -> None:
        """Count a wrong token."""
        source = source_of(address)
        times = self._of_source.setdefault(source, deque(maxlen=OF_A_SOURCE))
        times.append(now_s)
        self._of_source.move_to_end(source)
        if len(self._of_source) > SOURCES:
            self._of_source.popitem(last=False)
        self._of_all.append(now_s)


def source_of(address: str) -> str:
    """Return whom an address stands for."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    mapped = found.ipv4_mapped
    return str(mapped) if mapped else str(ipaddress.ip_network((found, _V6_BITS), strict=False))
