"""What may listen where: nothing secret crosses a network in the clear, and TLS is asked of who has it."""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import Final

from policies.errors import PolicyError, quoted
from policies.kinds import MESH, PolicyFile
from policies.mistakes import Mistake, placed
from policies.nodes import Mapping, entry_of, find, text_of

# What the gateway serves by itself; the rest is the hub's, which has no TLS.
WITH_TLS: Final = ("inference", "inference-grpc", "admin", "metrics")
# Where callers show their API keys.
_FOR_CALLERS: Final = ("inference", "inference-grpc")
# What may be said to cross a network in the clear, because that network is private.
_MAY_BE_PLAIN: Final = (*_FOR_CALLERS, "dashboards")


def check(files: Iterable[PolicyFile]) -> list[PolicyError]:
    """Every listener that would show secrets to a network, or asks for TLS in a way that means nothing."""
    return [
        placed(file, mistake)
        for file in files
        if file.kind is MESH and file.root is not None
        for found in find(file.root, "listen[]")
        if isinstance(found.node, Mapping)
        for mistake in _mistakes(found.node)
    ]


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return host == "localhost"


def _mistakes(listen: Mapping) -> Iterator[Mistake]:
    serves = text_of(listen, "serves") or "inference"
    yield from _open_to_a_network(listen, serves)
    yield from _tls(listen, serves)
    plain = entry_of(listen, "plain")
    if plain and serves not in _MAY_BE_PLAIN:
        problem = f"plain says nothing of a listener that serves {serves}"
        yield Mistake(plain.key, problem, "Remove it; it is for inference and dashboards.")
    elif plain and entry_of(listen, "tls"):
        yield Mistake(plain.key, "this listener has TLS and is plain", "Remove plain, or remove tls.")


def _open_to_a_network(listen: Mapping, serves: str) -> Iterator[Mistake]:
    address = entry_of(listen, "address")
    host, _, port = text_of(listen, "address").rpartition(":")
    if not address or not host or is_loopback(host):
        return
    here = f"Write 127.0.0.1:{port}"
    if serves == "dashboards" and not entry_of(listen, "plain"):
        problem = f"the dashboards have no TLS and may listen on loopback only, and {quoted(host)} is not that"
        fix = f"{here}; plain: allowed says that the network itself is private, and the hub then asks for a token."
        yield Mistake(address.value, problem, fix)
    elif serves == "admin" and not entry_of(listen, "tls"):
        problem = f"the management API without TLS may listen on loopback only, and {quoted(host)} is not that"
        yield Mistake(address.value, problem, f"{here}, or add tls.")
    elif serves in _FOR_CALLERS and not entry_of(listen, "tls") and not entry_of(listen, "plain"):
        problem = f"API keys would cross a network in the clear: {quoted(host)} is not loopback, and there is no tls"
        fix = f"Add tls, or {here[:1].lower()}{here[1:]}; plain: allowed says that the network itself is private."
        yield Mistake(address.value, problem, fix)


def _tls(listen: Mapping, serves: str) -> Iterator[Mistake]:
    tls, client_certs = entry_of(listen, "tls"), entry_of(listen, "client_certs")
    if serves not in WITH_TLS:
        for entry in (tls, client_certs):
            if entry:
                problem = f"a listener that serves {serves} has no TLS"
                yield Mistake(entry.key, problem, f"Remove it; {', '.join(WITH_TLS)} have it.")
    elif client_certs and not tls:
        problem = "callers can show certificates to a listener with TLS only"
        yield Mistake(client_certs.key, problem, "Add tls, or remove client_certs.")
