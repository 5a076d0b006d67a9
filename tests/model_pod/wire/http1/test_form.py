from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model_pod.wire.http1 import HeadLimits, RequestReader
from model_pod.wire.http1.form import MAX_FORMS, MAX_LEARNT_PER_S, Form, Forms, Hosts

FIELDS = {
    b"Host": b"penstock.test",
    b"User-Agent": b"t/1",
    b"accept": b"*/*",
    b"Authorization": b"Bearer k",
    b"traceparent": b"00-ab-cd-01",
    b"X-User": b"u",
    b"Tracestate": b"a=1",
    b"Content-Length": b"4",
}
NAMES, VALUES = tuple(FIELDS), tuple(FIELDS.values())
NASTY = [*(b"%c" % byte for byte in b"\r\n \t\0:#%\x7f\xff,+0x"), b"\r\n", b"\r\nX-Y: z"]


def passes(name: bytes) -> bool:
    return name.lower() not in (b"host", b"authorization", b"traceparent", b"tracestate", b"content-length")


def head(names: tuple[bytes, ...] = NAMES, values: tuple[bytes, ...] = VALUES) -> bytes:
    lines = b"".join(b"%b: %b\r\n" % pair for pair in zip(names, values, strict=True))
    return b"POST /predictions/digits HTTP/1.1\r\n" + lines + b"\r\n"


WHOLE = head() + b"body"
FORM = Form(NAMES, passes, Hosts())


def test_a_form_reads_what_steers_and_what_goes_on() -> None:
    assert FORM.read(WHOLE) == (
        b"/predictions/digits",
        b"k",
        b"00-ab-cd-01",
        b"a=1",
        len(WHOLE) - 4,
        [(b"User-Agent", b"t/1"), (b"accept", b"*/*"), (b"X-User", b"u")],
    )


def test_a_form_without_a_trace_tells_none() -> None:
    names = tuple(name for name in NAMES if name.lower() not in (b"traceparent", b"tracestate"))
    values = tuple(FIELDS[name] for name in names)
    read = Form(names, passes, Hosts()).read(head(names, values) + b"body")
    assert read is not None
    assert read[2:4] == (b"", b"")


places = st.integers(0, len(WHOLE))
puts = st.one_of(st.sampled_from(NASTY), st.binary(max_size=3))


@settings(max_examples=3000, deadline=None)
@given(edits=st.lists(st.tuples(places, st.integers(0, 3), puts), max_size=2))
@example([(8, 0, b"#")])
@example([(8, 0, b"x" * 9000)])
@example([(WHOLE.index(b"4\r\n"), 0, b"0" * 16)])
@example([(WHOLE.index(b"4\r\n"), 0, b"0" * 5000)])
@example([(WHOLE.index(b"penstock.test"), 0, b"h" * 300)])
@example([(WHOLE.index(b" k\r") + 1, 1, b"")])
@example([(WHOLE.index(b"4\r\n"), 1, b" 4")])
@example([(WHOLE.index(b"4\r\n"), 1, b"1_0")])
def test_what_a_form_reads_the_gate_reads_alike(edits: list[tuple[int, int, bytes]]) -> None:
    data = WHOLE
    for at, cut, put in edits:
        data = data[:at] + put + data[at + cut :]
    read = FORM.read(data)
    if read is None:
        return
    target, credential, traceparent, tracestate, body_at, fields = read
    first = RequestReader(HeadLimits()).first(data)  # and refuses nothing
    assert first is not None
    request, body = first
    assert (request.method, request.minor_version, request.keep_alive) == ("POST", 1, True)
    assert not request.chunked
    assert not request.expects_continue
    assert body == data[body_at:]
    assert request.target.encode("latin-1") == target
    shown = request.values[b"authorization"]
    assert (shown[:7].lower(), shown[7:]) == (b"bearer ", credential)
    assert (request.values[b"traceparent"], request.values[b"tracestate"]) == (traceparent, tracestate)
    assert [field for field in request.fields if passes(field[0])] == fields


@pytest.mark.parametrize(
    "names",
    [
        NAMES[1:],
        (*NAMES, b"host"),
        (*NAMES, b"Transfer-Encoding"),
        (*NAMES, b"Expect"),
        (*NAMES, b"Penstock-Version"),
        (*NAMES, b"Idempotency-Key"),
        (b"Host", b"Authorization", b"Content-Length", b"Accept"),
        (*NAMES, *(b"X-%d" % number for number in range(40))),
        (*NAMES, b"X" * 1024),
    ],
    ids=str,
)
def test_other_heads_have_no_form(names: tuple[bytes, ...]) -> None:
    assert Forms(passes).of(names, 1.0) is None


def test_who_makes_up_names_has_few_of_them_learnt_in_a_second() -> None:
    forms = Forms(passes)
    learnt = [forms.of((*NAMES, b"X-%d" % number), 5.0) for number in range(2 * MAX_LEARNT_PER_S)]
    assert sum(form is not None for form in learnt) == MAX_LEARNT_PER_S
    assert forms.of((*NAMES, b"X-0"), 5.0) is learnt[0]
    assert forms.of((*NAMES, b"X-99"), 6.0) is not None


def test_a_list_that_is_no_usual_one_is_judged_once_and_takes_no_others_turn() -> None:
    forms = Forms(passes)
    for number in range(2 * MAX_LEARNT_PER_S):
        assert forms.of((*NAMES, b"Expect", b"X-%d" % number), 5.0) is None
    assert forms.of(NAMES, 5.0) is not None


def test_hosts_are_few_and_short_however_many_there_are() -> None:
    hosts = Hosts()
    for number in range(5000):
        assert hosts.learn(b"host-%d" % number)
    assert not hosts.learn(b"h" * 256)
    assert len(hosts) <= 1024


def test_forms_are_bounded() -> None:
    forms = Forms(passes)
    for number in range(MAX_FORMS + 5):
        forms.of((*NAMES, b"X-%d" % number), float(number))
    assert len(forms._known) <= MAX_FORMS
