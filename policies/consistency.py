"""Values that contradict each other: limits that nothing can reach, pods from two places, keys that never work."""

from collections.abc import Iterable, Iterator
from typing import Final

from policies import units
from policies.errors import PolicyError, quoted
from policies.kinds import LIMITS, MESH, ROUTE, TENANT, PolicyFile
from policies.nodes import Entry, Found, Mapping, Node, Scalar, find
from policies.references import texts
from policies.snapshot import Bounds

POD_SOURCES: Final = ("launch", "static", "dns", "kubernetes")
# What cannot be nothing: a wait of 0s would refuse every request.
POSITIVE: Final = {
    MESH.tag: (
        ("bounds.header_bytes", "size"),
        ("bounds.body_bytes", "size"),
        ("bounds.idle_timeout", "duration"),
        ("bounds.header_timeout", "duration"),
        ("bounds.body_timeout", "duration"),
        ("bounds.max_deadline", "duration"),
    ),
    LIMITS.tag: (("tiers.*.rate", "rate"), ("tiers.*.deadline", "duration")),
    ROUTE.tag: (("timeout", "duration"), ("body_bytes", "size")),
}


def check(files: Iterable[PolicyFile]) -> list[PolicyError]:
    """Every contradiction between values that are right one by one."""
    bounds = Bounds()
    errors: list[PolicyError] = []
    ordered = sorted(files, key=lambda file: file.kind is not MESH)
    for file in ordered:
        errors += _zeros(file)
        if file.kind is MESH:
            bounds = _bounds(file)
            errors += _listeners(file)
        elif file.kind is LIMITS:
            errors += _above(file, "tiers.*.deadline", "duration", bounds.max_deadline_s, "max_deadline")
            errors += _bursts_without_rate(file)
        elif file.kind is ROUTE:
            errors += _above(file, "timeout", "duration", bounds.max_deadline_s, "max_deadline")
            errors += _above(file, "body_bytes", "size", bounds.body_bytes, "body_bytes")
            errors += _pod_sources(file)
        elif file.kind is TENANT:
            errors += _keys_that_never_work(file)
    return errors


def _quantity(text: str, unit: str) -> float | None:
    try:
        return units.read(text, unit)
    except units.UnitError:
        return None


def _zeros(file: PolicyFile) -> Iterator[PolicyError]:
    for path, unit in POSITIVE.get(file.kind.tag, ()):
        for scalar, _ in texts(file, path):
            if _quantity(scalar.text, unit) == 0:
                fix = "Write more than 0, or remove the key."
                yield PolicyError(file.path, scalar.line, scalar.column, f"{scalar.text} lets no request through", fix)


def _bounds(file: PolicyFile) -> Bounds:
    """The mesh's ceilings, with the usual ones where the file has none that can be read."""
    usual = Bounds()
    body_bytes: float = usual.body_bytes
    max_deadline_s = usual.max_deadline_s
    for scalar, _ in texts(file, "bounds.body_bytes"):
        body_bytes = _quantity(scalar.text, "size") or body_bytes
    for scalar, _ in texts(file, "bounds.max_deadline"):
        max_deadline_s = _quantity(scalar.text, "duration") or max_deadline_s
    return Bounds(body_bytes=int(body_bytes), max_deadline_s=max_deadline_s)


def _above(file: PolicyFile, path: str, unit: str, ceiling: float, ceiling_key: str) -> Iterator[PolicyError]:
    for scalar, found in texts(file, path):
        quantity = _quantity(scalar.text, unit)
        if quantity is not None and quantity > ceiling:
            shown = units.size_text(int(ceiling)) if unit == "size" else units.duration_text(ceiling)
            problem = f"{found.name} {scalar.text} is above the mesh's ceiling of {shown} and is never reached"
            fix = f"Write {shown} or less, or raise bounds.{ceiling_key} in mesh.yaml."
            yield PolicyError(file.path, scalar.line, scalar.column, problem, fix)


def _listeners(file: PolicyFile) -> Iterator[PolicyError]:
    listens = [found for found in _found(file, "listen[]") if isinstance(found.node, Mapping)]
    seen: set[str] = set()
    for scalar, _ in texts(file, "listen[].address"):
        if scalar.text in seen and not scalar.text.endswith(":0"):
            problem = f"two listeners have the address {quoted(scalar.text)}"
            yield PolicyError(file.path, scalar.line, scalar.column, problem, "Give one of them another port.")
        seen.add(scalar.text)
    if listens and all(_text_of(listen.node, "serves") == "admin" for listen in listens):
        first = listens[0]
        fix = "Add a listener with serves: inference."
        yield PolicyError(file.path, first.line, first.column, "no listener serves inference", fix)


def _bursts_without_rate(file: PolicyFile) -> Iterator[PolicyError]:
    for tier in _found(file, "tiers.*"):
        burst = _entry(tier.node, "burst")
        if burst and not _entry(tier.node, "rate"):
            problem = f"{tier.name} has a burst and no rate, so nothing limits it"
            yield PolicyError(file.path, burst.key.line, burst.key.column, problem, "Add a rate, or remove burst.")


def _pod_sources(file: PolicyFile) -> Iterator[PolicyError]:
    for pods in _found(file, "versions.*.pods"):
        if isinstance(pods.node, Mapping):
            written = [source for source in POD_SOURCES if source in pods.node.entries]
            if len(written) != 1:
                count = "two places" if written else "no place"
                problem = f"{pods.name} come from {count}"
                fix = f"Write exactly one of {', '.join(POD_SOURCES)}."
                yield PolicyError(file.path, pods.line, pods.column, problem, fix)


def _keys_that_never_work(file: PolicyFile) -> Iterator[PolicyError]:
    for key in _found(file, "keys[]"):
        start_s = _quantity(_text_of(key.node, "not_before"), "moment")
        end_s = _quantity(_text_of(key.node, "not_after"), "moment")
        if start_s is not None and end_s is not None and end_s <= start_s:
            problem = "this key ends before it begins and never works"
            yield PolicyError(
                file.path, key.line, key.column, problem, "Write a not_after that is later than not_before."
            )


def _found(file: PolicyFile, path: str) -> Iterator[Found]:
    if file.root is not None:
        yield from find(file.root, path)


def _entry(node: Node, name: str) -> Entry | None:
    return node.entries.get(name) if isinstance(node, Mapping) else None


def _text_of(node: Node, name: str) -> str:
    entry = _entry(node, name)
    return entry.value.text if entry and isinstance(entry.value, Scalar) else ""
