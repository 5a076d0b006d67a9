"""Takes out of spans whatever nobody allowed: keys by an allow-list that fails closed, values by their length."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterable

from msgspec.structs import replace

from telemetry.conventions import Attribute
from telemetry.sidecar.weight import EVENT_BYTES, LINK_BYTES, pair_bytes, text_bytes
from telemetry.span import Attributes, Event, Link, Span, Value

NAME_CHARS = 256
TEXT_CHARS = 1024
ITEMS = 128
SPAN_BYTES = 64 * 2**10
"""The weight of what is left of one span; what would be beyond is left out and counted as dropped."""
RESOURCE_BYTES = 8 * 2**10

# What Penstock says of a request nobody else may say: whose it was, what came of it, why it is kept.
PENSTOCK_FAMILY = "penstock."
# What a handler's process was told of the model that it has.
OF_A_HANDLER = frozenset({Attribute.MODEL, Attribute.VERSION})

# Stable names of OpenTelemetry's conventions whose values come of a closed set, are counts, or name a part of the
# program: none holds what a caller sent. Addresses, paths, queries, statements and messages are not here.
STANDARD = frozenset(
    {
        "code.function.name",
        "code.line.number",
        "container.id",
        "db.operation.name",
        "db.system.name",
        "deployment.environment.name",
        "error.type",
        "exception.type",
        "gen_ai.operation.name",
        "gen_ai.provider.name",
        "gen_ai.request.model",
        "gen_ai.response.model",
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens",
        "host.name",
        "http.request.method",
        "http.request.resend_count",
        "http.response.status_code",
        "http.route",
        "k8s.cluster.name",
        "k8s.container.name",
        "k8s.container.restart_count",
        "k8s.cronjob.name",
        "k8s.daemonset.name",
        "k8s.deployment.name",
        "k8s.job.name",
        "k8s.namespace.name",
        "k8s.node.name",
        "k8s.pod.name",
        "k8s.pod.uid",
        "k8s.replicaset.name",
        "k8s.statefulset.name",
        "messaging.system",
        "network.protocol.name",
        "network.protocol.version",
        "network.transport",
        "os.type",
        "otel.scope.name",
        "otel.scope.version",
        "otel.status_code",
        "process.pid",
        "process.runtime.name",
        "process.runtime.version",
        "rpc.method",
        "rpc.service",
        "rpc.system",
        "rpc.system.name",
        "server.port",
        "service.instance.id",
        "service.name",
        "service.namespace",
        "service.version",
        "telemetry.distro.name",
        "telemetry.distro.version",
        "telemetry.sdk.language",
        "telemetry.sdk.name",
        "telemetry.sdk.version",
        "thread.id",
        "url.scheme",
    }
)
_MESSAGE = "exception.message"
_BUILTIN_EXCEPTIONS = frozenset(
    name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, BaseException)
)
# The names that people give to exceptions; with digits it may be anything.
_is_exception_name = re.compile(r"[A-Z][A-Za-z]{0,62}(?:Error|Exception|Warning)").fullmatch


class Redactor:
    """An allow-list.

    Args:
        attributes: keys that are allowed beside the standard ones; ``x.*`` allows all below ``x``.

    Attributes:
        taken: keys and messages taken out since the start.
    """

    def __init__(self, attributes: Iterable[str] = ()) -> None:
        self.taken = 0
        self.allow(attributes)

    def allow(self, attributes: Iterable[str]) -> None:
        """Let these keys pass from now on, and no others beside the standard ones."""
        given = tuple(attributes)
        self._keys = STANDARD | {key for key in given if not key.endswith(".*")}
        self._families = tuple(key[:-1] for key in given if key.endswith(".*"))
        self._shows_messages = self._is_allowed(_MESSAGE)

    def own(self, spans: Iterable[Span]) -> list[Span]:
        """Return spans that Penstock recorded: their keys and messages are our own words, their values may be long."""
        return [span if _is_short(span) else _shortened(span) for span in spans]

    def foreign(self, spans: Iterable[Span]) -> list[Span]:
        """Return what is allowed of somebody else's spans, with ``penstock.redacted`` where something was taken."""
        resources: dict[int, Attributes] = {}  # by identity: the spans of one process share one
        allowed = []
        for span in spans:
            if id(span.resource) not in resources:
                resources[id(span.resource)] = self._allowed(span.resource, _Room(RESOURCE_BYTES), OF_A_HANDLER)
            allowed.append(self._foreign(span, resources[id(span.resource)]))
        return allowed

    def _foreign(self, span: Span, resource: Attributes) -> Span:
        before, room = self.taken, _Room(SPAN_BYTES)
        attributes, message = self._allowed(span.attributes, room), self._message(span.message)
        links = tuple(link for one in span.links if (link := self._link(one, room)) is not None)
        events = tuple(event for one in span.events if (event := self._event(one, room)) is not None)
        lost_links, lost_events = len(span.links) - len(links), len(span.events) - len(events)
        if self.taken > before:
            attributes[Attribute.REDACTED] = self.taken - before
        return replace(
            span,
            name=span.name[:NAME_CHARS],
            message=message,
            attributes=attributes,
            links=links,
            events=events,
            trace_state="",  # it holds what a caller put there, for others than us
            resource=resource,
            scope=span.scope[:NAME_CHARS],
            dropped_attributes=span.dropped_attributes + room.left_out - lost_links - lost_events,
            dropped_links=span.dropped_links + lost_links,
            dropped_events=span.dropped_events + lost_events,
        )

    def _link(self, link: Link, room: _Room) -> Link | None:
        if not room.take(LINK_BYTES):
            return None
        return replace(link, attributes=self._allowed(link.attributes, room))

    def _event(self, event: Event, room: _Room) -> Event | None:
        name = event.name[:NAME_CHARS]
        if not room.take(EVENT_BYTES + text_bytes(name)):
            return None
        return replace(event, name=name, attributes=self._allowed(event.attributes, room))

    def _allowed(self, attributes: Attributes, room: _Room, also: frozenset[str] = frozenset()) -> Attributes:
        """Return what is allowed and for what there is room, and count what is not allowed."""
        allowed: Attributes = {}
        for key, value in attributes.items():
            if not self._is_allowed(key) and key not in also:
                self.taken += 1
                continue
            name, short = key[:NAME_CHARS], _cut_value(value)
            if room.take(pair_bytes(name, short)):
                allowed[name] = short
        return allowed

    def _is_allowed(self, key: str) -> bool:
        return (key in self._keys or key.startswith(self._families)) and not key.startswith(PENSTOCK_FAMILY)

    def _message(self, message: str) -> str:
        """Return a status' message; where what was raised may not be shown, only its type."""
        if self._shows_messages or not message:
            return message[:TEXT_CHARS]
        self.taken += 1
        kind, colon, _ = message.partition(":")
        return kind if colon and (kind in _BUILTIN_EXCEPTIONS or _is_exception_name(kind)) else ""


class _Room:
    """What one span may still weigh.

    Attributes:
        left_out: how many things there was no room for.
    """

    def __init__(self, left_bytes: int) -> None:
        self._left_bytes = left_bytes
        self.left_out = 0

    def take(self, asked_bytes: int) -> bool:
        """Take room for one more thing; whether there is."""
        if asked_bytes > self._left_bytes:
            self.left_out += 1
            return False
        self._left_bytes -= asked_bytes
        return True


def _is_short(span: Span) -> bool:
    texts = (value for value in span.attributes.values() if isinstance(value, str))
    return len(span.message) <= TEXT_CHARS and all(len(text) <= TEXT_CHARS for text in texts)


def _shortened(span: Span) -> Span:
    attributes = {key: _cut_value(value) for key, value in span.attributes.items()}
    return replace(span, message=span.message[:TEXT_CHARS], attributes=attributes)


def _cut_value(value: Value) -> Value:
    match value:
        case str() | bytes():
            return value[:TEXT_CHARS]
        case tuple():
            return tuple(_cut_value(one) for one in value[:ITEMS])
    return value
