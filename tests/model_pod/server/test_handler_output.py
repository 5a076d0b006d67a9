"""What a handler prints and logs, through the true pipe."""

from __future__ import annotations

import asyncio
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_pod.server import handler_output
from model_pod.server.handler_output import MAX_LINE_BYTES, HandlerOutput, Lines
from telemetry.logs.line import Facts, as_json, record_of, warning
from telemetry.logs.log import Log
from telemetry.logs.rates import BURST
from telemetry.logs.settings import LogSettings
from tests.model_pod.server.harness import run


@pytest.fixture
def own_log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """Begin with whole rates."""
    log = Log()
    monkeypatch.setattr(handler_output, "LOG", log)
    return log


@given(st.lists(st.binary(max_size=3 * MAX_LINE_BYTES), max_size=6))
def test_lines_do_not_depend_on_how_they_came_and_are_bounded(pieces: list[bytes]) -> None:
    at_once: list[str] = []
    in_pieces: list[str] = []
    whole, cut = Lines(at_once.append), Lines(in_pieces.append)
    whole.feed(b"".join(piece + b"\n" for piece in pieces))
    for piece in pieces:
        cut.feed(piece + b"\n")
    assert in_pieces == at_once
    for line in at_once:
        assert len(line.encode()) <= 4 * MAX_LINE_BYTES  # a byte that is no text is shown by four


def test_a_line_without_an_end_is_told_in_pieces_as_it_grows() -> None:
    told: list[str] = []
    lines = Lines(told.append)
    lines.feed(b"x" * (MAX_LINE_BYTES + 10))
    assert told == ["x" * MAX_LINE_BYTES]
    lines.finish()
    assert told[1:] == ["x" * 10]


def tell(data: bytes) -> None:
    async def scenario() -> None:
        output = HandlerOutput("chatty", "1")
        output.open()
        os.write(output._write_fd, data)
        await asyncio.sleep(0)
        output.close()

    run(scenario())


@pytest.mark.usefixtures("own_log")
def test_prints_and_logging_are_told_as_the_models(capsys: pytest.CaptureFixture[str]) -> None:
    logged = as_json(record_of(warning("slow", "handler.log"), Facts(process="pod", role="model"), "", 0.0))
    tell(b"printed\n\n" + logged + b"without an end")
    assert capsys.readouterr().err.splitlines() == [
        "pod chatty/1| printed",
        "pod chatty/1| slow",
        "pod chatty/1| without an end",
    ]


@pytest.mark.usefixtures("own_log")
def test_a_handler_that_prints_on_and_on_is_cut_to_its_rate(capsys: pytest.CaptureFixture[str]) -> None:
    tell(b"again and again\n" * (BURST * 10))
    assert len(capsys.readouterr().err.splitlines()) <= 2 * BURST


@pytest.mark.usefixtures("own_log")
def test_so_is_one_that_prints_json_like_ours_with_another_event_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    lines = (as_json(record_of(warning("x", f"made.up.{n}"), Facts(), "", 0.0)) for n in range(BURST * 3))
    tell(b"".join(lines))
    assert len(capsys.readouterr().err.splitlines()) <= 2 * BURST


def test_where_policy_says_nothing_of_handlers_only_where_rows_failed_is_told(
    own_log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    logged, failed = (
        as_json(record_of(warning(text, event), Facts(process="pod", role="model"), "", 0.0))
        for text, event in (("slow", "handler.log"), ("ValueError", "handler.failed"))
    )
    own_log.use(LogSettings(handlers="nothing"))
    tell(b"printed\n" + logged + failed)
    assert capsys.readouterr().err.splitlines() == [
        "pod chatty/1: what the handler prints and logs is left out: mesh.yaml says logs: {handlers: nothing}",
        "pod chatty/1| ValueError",
        "pod chatty/1: 2 lines of the handler were left out",
    ]
