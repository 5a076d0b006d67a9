"""Nothing leaves that nobody allowed: not by its key, not in a message, not by its length."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from telemetry.conventions import Attribute
from telemetry.sidecar.redaction import ITEMS, NAME_CHARS, PENSTOCK, STANDARD, STANDARD_FAMILIES, TEXT_CHARS, Redactor
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


def test_what_policy_allows_is_left() -> None:
    span = made(attributes={"app.step": 1, "app": 2, "application": 3, "text.length": 4})
    left = allowed(span, "app.*", "text.length")
    assert left.attributes == {"app.step": 1, "text.length": 4, Attribute.REDACTED: 2}


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
    assert allowed(made(message=f"{SECRET}: no")).message == ""


def test_links_are_redacted_as_well() -> None:
    left = allowed(made(links=(Link("a" * 32, "b" * 16, {"note": SECRET, Attribute.ROWS: 2}),)))
    assert left.links == (Link("a" * 32, "b" * 16, {Attribute.ROWS: 2}),)


def test_long_texts_are_cut() -> None:
    long = "x" * (2 * TEXT_CHARS)
    span = made(name=long, scope=long, trace_state=long, attributes={"http.route": long, "rpc.method": (long,) * 200})
    left = allowed(span)
    assert (len(left.name), len(left.scope), left.trace_state) == (NAME_CHARS, NAME_CHARS, "")
    assert left.attributes == {"http.route": long[:TEXT_CHARS], "rpc.method": (long[:TEXT_CHARS],) * ITEMS}


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


TEXTS = st.text(max_size=30)
VALUES = st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS | st.binary(max_size=9)
ATTRIBUTES = st.dictionaries(TEXTS, VALUES | st.lists(TEXTS).map(tuple), max_size=6)


@given(ATTRIBUTES, ATTRIBUTES, ATTRIBUTES)
def test_keys_are_never_invented_and_no_unknown_one_is_left(
    of_span: Attributes, of_event: Attributes, of_process: Attributes
) -> None:
    left = allowed(made(attributes=of_span, events=(Event(1, "e", of_event),), resource=of_process), "a.*")
    keys = {*left.attributes, *left.events[0].attributes, *left.resource} - {Attribute.REDACTED}
    assert keys <= {*of_span, *of_event, *of_process}
    assert all(key.startswith(("a.", *STANDARD_FAMILIES)) for key in keys - STANDARD - PENSTOCK)
