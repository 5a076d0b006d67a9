"""Heads on the link: fields found and lines written."""

from __future__ import annotations

import pytest

from model_pod.protocols.exchange import HttpAnswer
from model_pod.server.link_head import LinkHead, answer_head
from model_pod.server.reply import NOTHING_USED, Usage
from model_pod.wire.link import NOT_TOLD


def _lines(*headers: tuple[str, str]) -> bytes:
    return answer_head(HttpAnswer(200, headers, b""), NOTHING_USED, "", 0, 0, 0).fields


def test_a_field_is_found_by_its_lower_case_name_and_the_last_one_counts() -> None:
    head = LinkHead([(b"Content-Type", b"a/b"), (b"content-type", b" c/d\t"), (b"X", b"")])
    assert head.get(b"content-type") == b"c/d"
    assert head.get(b"x") == b""
    assert head.get(b"content-typo") is None


def test_lines_that_http_cannot_carry_are_left_out() -> None:
    broken = ("a", "b\r\nc: d"), ("a b", "c"), ("a\r\nb", "c"), ("", "c"), ("a", "\0")
    assert _lines(("good", "é\t1"), *broken) == "good: é\t1\r\n".encode()


@pytest.mark.parametrize("name", ["Connection", "content-length", "DATE", "server", "x-request-id", "ratelimit"])
def test_what_the_worker_writes_itself_is_left_out(name: str) -> None:
    assert _lines((name, "x"), ("a", "b")) == b"a: b\r\n"


def test_many_kinds_of_answers_are_each_written_rightly() -> None:
    for number in range(1000):
        assert _lines(("x", str(number))) == b"x: %d\r\n" % number
    large = "y" * 5000
    assert _lines(("x", large)) == _lines(("x", large)) == f"x: {large}\r\n".encode()


@pytest.mark.parametrize(
    ("reason", "usage", "device_us"),
    [
        ("", NOTHING_USED, 0),
        ("", Usage(7, 0, 1), 7),
        ("queue_full", NOTHING_USED, NOT_TOLD),
        ("inference_lost", NOTHING_USED, 0),
        ("row_refused", Usage(0, 0, 1), 0),
    ],
)
def test_the_device_time_says_whether_a_refused_request_has_run(reason: str, usage: Usage, device_us: int) -> None:
    assert answer_head(HttpAnswer(500, (), b""), usage, reason, 0, 0, 0).device_us == device_us
