"""``traceparent`` is read as W3C Trace Context writes it, and what is written is read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.trace_context import TraceContext, format_context, parse_traceparent

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
