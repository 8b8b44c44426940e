"""``traceparent`` is read as OpenTelemetry's own propagator reads it."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.core.telemetry.trace_context import Parent, new_trace_id, read_traceparent

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


def by_opentelemetry(header: str) -> Parent | None:
    context = TraceContextTextMapPropagator().extract({"traceparent": header})
    found = trace.get_current_span(context).get_span_context()
    if not found.is_valid:
        return None
    return Parent(f"{found.trace_id:032x}", f"{found.span_id:016x}", found.trace_flags.sampled)


def hexadecimal(length: int) -> st.SearchStrategy[str]:
    digits = st.text("0123456789abcdef", min_size=length, max_size=length)
    return digits | st.just("0" * length) | st.just("f" * length) | st.text("0123456789ABCDEFg", max_size=length + 1)


likely = st.builds(
    lambda parts, rest, before: before + "-".join(parts) + rest,
    st.tuples(st.just("00") | hexadecimal(2), hexadecimal(32), hexadecimal(16), hexadecimal(2)),
    st.sampled_from(["", "-", "-more", " ", "\t", "x"]),
    st.sampled_from(["", " ", "x"]),
)


@given(likely | st.text("0123456789abcdef-f ", max_size=80))
@example(f"00-{TRACE}-{SPAN}-01")
@example(f"00-{TRACE}-{SPAN}-02")
@example(f"01-{TRACE}-{SPAN}-01-more")
@example(f"00-{TRACE}-{SPAN}-01-more")
@example(f"ff-{TRACE}-{SPAN}-01")
def test_it_agrees_with_the_propagator(header: str) -> None:
    assert read_traceparent(header.encode()) == by_opentelemetry(header)


@pytest.mark.parametrize("header", [b"\xff" * 55, b"", b"00", f"00-{TRACE.upper()}-{SPAN}-01".encode()])
def test_what_is_malformed_begins_a_new_trace(header: bytes) -> None:
    assert read_traceparent(header) is None


def test_new_ids_are_valid_and_differ() -> None:
    ids = {new_trace_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch("[0-9a-f]{32}", made) and int(made, 16) for made in ids)
