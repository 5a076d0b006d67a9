"""``traceparent`` is read as W3C Trace Context writes it, and what is written is read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.trace_context import (
    Inbound,
    TraceContext,
    format_context,
    inbound,
    kept_baggage,
    kept_trace_state,
    parse_traceparent,
)

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
SAMPLED = TraceContext(TRACE, SPAN, sampled=True)


def hex_digits(count: int) -> st.SearchStrategy[str]:
    return st.integers(1, 16**count - 1).map(lambda number: f"{number:0{count}x}")


@given(st.builds(TraceContext, hex_digits(32), hex_digits(16), st.booleans()))
def test_what_is_written_is_read_back(context: TraceContext) -> None:
    assert parse_traceparent(format_context(context)) == context


@given(st.text())
def test_any_text_is_a_context_or_none(value: str) -> None:
    context = parse_traceparent(value)
    assert context is None or context.trace_id in value


@pytest.mark.parametrize(
    ("value", "context"),
    [
        (f"00-{TRACE}-{SPAN}-01", SAMPLED),
        (f"00-{TRACE}-{SPAN}-00", TraceContext(TRACE, SPAN, sampled=False)),
        (f"00-{TRACE}-{SPAN}-03", SAMPLED),  # other flags are ignored
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", SAMPLED),  # a version of the future may have more
        (f"00-{TRACE}-{SPAN}-01-more", None),  # version 00 has no more
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}-01\n", None),
        (f" 00-{TRACE}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}", None),
        ("", None),
    ],
)
def test_what_breaks_a_rule_begins_a_new_trace(value: str, context: TraceContext | None) -> None:
    assert parse_traceparent(value) == context


@pytest.mark.parametrize(
    ("callers", "expected"),
    [
        ("trust", Inbound(TRACE, SPAN, True, "a=b")),
        ("resample", Inbound(TRACE, SPAN, None, "a=b")),
        ("restart", Inbound(link=f"00-{TRACE}-{SPAN}-01")),
    ],
)
def test_how_much_a_caller_is_believed_is_policy(callers: str, expected: Inbound) -> None:
    assert inbound(callers, f"00-{TRACE}-{SPAN}-01", "a=b") == expected
    assert inbound(callers, "nonsense", "a=b") == Inbound()


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("a=b,c=d", "a=b,c=d"),
        ("", ""),
        ("a=" + "x" * 511, ""),
        (",".join(f"k{number}=v" for number in range(33)), ""),
        ("a=b\x00", ""),
    ],
)
def test_trace_state_goes_on_whole_or_not_at_all(value: str, kept: str) -> None:
    assert kept_trace_state(value) == kept


@pytest.mark.parametrize(
    ("value", "allowed", "kept"),
    [
        ("tenant=x, secret=y ,region=eu;p=1", ("tenant", "region"), "tenant=x,region=eu;p=1"),
        ("tenant=x", (), ""),
        ("tenant=" + "x" * 9000, ("tenant",), ""),
        (",".join(["tenant=x"] * 65), ("tenant",), ""),
    ],
)
def test_baggage_goes_on_only_by_keys_that_are_allowed(value: str, allowed: tuple[str, ...], kept: str) -> None:
    assert kept_baggage(value, allowed) == kept
