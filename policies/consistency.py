"""Values that contradict each other: limits that nothing can reach, pods from two places."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from msgspec.inspect import StructType

from policies import units
from policies.availability import available_keys
from policies.errors import PolicyError, quoted
from policies.kinds import LIMITS, MESH, ROUTE, SLOS, TENANT, PolicyFile
from policies.nodes import Found, find, text_of
from policies.nodes import Mapping as MappingNode
from policies.references import texts
from policies.schema.route import PodsWritten
from policies.shapes import type_of
from policies.snapshot.mesh import DEFAULT_LISTEN, Bounds

POD_SOURCES: Final = ("launch", "static", "dns", "kubernetes")
# What a list of listeners has at least, and what it has at most once.
REQUIRED: Final = ("inference", "admin")
ONE_ADDRESS: Final = ("metrics", "dashboards", "otlp", "otlp-grpc")
_USUAL: Final = Bounds()
# What cannot be nothing (a wait of 0s would refuse every request), its unit, and what leaving the key out means.
POSITIVE: Final[Mapping[str, tuple[tuple[str, str, str], ...]]] = {
    MESH.tag: (
        ("bounds.header_bytes", "size", units.size_text(_USUAL.header_bytes)),
        ("bounds.body_bytes", "size", units.size_text(_USUAL.body_bytes)),
        ("bounds.idle_timeout", "duration", units.duration_text(_USUAL.idle_timeout_s)),
        ("bounds.header_timeout", "duration", units.duration_text(_USUAL.header_timeout_s)),
        ("bounds.body_timeout", "duration", units.duration_text(_USUAL.body_timeout_s)),
        ("bounds.max_deadline", "duration", units.duration_text(_USUAL.max_deadline_s)),
    ),
    LIMITS.tag: (
        ("tiers.*.rate", "rate", "no limit"),
        ("shared[].rate", "rate", "any rate"),
        ("tiers.*.deadline", "duration", "the route's timeout"),
    ),
    TENANT.tag: (("limits.rate", "rate", "any rate"),),
    ROUTE.tag: (
        ("timeout", "duration", "the mesh's max_deadline"),
        ("body_bytes", "size", "the mesh's body_bytes"),
        ("limits.rate", "rate", "any rate"),
    ),
}

NO_PAUSE: Final = ("versions.*.pods.health.every", "versions.*.pods.eject.for", "versions.*.pods.eject.at_most")


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
            errors += _above(file, "tiers.*.queue.wait", "duration", bounds.max_deadline_s, "max_deadline")
        elif file.kind is ROUTE:
            errors += _above(file, "timeout", "duration", bounds.max_deadline_s, "max_deadline")
            errors += _above(file, "body_bytes", "size", bounds.body_bytes, "body_bytes")
            errors += _pod_sources(file)
            errors += _pod_pauses(file)
        elif file.kind is SLOS:
            for key in ("within", "first_byte_within"):
                errors += _above(file, f"slos[].good.{key}", "duration", bounds.max_deadline_s, "max_deadline")
    return errors


def _zeros(file: PolicyFile) -> Iterator[PolicyError]:
    for path, unit, usual in POSITIVE.get(file.kind.tag, ()):
        for scalar, _ in texts(file, path):
            if units.quantity(scalar.text, unit) == 0:
                fix = f"Write more than 0; leaving the key out means {usual}."
                yield PolicyError(file.path, scalar.line, scalar.column, f"{scalar.text} lets no request through", fix)


def _bounds(file: PolicyFile) -> Bounds:
    """The mesh's ceilings, with the usual ones where the file has none that can be read."""
    usual = Bounds()
    body_bytes: float = usual.body_bytes
    max_deadline_s = usual.max_deadline_s
    for scalar, _ in texts(file, "bounds.body_bytes"):
        body_bytes = units.quantity(scalar.text, "size") or body_bytes
    for scalar, _ in texts(file, "bounds.max_deadline"):
        max_deadline_s = units.quantity(scalar.text, "duration") or max_deadline_s
    return Bounds(body_bytes=int(body_bytes), max_deadline_s=max_deadline_s)


def _above(file: PolicyFile, path: str, unit: str, ceiling: float, ceiling_key: str) -> Iterator[PolicyError]:
    for scalar, found in texts(file, path):
        quantity = units.quantity(scalar.text, unit)
        if quantity is not None and quantity > ceiling:
            shown = units.size_text(int(ceiling)) if unit == "size" else units.duration_text(ceiling)
            problem = f"{found.name} {scalar.text} is above the mesh's ceiling of {shown} and is never reached"
            fix = f"Write {shown} or less, or raise bounds.{ceiling_key} in mesh.yaml."
            yield PolicyError(file.path, scalar.line, scalar.column, problem, fix)


def _listeners(file: PolicyFile) -> Iterator[PolicyError]:
    listens = [found for found in _found(file, "listen[]") if isinstance(found.node, MappingNode)]
    seen: set[str] = set()
    for scalar, _ in texts(file, "listen[].address"):
        if scalar.text in seen and not scalar.text.endswith(":0"):
            problem = f"two listeners have the address {quoted(scalar.text)}"
            yield PolicyError(file.path, scalar.line, scalar.column, problem, "Give one of them another port.")
        seen.add(scalar.text)
    served = [text_of(listen.node, "serves") or "inference" for listen in listens]
    yield from _served_by_nobody(file, listens, served)
    yield from _served_twice(file, listens, served)


def _served_by_nobody(file: PolicyFile, listens: list[Found], served: list[str]) -> Iterator[PolicyError]:
    is_readable = bool(listens) and set(served) <= {usual.serves for usual in DEFAULT_LISTEN}
    for usual in DEFAULT_LISTEN if is_readable else ():
        if usual.serves in REQUIRED and usual.serves not in served:
            problem = f"listen has no address that serves {usual.serves}"
            fix = f"Add {{address: {usual.address}, serves: {usual.serves}}}."
            yield PolicyError(file.path, listens[0].line, listens[0].column, problem, fix)


def _served_twice(file: PolicyFile, listens: list[Found], served: list[str]) -> Iterator[PolicyError]:
    """Who looks for metrics, dashboards or traces is told one address of each."""
    for number, (listen, serves) in enumerate(zip(listens, served, strict=True)):
        if serves in ONE_ADDRESS and serves in served[:number]:
            problem = f"two listeners serve {serves}"
            yield PolicyError(file.path, listen.line, listen.column, problem, "Keep one of them.")


def _pod_sources(file: PolicyFile) -> Iterator[PolicyError]:
    shape = type_of(PodsWritten)
    assert isinstance(shape, StructType)  # noqa: S101 - the type of pods is a struct
    available = available_keys(shape)
    for pods in _found(file, "versions.*.pods"):
        if isinstance(pods.node, MappingNode):
            written = [source for source in POD_SOURCES if source in pods.node.entries]
            if len(written) != 1:
                count = "two places" if written else "no place"
                problem = f"{pods.name} come from {count}"
                offered = [source for source in POD_SOURCES if source in available]
                fix = f"Write exactly one of {', '.join(offered)}."
                yield PolicyError(file.path, pods.line, pods.column, problem, fix)


def _pod_pauses(file: PolicyFile) -> Iterator[PolicyError]:
    """Pods are not probed without a pause, and none is left out for no time, or for longer than at most."""
    for path in NO_PAUSE:
        for scalar, found in texts(file, path):
            if units.quantity(scalar.text, "duration") == 0:
                problem = f"{found.name} {scalar.text} is no time"
                yield PolicyError(file.path, scalar.line, scalar.column, problem, "Write more than 0s.")
    for eject in _found(file, "versions.*.pods.eject"):
        first, most = (text_of(eject.node, key) for key in ("for", "at_most"))
        first_s, most_s = (units.quantity(text, "duration") for text in (first, most))
        if first_s is not None and most_s is not None and most_s < first_s:
            problem = f"{eject.name} is for {first} and at_most {most}"
            yield PolicyError(file.path, eject.line, eject.column, problem, f"Write at_most: {first} or more.")


def _found(file: PolicyFile, path: str) -> Iterator[Found]:
    if file.root is not None:
        yield from find(file.root, path)
