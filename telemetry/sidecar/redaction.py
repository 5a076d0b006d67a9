"""Takes out of spans whatever nobody allowed: keys by an allow-list that fails closed, values by their length."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from telemetry.conventions import Attribute
from telemetry.span import Attributes, Event, Span, Value

NAME_CHARS = 256
TEXT_CHARS = 1024
ITEMS = 128
TRACE_STATE_CHARS = 512  # W3C Trace Context, section 3.3.1.5

PENSTOCK = frozenset(value for name, value in vars(Attribute).items() if name.isupper())

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
        "messaging.system",
        "network.protocol.name",
        "network.protocol.version",
        "network.transport",
        "os.type",
        "process.pid",
        "process.runtime.name",
        "process.runtime.version",
        "rpc.method",
        "rpc.service",
        "rpc.system",
        "rpc.system.name",
        "server.port",
        "thread.id",
        "url.scheme",
    }
)
# Whole families of the same kind: they describe the process.
STANDARD_FAMILIES = ("k8s.", "otel.", "service.", "telemetry.")

_MESSAGE = "exception.message"


class Redactor:
    """An allow-list.

    Args:
        attributes: keys that are allowed beside Penstock's own and the standard ones; ``x.*`` allows all below ``x``.

    Attributes:
        taken: keys and messages taken out since the start.
    """

    def __init__(self, attributes: Iterable[str] = ()) -> None:
        given = tuple(attributes)
        self._keys = PENSTOCK | STANDARD | {key for key in given if not key.endswith(".*")}
        self._families = STANDARD_FAMILIES + tuple(key[:-1] for key in given if key.endswith(".*"))
        self._shows_messages = self._is_allowed(_MESSAGE)
        self.taken = 0

    def own(self, spans: Iterable[Span]) -> list[Span]:
        """Return spans that Penstock recorded: their keys and messages are our own words, their values may be long."""
        return [span if _is_short(span) else _shortened(span) for span in spans]

    def foreign(self, spans: Iterable[Span]) -> list[Span]:
        """Return what is allowed of somebody else's spans, with ``penstock.redacted`` where something was taken."""
        resources: dict[int, Attributes] = {}  # by identity: the spans of one process share one
        allowed = []
        for span in spans:
            if id(span.resource) not in resources:
                resources[id(span.resource)] = self._allowed(span.resource)
            allowed.append(self._foreign(span, resources[id(span.resource)]))
        return allowed

    def _foreign(self, span: Span, resource: Attributes) -> Span:
        before = self.taken
        links = tuple(replace(link, attributes=self._allowed(link.attributes)) for link in span.links)
        events = tuple(self._event(event) for event in span.events)
        attributes, message = self._allowed(span.attributes), self._message(span.message)
        if self.taken > before:
            attributes[Attribute.REDACTED] = self.taken - before
        return replace(
            span,
            name=span.name[:NAME_CHARS],
            message=message,
            attributes=attributes,
            links=links,
            events=events,
            trace_state=span.trace_state if len(span.trace_state) <= TRACE_STATE_CHARS else "",
            resource=resource,
            scope=span.scope[:NAME_CHARS],
        )

    def _event(self, event: Event) -> Event:
        return replace(event, name=event.name[:NAME_CHARS], attributes=self._allowed(event.attributes))

    def _allowed(self, attributes: Attributes) -> Attributes:
        """Return what is allowed, and count the rest."""
        allowed = {key: _cut_value(value) for key, value in attributes.items() if self._is_allowed(key)}
        self.taken += len(attributes) - len(allowed)
        return allowed

    def _is_allowed(self, key: str) -> bool:
        return key in self._keys or key.startswith(self._families)

    def _message(self, message: str) -> str:
        """Return a status' message; where what was raised may not be shown, only its type."""
        if self._shows_messages or not message:
            return message[:TEXT_CHARS]
        self.taken += 1
        kind, colon, _ = message.partition(":")
        return kind[:NAME_CHARS] if colon and kind.replace(".", "_").isidentifier() else ""


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
