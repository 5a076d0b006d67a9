"""Nothing leaves that nobody allowed: not by its key, not in a message, not by its length."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.conventions import Attribute
from telemetry.sidecar.redaction import (
    ITEMS,
    NAME_CHARS,
    OF_A_HANDLER,
    RESOURCE_BYTES,
    SPAN_BYTES,
    STANDARD,
    TEXT_CHARS,
    Redactor,
)
from telemetry.sidecar.weight import attributes_bytes, span_bytes
from telemetry.span import Attributes, Event, Kind, Link, Span, Status

SECRET = "4111 1111 1111 1111"
RESOURCE: Attributes = {"service.name": "handler", "process.command_args": (SECRET,)}


def made(**fields: object) -> Span:
    """Return a handler's span."""
    span = Span("a" * 32, "b" * 16, "c" * 16, "tokenise", Kind.INTERNAL, 1, 2, resource=RESOURCE)
    return Span(**({name: getattr(span, name) for name in span.__struct_fields__} | fields))


def allowed(span: Span, *attributes: str) -> Span:
    (left,) = Redactor(attributes).foreign([span])
    return left


def test_keys_that_nobody_allowed_are_taken_and_counted() -> None:
    left = allowed(made(attributes={"user.email": SECRET, "http.route": "/x", "k8s.pod.name": "p"}))
    assert left.attributes == {"http.route": "/x", "k8s.pod.name": "p", Attribute.REDACTED: 1}
    assert left.resource == {"service.name": "handler"}


@pytest.mark.parametrize(
    "key",
    [
        "k8s.pod.annotation.kubectl.kubernetes.io/last-applied-configuration",
        "otel.status_description",
        "service.secret",
        "telemetry.note",
        Attribute.REQUEST_ID,
        Attribute.TENANT,
        Attribute.KEPT,
        Attribute.REDACTED,
        Attribute.MODEL,
        "penstock.anything",
    ],
)
def test_families_hold_more_than_their_names_and_what_penstock_says_nobody_else_says(key: str) -> None:
    assert allowed(made(attributes={key: SECRET}), "penstock.*").attributes == {Attribute.REDACTED: 1}


def test_a_handler_s_process_may_say_which_model_it_has() -> None:
    left = allowed(made(resource={Attribute.MODEL: "digits", Attribute.VERSION: "1", Attribute.TENANT: "acme"}))
    assert left.resource == {Attribute.MODEL: "digits", Attribute.VERSION: "1"}


def test_what_policy_allows_is_left() -> None:
    span = made(attributes={"app.step": 1, "app": 2, "application": 3, "text.length": 4})
    left = allowed(span, "app.*", "text.length")
    assert left.attributes == {"app.step": 1, "text.length": 4, Attribute.REDACTED: 2}


def test_what_policy_allows_may_change_and_what_was_taken_stays_counted() -> None:
    redactor = Redactor(("app.step",))
    span = made(attributes={"app.step": 1, "exception.message": SECRET}, message=SECRET, resource={})
    assert redactor.foreign([span])[0].attributes == {"app.step": 1, Attribute.REDACTED: 2}
    redactor.allow(("exception.*",))
    (left,) = redactor.foreign([span])
    assert (left.attributes, left.message) == ({"exception.message": SECRET, Attribute.REDACTED: 1}, SECRET)
    assert redactor.taken == 3


def test_what_an_exception_said_is_taken_and_its_type_is_left() -> None:
    raised: Attributes = {
        "exception.type": "ValueError",
        "exception.message": SECRET,
        "exception.stacktrace": SECRET,
        "exception.escaped": "False",
    }
    span = made(status=Status.ERROR, message=f"ValueError: {SECRET}", events=(Event(1, "exception", raised),))
    left = allowed(span)
    assert left.message == "ValueError"
    assert left.events == (Event(1, "exception", {"exception.type": "ValueError"}),)
    assert left.attributes == {Attribute.REDACTED: 4}
    assert allowed(span, "exception.*").message == span.message
    assert allowed(made(message=SECRET)).message == ""


@pytest.mark.parametrize(
    ("message", "left"),
    [
        (f"{SECRET}: no", ""),
        ("alice_smith_4111: not found", ""),
        ("Alice4111Error: not found", ""),
        ("ValueError", ""),
        (f"KeyboardInterrupt: {SECRET}", "KeyboardInterrupt"),
        (f"TokenizerError: {SECRET}", "TokenizerError"),
        (f"alice.ValueError: {SECRET}", ""),
    ],
)
def test_of_a_message_no_more_is_left_than_the_name_of_an_exception(message: str, left: str) -> None:
    assert allowed(made(status=Status.ERROR, message=message)).message == left


def test_links_are_redacted_as_well() -> None:
    left = allowed(made(links=(Link("a" * 32, "b" * 16, {"note": SECRET, "thread.id": 2}),)))
    assert left.links == (Link("a" * 32, "b" * 16, {"thread.id": 2}),)


def test_a_trace_state_is_a_caller_s_and_goes() -> None:
    assert allowed(made(trace_state="vendor=4111")).trace_state == ""


def test_long_texts_are_cut() -> None:
    long = "x" * (2 * TEXT_CHARS)
    span = made(name=long, scope=long, attributes={"http.route": long, "rpc.method": ("y",) * 200, f"a.{long}": 1})
    left = allowed(span, "a.*")
    assert (len(left.name), len(left.scope)) == (NAME_CHARS, NAME_CHARS)
    assert left.attributes == {
        "http.route": long[:TEXT_CHARS],
        "rpc.method": ("y",) * ITEMS,
        f"a.{long}"[:NAME_CHARS]: 1,
    }


def test_of_a_span_that_is_large_as_a_whole_the_rest_is_left_out_and_counted() -> None:
    large: Attributes = {f"a.{n}": (str(n) * 900,) * 10 for n in range(40)}
    events = tuple(Event(1, "e" * 200, {f"a.{n}": "x" * 1000}) for n in range(100))
    links = tuple(Link("a" * 32, "b" * 16, {"a.b": "x" * 1000}) for _ in range(100))
    left = allowed(made(attributes=large, events=events, links=links, resource=large), "a.*")
    assert span_bytes(left) < SPAN_BYTES + 2 * TEXT_CHARS
    assert attributes_bytes(left.resource) <= RESOURCE_BYTES
    assert 0 < len(left.attributes) < 40
    assert left.dropped_links == 100 - len(left.links) > 0
    assert left.dropped_events == 100 - len(left.events) > 0
    assert left.dropped_attributes >= 40 - len(left.attributes)
    assert Attribute.REDACTED not in left.attributes


def test_our_own_spans_keep_their_keys_and_their_message_and_are_cut_alike() -> None:
    long = "x" * (2 * TEXT_CHARS)
    short = made(attributes={"anything": 1}, message="busy")
    cut = made(attributes={Attribute.REASON: long[:TEXT_CHARS]}, message=long[:TEXT_CHARS])
    assert Redactor().own([short, made(attributes={Attribute.REASON: long}, message=long)]) == [short, cut]


def test_spans_of_one_process_still_share_its_resource() -> None:
    redactor = Redactor()
    one, other = redactor.foreign([made(), made()])
    assert one.resource is other.resource
    assert redactor.taken == 1


# Keys that are allowed, keys that are nearly so, and any.
NEARLY = ["a", "ab", "A.b", " a.b", "service.names", "http.rout", "k8s.pod.label.x", "otel.x", "penstock.rows", ""]
TEXTS = st.text(max_size=30)
KEYS = st.sampled_from(sorted(STANDARD)) | st.sampled_from(NEARLY) | TEXTS.map("a.{}".format) | TEXTS
VALUES = st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS | st.binary(max_size=9)
ATTRIBUTES = st.dictionaries(KEYS, VALUES | st.lists(TEXTS).map(tuple), max_size=6)


def expected(given_: Attributes) -> Attributes:
    """Return what the rule leaves, by its words: a standard key, or one below ``a``."""
    return {key: value for key, value in given_.items() if key in STANDARD or key[:2] == "a."}


@given(ATTRIBUTES, ATTRIBUTES, ATTRIBUTES)
def test_what_is_allowed_is_left_as_it_is_and_nothing_else_is(
    of_span: Attributes, of_event: Attributes, of_process: Attributes
) -> None:
    left = allowed(made(attributes=of_span, events=(Event(1, "e", of_event),), resource=of_process), "a.*")
    taken = len(of_span) + len(of_event) - len(expected(of_span)) - len(expected(of_event))
    assert left.attributes.pop(Attribute.REDACTED, 0) == taken
    assert left.attributes == expected(of_span)
    assert left.events[0].attributes == expected(of_event)
    assert left.resource == expected(of_process)


def test_no_standard_key_is_penstock_s() -> None:
    assert not {key for key in STANDARD | OF_A_HANDLER if key.startswith("penstock.")} - OF_A_HANDLER
