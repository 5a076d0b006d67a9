"""Who is told of alerts can be: no secret stands in an address or crosses a network in the clear, none is twice."""

from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from policies.errors import PolicyError
from policies.kinds import MESH, PolicyFile
from policies.listeners import is_loopback
from policies.mistakes import Mistake, placed
from policies.nodes import Entry, Mapping, Scalar, entry_of, find

_PATHS = ("alerts.webhooks[].url", "alerts.alertmanager", "alerts.runbooks", "alerts.dashboards")


def check(files: Iterable[PolicyFile]) -> list[PolicyError]:
    """Every address that cannot be asked, holds a secret, or would show one, and every one that is there twice."""
    return [
        placed(file, mistake)
        for file in files
        if file.kind is MESH and file.root is not None
        for mistake in (*_addresses(file.root), *_secrets(file.root), *_twice(file.root))
    ]


def _addresses(root: Mapping) -> Iterator[Mistake]:
    for path in _PATHS:
        for scalar in _scalars(root, path):
            if not scalar.text.startswith("http"):
                continue
            yield from _address(scalar, path)


def _address(scalar: Scalar, path: str) -> Iterator[Mistake]:
    try:
        parts = urlsplit(scalar.text)
        host, has_port = parts.hostname, parts.port != 0
    except ValueError:
        host, has_port = None, False
    if not host or not has_port:
        yield Mistake(scalar, "this address names no host", "Write one such as https://hooks.example/penstock.")
    elif parts.username is not None or parts.password is not None:
        problem = "this address holds a name or password, and policy files are no place for those"
        yield Mistake(scalar, problem, "Keep it elsewhere: write env:NAME or file:/PATH where a webhook may say so.")
    elif path != _PATHS[0] and (parts.query or parts.fragment):
        yield Mistake(scalar, "paths are added to this address, and it ends in a query", "Write it without.")


def _secrets(root: Mapping) -> Iterator[Mistake]:
    for found in find(root, "alerts.webhooks[]"):
        if isinstance(found.node, Mapping) and entry_of(found.node, "authorization") is not None:
            yield from _in_the_clear(entry_of(found.node, "url"))
    alerts = entry_of(root, "alerts")
    if alerts is None or not isinstance(alerts.value, Mapping):
        return
    proof, receiver = (entry_of(alerts.value, key) for key in ("alertmanager_authorization", "alertmanager"))
    if proof is not None and isinstance(proof.value, Scalar) and receiver is None:
        yield Mistake(proof.value, "there is no Alertmanager that this could be told", "Write alertmanager: too.")
    elif proof is not None:
        yield from _in_the_clear(receiver)


def _in_the_clear(url: Entry | None) -> Iterator[Mistake]:
    if url is None or not isinstance(url.value, Scalar):
        return
    if url.value.text.startswith("http://") and not _is_here(url.value.text):
        problem = "over plain HTTP anybody on the way reads the authorization"
        yield Mistake(url.value, problem, f"Write https{url.value.text[4:60]}.")


def _twice(root: Mapping) -> Iterator[Mistake]:
    first_lines: dict[str, int] = {}
    for scalar in _scalars(root, _PATHS[0]):
        if scalar.text in first_lines:
            problem = f"the webhook in line {first_lines[scalar.text]} has this address too, and would be told twice"
            yield Mistake(scalar, problem, "Remove one of them.")
        first_lines.setdefault(scalar.text, scalar.line)


def _is_here(url: str) -> bool:
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:
        return False


def _scalars(root: Mapping, path: str) -> Iterator[Scalar]:
    for found in find(root, path):
        if isinstance(found.node, Scalar):
            yield found.node
