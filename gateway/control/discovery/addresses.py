"""Decides which addresses a name stands for, from what the resolver said last, and when to ask it again."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from gateway.control.desired import PodPlace

# The resolver does not tell how long an answer holds, so each name is asked this often whatever its time to live.
LOOK_EVERY_S = 5.0
# A name that was never answered has nothing to go on with meanwhile.
FIRST_LOOK_EVERY_S = 1.0
MOST_ADDRESSES = 64
# So long an address that an answer no longer has gets requests on: until those that it has were asked how they are.
STAYS_S = 2.0


class Known(Struct, frozen=True):
    """What is known of one name.

    Attributes:
        addresses: of the last answer that had any, sorted; they count, however old, until another answer comes.
        look_at_s: when to ask next, monotonic seconds.
        trouble: why the last look gave nothing; "" when it did.
        left_out: addresses of the answer beyond ``MOST_ADDRESSES``.
        is_asked: the resolver has been asked at least once.
        going: addresses that the last answer no longer had; they count until the next look, which comes soon.
    """

    look_at_s: float
    addresses: tuple[str, ...] = ()
    trouble: str = ""
    left_out: int = 0
    is_asked: bool = False
    going: tuple[str, ...] = ()


def answered(known: Known, found: Iterable[str], now_s: float) -> Known:
    """Return what is known after an answer; an empty one is no answer.

    Of a name with addresses of both kinds those of IPv4 count: they lead to the same servers, and a pod that counts
    twice would get twice the work.
    """
    addresses = sorted(set(found), key=_order)
    of_v4 = [address for address in addresses if ":" not in address]
    taken = of_v4 or addresses
    if not taken:
        return failed(known, "the answer has no address", now_s)
    kept = tuple(taken[:MOST_ADDRESSES])
    going = tuple(address for address in known.addresses if address not in kept)
    look_at_s = now_s + (STAYS_S if going else LOOK_EVERY_S)
    return Known(look_at_s, kept, "", len(taken) - len(kept), is_asked=True, going=going)


def failed(known: Known, why: str, now_s: float) -> Known:
    """Return what is known after a look that gave nothing: what was known before."""
    wait_s = LOOK_EVERY_S if known.addresses else FIRST_LOOK_EVERY_S
    return replace(known, look_at_s=now_s + wait_s, trouble=why, is_asked=True, going=())


def event(name: str, before: Known, after: Known) -> str:
    """Return the sentence that this change is worth, "" for none."""
    if after.trouble:
        kept = f"; its {len(after.addresses)} known addresses stay" if after.addresses else ""
        return f"{name} cannot be resolved: {after.trouble}{kept}" if after.trouble != before.trouble else ""
    if after.addresses != before.addresses:
        left_out = f"; {after.left_out} more are left out" if after.left_out else ""
        return f"{name} stands for {', '.join(after.addresses)}{left_out}"
    return f"{name} is resolved again" if before.trouble else ""


def name_in(address: str) -> str:
    """Return the host name of a pod's address; "" where it is a path or an address already."""
    if address.startswith("unix:"):
        return ""
    host = address.rpartition(":")[0].removeprefix("[").removesuffix("]")
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    return ""


def names_of(places: Iterable[PodPlace]) -> frozenset[str]:
    """Return every name that has to be resolved."""
    return frozenset(name for place in places if (name := name_in(place.address)))


def expanded(places: Iterable[PodPlace], known: Mapping[str, Known]) -> tuple[PodPlace, ...]:
    """Return the pods with one for each address of a name; each is called by its address, which stays its own."""
    found: dict[tuple[str, str], PodPlace] = {}
    for place in places:
        name = name_in(place.address)
        for one in _of_name(place, known.get(name)) if name else (place,):
            found.setdefault((one.name, one.address), one)
    return tuple(found.values())


def unresolved(places: Iterable[PodPlace], known: Mapping[str, Known]) -> tuple[tuple[PodPlace, str], ...]:
    """Return the pods whose name stands for no address, each called by that name, and why it does not."""
    found: dict[str, tuple[PodPlace, str]] = {}
    for place in places:
        about = known.get(name_in(place.address))
        if about is not None and not about.addresses:
            called = f"{place.model}/{place.version}/{place.address}"
            found[called] = (replace(place, name=called), about.trouble)
    return tuple(found.values())


def _of_name(place: PodPlace, known: Known | None) -> Iterable[PodPlace]:
    port = place.address.rpartition(":")[2]
    for host in (*known.addresses, *known.going) if known is not None else ():
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        name = f"{place.model}/{place.version}/{address}"
        yield PodPlace(name, place.model, place.version, address, None, place.health)


def _order(address: str) -> tuple[bool, str]:
    return ":" in address, address
