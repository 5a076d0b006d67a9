"""The log of a process: format, level, rates, what is counted, and that it never waits."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from telemetry.logs.libraries import HandlersOwn, Library, take_over
from telemetry.logs.line import Facts, Level, debug, error, read_record, warning
from telemetry.logs.log import FORMAT_VARIABLE, SETTINGS_VARIABLE, DescriptorWriter, Log
from telemetry.logs.rates import BURST, TELL_AFTER_S
from telemetry.logs.settings import Changed, LogSettings
from tests.fakes.refusing_disk import refuse_next_reading

WORKER = Facts(process="gateway", role="worker 0")


class Written:
    """Takes lines, and may be full; its clock stands still until it is moved."""

    def __init__(self) -> None:
        self.data = b""
        self.is_full = False
        self.now_s = 0.0

    def __call__(self, data: bytes) -> bool:
        if not self.is_full:
            self.data += data
        return not self.is_full

    @property
    def lines(self) -> list[str]:
        return self.data.decode().splitlines()

    def records(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.lines]


@pytest.fixture
def written() -> Written:
    return Written()


def log_of(written: Written, form: str = "json", **environ: str) -> Log:
    log = Log(clock=lambda: written.now_s)
    log.begin(WORKER, {FORMAT_VARIABLE: form, **environ}, written)
    return log


def test_a_line_says_whose_it_is_and_where_it_was_told(written: Written) -> None:
    log_of(written).say("gateway", "it happened")
    (record,) = written.records()
    assert (record["process"], record["role"], record["pid"]) == ("gateway", "worker 0", os.getpid())
    assert record["event"] == "test_log.test_a_line_says_whose_it_is_and_where_it_was_told"


def test_people_read_text(written: Written) -> None:
    log_of(written, "text").say("gateway", "it happened")
    assert written.lines == ["gateway: it happened"]


@pytest.mark.parametrize("form", ["auto", ""])
def test_where_no_terminal_reads_lines_are_json(form: str, written: Written) -> None:
    log_of(written, form).say("gateway", "it happened")
    assert written.records()[0]["msg"] == "it happened"


def test_before_it_begins_a_log_writes_text_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    Log().say("gateway", "early")
    assert capsys.readouterr().err == "gateway: early\n"


def test_lines_below_the_level_are_neither_written_nor_counted(written: Written) -> None:
    log = log_of(written)
    log.say("gateway", debug("too much"))
    log.say("gateway", warning("odd"))
    log.say("gateway", error("broken"))
    assert [record["msg"] for record in written.records()] == ["odd", "broken"]
    assert log.lines == {"warning": 1, "error": 1}
    assert not log.is_debug


def test_too_many_of_one_event_are_left_out_and_told(written: Written) -> None:
    log = log_of(written)
    for _ in range(BURST + 7):
        log.say("gateway", warning("again", "one.event"))
    assert (len(written.lines), log.suppressed) == (BURST, 7)
    log.say("gateway", warning("another", "other.event"))
    written.now_s = TELL_AFTER_S
    log.tick()
    assert written.records()[-1]["msg"] == "7 more lines of one.event were left out"
    assert written.records()[-1]["suppressed"] == 7


def test_the_next_line_of_an_event_says_how_many_were_left_out(written: Written) -> None:
    log = log_of(written)
    for _ in range(BURST + 2):
        log.say("gateway", warning("again", "one.event"))
    written.now_s = 1.0
    log.say("gateway", warning("again", "one.event"))
    assert written.records()[-1]["suppressed"] == 2


def test_a_line_that_nobody_takes_is_counted(written: Written) -> None:
    log = log_of(written)
    written.is_full = True
    log.say("gateway", "lost")
    assert (log.lines, log.suppressed) == ({}, 1)


def test_a_full_pipe_costs_lines_and_no_time() -> None:
    read_fd, write_fd = os.pipe()
    try:
        write = DescriptorWriter(write_fd)
        taken = [write(b"x" * 4096) for _ in range(1000)]
        assert taken[0] is True
        assert taken[-1] is False
        assert sum(taken) * 4096 <= 2**20
    finally:
        os.close(read_fd)
        os.close(write_fd)


def settings_file(path: Path, settings: LogSettings) -> None:
    beside = path.with_suffix(".new")
    beside.write_bytes(msgspec.json.encode(settings))
    beside.replace(path)


def test_the_level_follows_the_file_and_goes_back_though_nobody_writes_it_again(
    tmp_path: Path, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "logs.json"
    log = log_of(written, **{SETTINGS_VARIABLE: str(path)})
    heard: list[Level] = []
    log.on_level = heard.append
    until_s = time.time() + 3600
    settings_file(path, LogSettings(changed=(Changed("gateway", "debug", until_s),)))
    log.tick()
    assert (log.level, log.is_debug) == (Level.DEBUG, True)
    monkeypatch.setattr(time, "time", lambda: until_s)
    log.tick()
    assert (log.level, log.is_debug, heard) == (Level.INFO, False, [Level.DEBUG, Level.INFO])


@pytest.mark.parametrize("damage", [b"", b"{", b'{"level":"loud"}', b"x" * 2**17])
def test_a_damaged_file_changes_nothing(damage: bytes, tmp_path: Path, written: Written) -> None:
    path = tmp_path / "logs.json"
    settings_file(path, LogSettings(level="warning"))
    log = log_of(written, **{SETTINGS_VARIABLE: str(path)})
    path.write_bytes(damage)
    log.tick()
    assert log.level is Level.WARNING


def test_settings_that_the_disk_refused_once_hold_though_nobody_writes_them_again(
    tmp_path: Path, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "logs.json"
    log = log_of(written, **{SETTINGS_VARIABLE: str(path)})
    settings_file(path, LogSettings(level="warning"))
    refuse_next_reading(monkeypatch)
    log.tick()
    log.tick()
    assert log.level is Level.WARNING


def test_policy_decides_the_format_where_the_environment_does_not(written: Written) -> None:
    log = log_of(written, "auto")
    log.use(LogSettings(format="text"))
    log.say("gateway", "for people")
    assert written.lines == ["gateway: for people"]
    by_environment = log_of(written, "json")
    by_environment.use(LogSettings(format="text"))
    by_environment.say("gateway", "for programs")
    assert '"msg":"for programs"' in written.lines[-1]


def test_several_lines_are_one_event_with_its_last_line_as_the_message(written: Written) -> None:
    log_of(written).show("pod m/1", "Traceback\n  File\nValueError: odd\n", event="handler.failed")
    (record,) = written.records()
    assert (record["msg"], record["stack"]) == ("ValueError: odd", "Traceback\n  File\nValueError: odd\n")


def test_a_childs_line_is_told_on_with_its_own_level_and_event(written: Written) -> None:
    child = log_of(written)
    child.say("", warning("from within", "handler.log", Facts(model="forged")))
    record = read_record(written.lines[0])
    assert record is not None
    parent = log_of(written, "text")
    parent.relay(record, "pod digits/1", Facts(model="digits"), separator="| ")
    assert written.lines[1] == "pod digits/1| from within"


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_libraries_tell_warnings_alone_whatever_the_level_and_no_text_of_an_exception(
    written: Written, root: logging.Logger
) -> None:
    log = log_of(written)
    log.set_level(Level.DEBUG)
    take_over(log, "gateway")
    library = logging.getLogger("some.library")
    library.debug("headers: planted-secret")
    library.info("body: planted-secret")
    try:
        raise ValueError("planted-secret")
    except ValueError:
        library.exception("it failed\nplanted-secret")
    (record,) = written.records()
    assert (record["level"], record["event"], record["msg"]) == (
        "error",
        "library.some.library",
        "some.library: it failed",
    )
    assert record["error.type"] == "ValueError"
    assert "planted-secret" not in written.data.decode()
    assert [type(handler) for handler in root.handlers] == [Library]


def test_a_handlers_own_logging_is_told_as_it_is(written: Written, root: logging.Logger) -> None:
    log = log_of(written)
    log.set_level(Level.DEBUG)
    root.handlers[:] = [HandlersOwn(log)]
    root.setLevel(logging.INFO)
    own = logging.getLogger("handler")
    own.debug("not asked for")
    own.info("loaded %d classes", 10)
    own.error("two\nlines")
    assert [(record["level"], record["msg"]) for record in written.records()] == [
        ("info", "handler: loaded 10 classes"),
        ("error", "lines"),
    ]


def test_who_hears_of_the_level_hears_of_handlers_too_and_of_both_at_once() -> None:
    log, heard = Log(), []
    log.on_level = lambda level: heard.append((level, log.handlers))
    for settings in (
        LogSettings(),
        LogSettings(handlers="all"),
        LogSettings(handlers="all"),
        LogSettings(level="debug", handlers="nothing"),
    ):
        log.use(settings)
    assert heard == [(Level.INFO, "all"), (Level.DEBUG, "nothing")]
